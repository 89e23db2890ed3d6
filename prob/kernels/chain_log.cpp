#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

TAPESTRY_INLINE float log_of(float x) {
  return __builtin_logf(x);
}
TAPESTRY_INLINE double log_of(double x) {
  return __builtin_log(x);
}

template <class T>
TAPESTRY_INLINE Vec<T> finite_or_zero(Vec<T> x) {
  return x == -infinity<T> ? splat<T>(T(0)) : x;
}

/// log sum_k exp(x[k] + y[k]) over n states.
template <class T>
T log_sum_exp(const T* x, const T* y, std::size_t n) {
  Vec<T> most = splat<T>(-infinity<T>);
  for (std::size_t k = 0; k < n; k += lanes<T>)
    most = vmax<T>(load_partial<T>(x + k, n - k, -infinity<T>) + load_partial<T>(y + k, n - k, T(0)), most);
  const Vec<T> shift = finite_or_zero<T>(max_lanes<T>(most));
  Vec<T> sum{};
  for (std::size_t k = 0; k < n; k += lanes<T>)
    sum += exp_nonpositive(load_partial<T>(x + k, n - k, -infinity<T>) + load_partial<T>(y + k, n - k, T(0)) - shift);
  return shift[0] + log_of(sum_lanes<T>(sum)[0]);
}

}  // namespace

template <class T>
void chain_log_forward(const ChainInput<T>& in, std::size_t b, ChainBlock<T> block, std::size_t row, T* log_partition) {
  const std::size_t K = in.states, length = length_of(in, b);
  double total = 0, recent = 0;
  for (std::size_t t = 0; t < length; ++t) {
    T* alpha = block.alpha_at(t, row);
    T* unary = block.unary_at(t, row);
    unary_row(in, b, t, t + 1 == length, unary);
    Vec<T> most = splat<T>(-infinity<T>);
    for (std::size_t j = 0; j < K; j += lanes<T>) {
      Vec<T> x = load<T>(unary + j);
      if (t > 0) {
        const T* previous = block.alpha_at(t - 1, row);
        const T* matrix = matrix_of(in, b, t) + j;
        Vec<T> high = splat<T>(-infinity<T>), sum{};
        for (std::size_t i = 0; i < K; ++i)
          high = vmax<T>(previous[i] + load_partial<T>(matrix + i * K, K - j, -infinity<T>), high);
        high = finite_or_zero<T>(high);
        for (std::size_t i = 0; i < K; ++i)
          sum += exp_nonpositive(previous[i] + load_partial<T>(matrix + i * K, K - j, -infinity<T>) - high);
        x += high + vlog(sum);
      }
      store<T>(alpha + j, x);
      most = vmax<T>(x, most);
    }
    const Vec<T> shift = finite_or_zero<T>(max_lanes<T>(most));
    for (std::size_t j = 0; j < K; j += lanes<T>) store<T>(alpha + j, load<T>(alpha + j) - shift);
    block.inverse_at(t, row) = shift[0];
    recent += double(shift[0]);
    if (ends_sum(t)) {
      total += recent;
      recent = 0;
    }
  }
  const T* alpha = block.alpha_at(length - 1, row);
  Vec<T> sum{};
  for (std::size_t k = 0; k < K; k += lanes<T>) sum += exp_nonpositive(load<T>(alpha + k));
  *log_partition = T(total + (recent + double(log_of(sum_lanes<T>(sum)[0]))));
}

template <class T>
void chain_log_backward(const ChainInput<T>& in, std::size_t b, const ChainBlock<T>& block, std::size_t row, T g,
                        T* grad_unary, T* ratio, T* beta) {
  const std::size_t K = in.states, width = block.width, length = length_of(in, b);
  for (std::size_t k = 0; k < width; ++k) beta[k] = T(0);
  for (std::size_t t = length; t-- > 0;) {
    const T* alpha = block.alpha_at(t, row);
    const T excess = log_sum_exp(alpha, beta, K);
    for (std::size_t k = 0; k < K; k += lanes<T>) {
      const Vec<T> x = load<T>(beta + k) - excess;
      store<T>(beta + k, x);
      store_partial<T>(grad_unary + t * K + k, exp_nonpositive(vmin<T>(load<T>(alpha + k) + x, splat<T>(T(0)))) * g,
                       K - k);
    }
    if (t == 0) break;
    T* step = ratio + (t * block.rows + row) * width;
    const T shift = block.inverse_at(t, row);
    for (std::size_t k = 0; k < width; ++k)
      step[k] = k < K ? block.unary_at(t, row)[k] + beta[k] - shift : -infinity<T>;
    const T* matrix = matrix_of(in, b, t);
    for (std::size_t i = 0; i < K; ++i) beta[i] = log_sum_exp(step, matrix + i * K, K);
  }
}

template <class T>
void chain_log_pairwise(const ChainInput<T>& in, std::size_t b, std::size_t t, const T* alpha, const T* ratio, T g,
                        T* grad) {
  const std::size_t K = in.states;
  const T* matrix = matrix_of(in, b, t);
  for (std::size_t i = 0; i < K; ++i)
    for (std::size_t j = 0; j < K; j += lanes<T>) {
      const Vec<T> x = alpha[i] + load_partial<T>(matrix + i * K + j, K - j, -infinity<T>) +
                       load_partial<T>(ratio + j, K - j, -infinity<T>);
      T* p = grad + i * K + j;
      store_partial<T>(p, load_partial<T>(p, K - j, T(0)) + exp_nonpositive(vmin<T>(x, splat<T>(T(0)))) * g, K - j);
    }
}

template void chain_log_forward(const ChainInput<float>&, std::size_t, ChainBlock<float>, std::size_t, float*);
template void chain_log_forward(const ChainInput<double>&, std::size_t, ChainBlock<double>, std::size_t, double*);
template void chain_log_backward(const ChainInput<float>&, std::size_t, const ChainBlock<float>&, std::size_t, float,
                                 float*, float*, float*);
template void chain_log_backward(const ChainInput<double>&, std::size_t, const ChainBlock<double>&, std::size_t, double,
                                 double*, double*, double*);
template void chain_log_pairwise(const ChainInput<float>&, std::size_t, std::size_t, const float*, const float*, float,
                                 float*);
template void chain_log_pairwise(const ChainInput<double>&, std::size_t, std::size_t, const double*, const double*,
                                 double, double*);

}  // namespace tapestry::detail::TAPESTRY_ARCH
