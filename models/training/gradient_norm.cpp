#include <tapestry/models/training/gradient_norm.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace detail {

template <class T>
double sum_of_squares(const T* x, std::int64_t n) {
  constexpr std::int64_t grain = 65536, lanes = 8;
  std::vector<double> sums(static_cast<std::size_t>((n + grain - 1) / grain), 0.0);
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    double partial[lanes] = {};
    std::int64_t i = begin;
    for (; i + lanes <= end; i += lanes)
      for (std::int64_t k = 0; k < lanes; ++k) {
        const double v = static_cast<double>(x[i + k]);
        partial[k] += v * v;
      }
    for (; i < end; ++i) partial[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    sums[static_cast<std::size_t>(chunk)] = std::accumulate(partial, partial + lanes, 0.0);
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <class T>
SparseRows<T> merge_rows(const SparseRows<T>& rows) {
  const std::size_t n = rows.rows.size();
  PooledVector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::int64_t* const row = rows.rows.data();
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return row[a] < row[b] || (row[a] == row[b] && a < b); });
  PooledVector<std::size_t> firsts;
  for (std::size_t k = 0; k < n; ++k)
    if (k == 0 || row[order[k]] != row[order[k - 1]]) firsts.push_back(k);

  Shape shape = shape_of(rows.values);
  const std::size_t width = n == 0 ? 0 : rows.values.size() / n;
  shape[0] = static_cast<std::int64_t>(firsts.size());
  SparseRows<T> out{empty_tensor<std::int64_t>({shape[0]}), empty_tensor<T>(shape)};
  for (std::size_t f = 0; f < firsts.size(); ++f) {
    const std::size_t end = f + 1 < firsts.size() ? firsts[f + 1] : n;
    out.rows.data()[f] = row[order[firsts[f]]];
    T* const sum = out.values.data() + f * width;
    std::copy_n(rows.values.data() + order[firsts[f]] * width, width, sum);
    for (std::size_t k = firsts[f] + 1; k < end; ++k)
      for (std::size_t i = 0; i < width; ++i) sum[i] += rows.values.data()[order[k] * width + i];
  }
  return out;
}

template double sum_of_squares(const float*, std::int64_t);
template double sum_of_squares(const double*, std::int64_t);
template SparseRows<float> merge_rows(const SparseRows<float>&);
template SparseRows<double> merge_rows(const SparseRows<double>&);

}  // namespace detail

template <class T>
double gradient_norm(const std::vector<Var<T>>& parameters) {
  double squares = 0;
  for (const Var<T>& parameter : parameters) {
    if (!parameter.has_gradient()) continue;
    if (const auto rows = parameter.sparse_gradient()) {
      const SparseRows<T> merged = detail::merge_rows(*rows);
      squares += detail::sum_of_squares(merged.values.data(), static_cast<std::int64_t>(merged.values.size()));
    } else {
      squares += detail::sum_of_squares(parameter.gradient().data(), parameter.size());
    }
  }
  return std::sqrt(squares);
}

template double gradient_norm(const std::vector<Var<float>>&);
template double gradient_norm(const std::vector<Var<double>>&);

}  // namespace tapestry
