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
    : items_(data.items()), labels_(features.labels), weights_(features.states()) {
  constexpr std::int64_t step = 64 / static_cast<std::int64_t>(sizeof(T));
  stride_ = (labels_ + step - 1) / step * step;
  const std::size_t attributes = features.starts.size() - 1;
  std::vector<std::int64_t> occurrences(attributes, 0);
  for (const std::int32_t a : data.attributes) {
    if (a < 0 || static_cast<std::size_t>(a) >= attributes)
      fail<IndexError>("SparseEmission", "attribute ", a, " of ", attributes);
    ++occurrences[static_cast<std::size_t>(a)];
  }

  // Dense rows lie in the order of their frequency: the hot ones share pages.
  std::vector<std::int32_t> number(attributes, -1), dense;
  const auto features_of = [&](std::size_t a) { return features.starts[a + 1] - features.starts[a]; };
  for (std::size_t a = 0; a < attributes; ++a)
    if (occurrences[a] > 0 && features_of(a) >= dense_labels) dense.push_back(static_cast<std::int32_t>(a));
  std::stable_sort(dense.begin(), dense.end(), [&](std::int32_t a, std::int32_t b) {
    return occurrences[static_cast<std::size_t>(a)] > occurrences[static_cast<std::size_t>(b)];
  });
  const auto append = [&](std::size_t a, std::vector<std::int64_t>& starts, std::vector<std::int32_t>& feature_labels,
                          std::vector<std::int32_t>& numbers) {
    number[a] = static_cast<std::int32_t>(starts.size()) - 1;
    for (auto f = features.starts[a]; f < features.starts[a + 1]; ++f) {
      feature_labels.push_back(features.state_labels[static_cast<std::size_t>(f)]);
      numbers.push_back(static_cast<std::int32_t>(f));
    }
    starts.push_back(static_cast<std::int64_t>(numbers.size()));
  };
  row_starts_.push_back(0);
  for (const std::int32_t a : dense) append(static_cast<std::size_t>(a), row_starts_, row_labels_, row_features_);

  feature_starts_.push_back(0);
  dense_starts_.reserve(data.starts.size());
  list_starts_.reserve(data.starts.size());
  dense_starts_.push_back(0);
  list_starts_.push_back(0);
  for (std::size_t item = 0; item + 1 < data.starts.size(); ++item) {
    for (auto e = static_cast<std::size_t>(data.starts[item]); e < static_cast<std::size_t>(data.starts[item + 1]);
         ++e) {
      const auto a = static_cast<std::size_t>(data.attributes[e]);
      const std::int64_t n = features_of(a);
      if (n == 0) continue;
      const bool is_dense = n >= dense_labels;
      if (number[a] < 0) append(a, feature_starts_, feature_labels_, list_features_);
      (is_dense ? dense_rows_ : list_attributes_).push_back(number[a]);
      if (!data.values.empty()) (is_dense ? dense_values_ : list_values_).push_back(static_cast<T>(data.values[e]));
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
  const std::size_t dense_rows = row_starts_.size() - 1;
  const Buffer<T> dense(dense_rows * stride), list(list_features_.size());
  detail::parallel_for(static_cast<std::int64_t>(dense_rows), chunk_rows, [&](std::int64_t begin, std::int64_t end) {
    std::fill(dense.data() + static_cast<std::size_t>(begin) * stride,
              dense.data() + static_cast<std::size_t>(end) * stride, T(0));
    for (auto r = static_cast<std::size_t>(begin); r < static_cast<std::size_t>(end); ++r)
      for (auto f = static_cast<std::size_t>(row_starts_[r]); f < static_cast<std::size_t>(row_starts_[r + 1]); ++f)
        dense[r * stride + static_cast<std::size_t>(row_labels_[f])] = weights[row_features_[f]];
  });
  for (std::size_t f = 0; f < list_features_.size(); ++f) list[f] = weights[list_features_[f]];
  const auto& kernels = detail::kernels<detail::SparseEmissionKernels<T>>();
  detail::parallel_for(items_, chunk_items, [&](std::int64_t begin, std::int64_t end) {
    const Buffer<T> row(stride);
    for (const auto& block : blocks) {
      const std::int64_t first = std::max(begin, block.first), last = std::min(end, block.last);
      if (first < last) kernels.scores(view(), first, last, dense.data(), list.data(), rows, row.data(), block.data);
    }
  });
}

template <class T>
void SparseEmission<T>::gradient(std::span<const Block<const T*>> blocks, T* gradient, const std::int64_t* rows) const {
  const auto stride = static_cast<std::size_t>(stride_);
  const std::size_t dense_size = (row_starts_.size() - 1) * stride;
  const Buffer<T> dense(dense_size), list(list_features_.size());
  std::fill(dense.data(), dense.data() + dense_size, T(0));
  std::fill(list.data(), list.data() + list_features_.size(), T(0));
  const auto& kernels = detail::kernels<detail::SparseEmissionKernels<T>>();
  const auto run = [&](std::int64_t from, std::int64_t to, T* dense_gradient, T* list_gradient) {
    const Buffer<T> row(stride);
    for (const auto& block : blocks)
      kernels.accumulate(view(), block.first, block.last, block.data, rows, row.data(), static_cast<std::size_t>(from),
                         static_cast<std::size_t>(to), dense_gradient, list_gradient);
  };
  // Every sum runs over all items in order, whoever computes it: tasks share the columns of the dense rows and the
  // lists, not the items.
  if (threads() == 1) {
    run(0, stride_, dense.data(), list.data());
  } else {
    constexpr std::int64_t step = 64 / static_cast<std::int64_t>(sizeof(T));
    detail::parallel_for(stride_ / step + 1, 1, [&](std::int64_t part, std::int64_t) {
      if (part == 0)
        run(0, 0, nullptr, list.data());
      else
        run((part - 1) * step, part * step, dense.data(), nullptr);
    });
  }
  // A feature that no item has is not in the plan.
  std::fill(gradient, gradient + weights_, T(0));
  for (std::size_t r = 0; r + 1 < row_starts_.size(); ++r)
    for (auto f = static_cast<std::size_t>(row_starts_[r]); f < static_cast<std::size_t>(row_starts_[r + 1]); ++f)
      gradient[row_features_[f]] = dense[r * stride + static_cast<std::size_t>(row_labels_[f])];
  for (std::size_t f = 0; f < list_features_.size(); ++f) gradient[list_features_[f]] = list[f];
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
