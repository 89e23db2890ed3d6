#pragma once

#include <cstdint>
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
  std::int64_t weights() const noexcept { return static_cast<std::int64_t>(feature_labels_.size()); }

  /// scores[item, label] = sum of the weights of the item's features. `rows`, when given, is the row of `scores` that
  /// each item goes to; other rows are left alone.
  void scores(const T* weights, T* scores, const std::int64_t* rows = nullptr) const;
  /// gradient[weight] = sum of g[item, label] over the items that have the feature.
  void gradient(const T* g, T* gradient, const std::int64_t* rows = nullptr) const;

 private:
  detail::SparseEmissionView<T> view() const;

  std::int64_t items_, labels_, stride_;
  std::vector<std::int64_t> dense_starts_, list_starts_, feature_starts_;
  std::vector<std::int32_t> dense_rows_, list_attributes_, feature_labels_, dense_attributes_;
  std::vector<T> dense_values_, list_values_;
};

}  // namespace tapestry
