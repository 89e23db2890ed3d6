#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Sparse attributes of items against indicator features. Attributes with many labels have a dense row of weights,
/// padded to `stride` with zeros; the others a list of features. Arrays of values are null when all are 1.
template <class T>
struct SparseEmissionView {
  const std::int64_t* dense_starts;  ///< item -> its first entry in dense_rows
  const std::int32_t* dense_rows;
  const T* dense_values;
  const std::int64_t* list_starts;  ///< item -> its first entry in list_attributes
  const std::int32_t* list_attributes;
  const T* list_values;
  const std::int64_t* feature_starts;  ///< attribute -> its first feature
  const std::int32_t* feature_labels;
  std::size_t labels;
  std::size_t stride;  ///< a multiple of 64 bytes
};

template <class T>
struct SparseEmissionKernels {
  /// out[r] = the sum of the weights of item i's features, by label, for i in [first, last); r = i, or rows[i] if
  /// given. row is scratch of `stride` elements; out has rows of `labels` elements.
  void (*scores)(const SparseEmissionView<T>& view, std::int64_t first, std::int64_t last, const T* dense,
                 const T* weights, const std::int64_t* rows, T* row, T* out);
  /// The transpose: adds g to the features of items [first, last): the columns [begin, end) of dense rows (multiples of
  /// 64 bytes) into dense_gradient, and the lists into gradient; either is null to leave that part out.
  void (*accumulate)(const SparseEmissionView<T>& view, std::int64_t first, std::int64_t last, const T* g,
                     const std::int64_t* rows, T* row, std::size_t begin, std::size_t end, T* dense_gradient,
                     T* gradient);
};

}  // namespace tapestry::detail
