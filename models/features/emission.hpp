#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <tapestry/models/features/encoder.hpp>

namespace tapestry {

namespace detail {
template <class T>
struct SparseEmissionView;
}

/// The linear map from the weights of indicator features to a score for each item and label, and its transpose, laid
/// out for one data set. T is float or double. Results do not depend on the number of threads.
template <class T>
class SparseEmission {
 public:
  /// @throws IndexError if the data names an attribute that the features do not know.
  SparseEmission(const SparseSequences& data, const IndicatorFeatures& features);

  std::int64_t items() const noexcept { return items_; }
  std::int64_t labels() const noexcept { return labels_; }
  /// The number of weights: IndicatorFeatures::states().
  std::int64_t weights() const noexcept { return weights_; }

  /// Items [first, last) and the array that their rows of labels are in.
  template <class Pointer>
  struct Block {
    std::int64_t first, last;
    Pointer data;
  };

  /// data[row, label] = sum of the weights of the item's features; an item's row is rows[item], or without `rows` its
  /// number. Rows of no item are left alone.
  void scores(const T* weights, std::span<const Block<T*>> blocks, const std::int64_t* rows = nullptr) const;
  /// gradient[weight] = sum of data[row, label] over the items that have the feature.
  void gradient(std::span<const Block<const T*>> blocks, T* gradient, const std::int64_t* rows = nullptr) const;

  /// The same for all items in one array.
  void scores(const T* weights, T* scores, const std::int64_t* rows = nullptr) const;
  void gradient(const T* g, T* gradient, const std::int64_t* rows = nullptr) const;

 private:
  detail::SparseEmissionView<T> view() const;

  std::int64_t items_, labels_, stride_, weights_;
  std::vector<std::int64_t> dense_starts_, list_starts_;  // item -> entries
  std::vector<std::int32_t> dense_rows_, list_attributes_;
  std::vector<T> dense_values_, list_values_;
  // Attributes with a dense row: row -> its features, and their labels and numbers.
  std::vector<std::int64_t> row_starts_;
  std::vector<std::int32_t> row_labels_, row_features_;
  // The others, numbered as they come in the data, so that weights are read nearly in order.
  std::vector<std::int64_t> feature_starts_;
  std::vector<std::int32_t> feature_labels_, list_features_;
};

}  // namespace tapestry
