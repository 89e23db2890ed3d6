#include <tapestry/models/features/emission.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/pool.hpp>
#include <tapestry/models/kernels/sparse_emission.hpp>

namespace tapestry {
namespace {

/// Zeroed or uninitialised aligned memory of the pool.
template <class T>
using Buffer = std::vector<T, detail::PoolAllocator<T>>;

/// An attribute with at least this many labels has a dense row of weights.
constexpr std::int64_t dense_labels = 3;

}  // namespace

template <class T>
SparseEmission<T>::SparseEmission(const SparseSequences& data, const IndicatorFeatures& features)
    : items_(data.items()),
      labels_(features.labels),
      feature_starts_(features.starts),
      feature_labels_(features.state_labels) {
  constexpr std::int64_t step = 64 / static_cast<std::int64_t>(sizeof(T));
  stride_ = (labels_ + step - 1) / step * step;
  const auto attributes = static_cast<std::int64_t>(features.starts.size()) - 1;
  std::vector<std::int32_t> row_of(static_cast<std::size_t>(attributes), -1);
  for (std::int64_t a = 0; a < attributes; ++a) {
    const auto i = static_cast<std::size_t>(a);
    if (feature_starts_[i + 1] - feature_starts_[i] < dense_labels) continue;
    row_of[i] = static_cast<std::int32_t>(dense_attributes_.size());
    dense_attributes_.push_back(static_cast<std::int32_t>(a));
  }
  dense_starts_.reserve(data.starts.size());
  list_starts_.reserve(data.starts.size());
  dense_starts_.push_back(0);
  list_starts_.push_back(0);
  for (std::size_t item = 0; item + 1 < data.starts.size(); ++item) {
    for (auto e = static_cast<std::size_t>(data.starts[item]); e < static_cast<std::size_t>(data.starts[item + 1]);
         ++e) {
      const std::int32_t attribute = data.attributes[e];
      if (attribute < 0 || attribute >= attributes)
        fail<IndexError>("SparseEmission", "attribute ", attribute, " of ", attributes);
      const std::int32_t row = row_of[static_cast<std::size_t>(attribute)];
      (row >= 0 ? dense_rows_ : list_attributes_).push_back(row >= 0 ? row : attribute);
      if (!data.values.empty()) (row >= 0 ? dense_values_ : list_values_).push_back(static_cast<T>(data.values[e]));
    }
    dense_starts_.push_back(static_cast<std::int64_t>(dense_rows_.size()));
    list_starts_.push_back(static_cast<std::int64_t>(list_attributes_.size()));
  }
}

template <class T>
detail::SparseEmissionView<T> SparseEmission<T>::view() const {
  return {dense_starts_.data(),
          dense_rows_.data(),
          dense_values_.empty() ? nullptr : dense_values_.data(),
          list_starts_.data(),
          list_attributes_.data(),
          list_values_.empty() ? nullptr : list_values_.data(),
          feature_starts_.data(),
          feature_labels_.data(),
          static_cast<std::size_t>(labels_),
          static_cast<std::size_t>(stride_)};
}

template <class T>
void SparseEmission<T>::scores(const T* weights, T* scores, const std::int64_t* rows) const {
  const auto stride = static_cast<std::size_t>(stride_);
  Buffer<T> dense(dense_attributes_.size() * stride, T(0)), row(stride);
  for (std::size_t r = 0; r < dense_attributes_.size(); ++r) {
    const auto a = static_cast<std::size_t>(dense_attributes_[r]);
    for (auto f = static_cast<std::size_t>(feature_starts_[a]); f < static_cast<std::size_t>(feature_starts_[a + 1]);
         ++f)
      dense[r * stride + static_cast<std::size_t>(feature_labels_[f])] = weights[f];
  }
  detail::kernels<detail::SparseEmissionKernels<T>>().scores(view(), 0, items_, dense.data(), weights, rows, row.data(),
                                                             scores);
}

template <class T>
void SparseEmission<T>::gradient(const T* g, T* gradient, const std::int64_t* rows) const {
  const auto stride = static_cast<std::size_t>(stride_);
  Buffer<T> dense(dense_attributes_.size() * stride, T(0)), row(stride);
  std::fill(gradient, gradient + weights(), T(0));
  detail::kernels<detail::SparseEmissionKernels<T>>().accumulate(view(), 0, items_, g, rows, row.data(), dense.data(),
                                                                 gradient);
  for (std::size_t r = 0; r < dense_attributes_.size(); ++r) {
    const auto a = static_cast<std::size_t>(dense_attributes_[r]);
    for (auto f = static_cast<std::size_t>(feature_starts_[a]); f < static_cast<std::size_t>(feature_starts_[a + 1]);
         ++f)
      gradient[f] = dense[r * stride + static_cast<std::size_t>(feature_labels_[f])];
  }
}

template class SparseEmission<float>;
template class SparseEmission<double>;

}  // namespace tapestry
