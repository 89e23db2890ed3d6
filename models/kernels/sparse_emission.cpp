#include <tapestry/models/kernels/sparse_emission.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

/// How many entries ahead weights are fetched into the cache.
constexpr std::int64_t ahead = 16;

/// row = the sum of dense rows; V vectors at a time stay in registers.
template <class T, std::size_t V>
TAPESTRY_INLINE void sum_rows(const SparseEmissionView<T>& view, std::int64_t begin, std::int64_t end, const T* dense,
                              std::size_t column, T* row) {
  Vec<T> sum[V];
  for (std::size_t v = 0; v < V; ++v) sum[v] = Vec<T>{};
  for (std::int64_t e = begin; e < end; ++e) {
    const T* const source = dense + static_cast<std::size_t>(view.dense_rows[e]) * view.stride + column;
    if (view.dense_values) {
      const Vec<T> value = splat<T>(view.dense_values[e]);
      for (std::size_t v = 0; v < V; ++v) sum[v] += value * load<T>(source + v * lanes<T>);
    } else {
      for (std::size_t v = 0; v < V; ++v) sum[v] += load<T>(source + v * lanes<T>);
    }
  }
  for (std::size_t v = 0; v < V; ++v) store<T>(row + column + v * lanes<T>, sum[v]);
}

template <class T>
void scores(const SparseEmissionView<T>& view, std::int64_t first, std::int64_t last, const T* dense, const T* weights,
            const std::int64_t* rows, T* row, T* out) {
  const std::int64_t last_entry = view.list_starts[last];
  for (std::int64_t item = first; item < last; ++item) {
    const std::int64_t begin = view.dense_starts[item], end = view.dense_starts[item + 1];
    std::size_t column = 0;
    for (; column + 3 * lanes<T> <= view.stride; column += 3 * lanes<T>)
      sum_rows<T, 3>(view, begin, end, dense, column, row);
    for (; column < view.stride; column += lanes<T>) sum_rows<T, 1>(view, begin, end, dense, column, row);
    for (std::int64_t e = view.list_starts[item]; e < view.list_starts[item + 1]; ++e) {
      if (e + ahead < last_entry) __builtin_prefetch(weights + view.feature_starts[view.list_attributes[e + ahead]]);
      const std::int32_t attribute = view.list_attributes[e];
      const T value = view.list_values ? view.list_values[e] : T(1);
      for (std::int64_t f = view.feature_starts[attribute]; f < view.feature_starts[attribute + 1]; ++f)
        row[view.feature_labels[f]] += value * weights[f];
    }
    T* const target = out + static_cast<std::size_t>(rows ? rows[item] : item) * view.labels;
    for (std::size_t k = 0; k < view.labels; ++k) target[k] = row[k];
  }
}

template <class T, std::size_t V>
TAPESTRY_INLINE void add_rows(const SparseEmissionView<T>& view, std::int64_t begin, std::int64_t end, const T* row,
                              std::size_t column, T* dense) {
  Vec<T> g[V];
  for (std::size_t v = 0; v < V; ++v) g[v] = load<T>(row + column + v * lanes<T>);
  for (std::int64_t e = begin; e < end; ++e) {
    T* const target = dense + static_cast<std::size_t>(view.dense_rows[e]) * view.stride + column;
    const Vec<T> value = splat<T>(view.dense_values ? view.dense_values[e] : T(1));
    for (std::size_t v = 0; v < V; ++v) store<T>(target + v * lanes<T>, load<T>(target + v * lanes<T>) + value * g[v]);
  }
}

template <class T>
void accumulate(const SparseEmissionView<T>& view, std::int64_t first, std::int64_t last, const T* g,
                const std::int64_t* rows, T* row, std::size_t begin, std::size_t end, T* dense_gradient, T* gradient) {
  const std::int64_t last_entry = view.list_starts[last];
  for (std::size_t k = view.labels; k < view.stride; ++k) row[k] = T(0);
  for (std::int64_t item = first; item < last; ++item) {
    const T* const source = g + static_cast<std::size_t>(rows ? rows[item] : item) * view.labels;
    for (std::size_t k = 0; k < view.labels; ++k) row[k] = source[k];
    if (dense_gradient) {
      const std::int64_t from = view.dense_starts[item], to = view.dense_starts[item + 1];
      std::size_t column = begin;
      for (; column + 3 * lanes<T> <= end; column += 3 * lanes<T>)
        add_rows<T, 3>(view, from, to, row, column, dense_gradient);
      for (; column < end; column += lanes<T>) add_rows<T, 1>(view, from, to, row, column, dense_gradient);
    }
    if (!gradient) continue;
    for (std::int64_t e = view.list_starts[item]; e < view.list_starts[item + 1]; ++e) {
      if (e + ahead < last_entry)
        __builtin_prefetch(gradient + view.feature_starts[view.list_attributes[e + ahead]], 1);
      const std::int32_t attribute = view.list_attributes[e];
      const T value = view.list_values ? view.list_values[e] : T(1);
      for (std::int64_t f = view.feature_starts[attribute]; f < view.feature_starts[attribute + 1]; ++f)
        gradient[f] += value * row[view.feature_labels[f]];
    }
  }
}

template <class T>
constexpr SparseEmissionKernels<T> sparse_emission_table() {
  return {scores<T>, accumulate<T>};
}

}  // namespace

template <>
const SparseEmissionKernels<float>& kernels() {
  static constexpr SparseEmissionKernels<float> t = sparse_emission_table<float>();
  return t;
}
template <>
const SparseEmissionKernels<double>& kernels() {
  static constexpr SparseEmissionKernels<double> t = sparse_emission_table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
