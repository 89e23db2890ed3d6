#include <tapestry/models/features/emission.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/kernels/sparse_emission.hpp>

namespace tapestry {
namespace {

template <class T>
using Buffer = detail::Scratch<T>;

/// An attribute with at least this many labels has a dense row of weights.
constexpr std::int64_t dense_labels = 3;
/// How work is cut for threads.
constexpr std::int64_t chunk_items = 4096;
constexpr std::int64_t chunk_rows = 4096;

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
void SparseEmission<T>::scores(const T* weights, std::span<const Block<T*>> blocks, const std::int64_t* rows) const {
  const auto stride = static_cast<std::size_t>(stride_);
  const Buffer<T> dense(dense_attributes_.size() * stride);
  detail::parallel_for(static_cast<std::int64_t>(dense_attributes_.size()), chunk_rows,
                       [&](std::int64_t begin, std::int64_t end) {
                         for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r) {
                           T* const row = dense.data() + r * stride;
                           std::fill(row, row + stride, T(0));
                           const auto a = static_cast<std::size_t>(dense_attributes_[r]);
                           for (auto f = feature_starts_[a]; f < feature_starts_[a + 1]; ++f)
                             row[feature_labels_[static_cast<std::size_t>(f)]] = weights[f];
                         }
                       });
  const auto& kernels = detail::kernels<detail::SparseEmissionKernels<T>>();
  detail::parallel_for(items_, chunk_items, [&](std::int64_t begin, std::int64_t end) {
    const Buffer<T> row(stride);
    for (const auto& block : blocks) {
      const std::int64_t first = std::max(begin, block.first), last = std::min(end, block.last);
      if (first < last) kernels.scores(view(), first, last, dense.data(), weights, rows, row.data(), block.data);
    }
  });
}

template <class T>
void SparseEmission<T>::gradient(std::span<const Block<const T*>> blocks, T* gradient, const std::int64_t* rows) const {
  const auto stride = static_cast<std::size_t>(stride_);
  const std::size_t size = dense_attributes_.size() * stride;
  const Buffer<T> dense(size);
  std::fill(dense.data(), dense.data() + size, T(0));
  std::fill(gradient, gradient + weights(), T(0));
  // Every sum runs over all items in order, whoever computes it: tasks share the columns of the dense rows and the
  // lists, not the items.
  const std::int64_t step = 64 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t columns = threads() == 1 ? stride_ : step;
  const std::int64_t parts = columns == 0 ? 0 : stride_ / columns;
  const auto& kernels = detail::kernels<detail::SparseEmissionKernels<T>>();
  const auto run = [&](std::int64_t from, std::int64_t to, T* dense_gradient, T* list_gradient) {
    const Buffer<T> row(stride);
    for (const auto& block : blocks)
      kernels.accumulate(view(), block.first, block.last, block.data, rows, row.data(), static_cast<std::size_t>(from),
                         static_cast<std::size_t>(to), dense_gradient, list_gradient);
  };
  if (threads() == 1) {
    run(0, stride_, dense.data(), gradient);
  } else {
    detail::parallel_for(parts + 1, 1, [&](std::int64_t part, std::int64_t) {
      if (part == 0)
        run(0, 0, nullptr, gradient);
      else
        run((part - 1) * columns, part * columns, dense.data(), nullptr);
    });
  }
  detail::parallel_for(static_cast<std::int64_t>(dense_attributes_.size()), chunk_rows,
                       [&](std::int64_t begin, std::int64_t end) {
                         for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r) {
                           const T* const row = dense.data() + r * stride;
                           const auto a = static_cast<std::size_t>(dense_attributes_[r]);
                           for (auto f = feature_starts_[a]; f < feature_starts_[a + 1]; ++f)
                             gradient[f] = row[feature_labels_[static_cast<std::size_t>(f)]];
                         }
                       });
}

template <class T>
void SparseEmission<T>::scores(const T* weights, T* scores, const std::int64_t* rows) const {
  const Block<T*> all{0, items_, scores};
  this->scores(weights, std::span<const Block<T*>>(&all, 1), rows);
}

template <class T>
void SparseEmission<T>::gradient(const T* g, T* gradient, const std::int64_t* rows) const {
  const Block<const T*> all{0, items_, g};
  this->gradient(std::span<const Block<const T*>>(&all, 1), gradient, rows);
}

template class SparseEmission<float>;
template class SparseEmission<double>;

}  // namespace tapestry
