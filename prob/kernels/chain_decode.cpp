#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {

// Scores are kept relative to the best of their step. Back-pointers are not stored: the backward walk finds the
// predecessor again, which costs one column of a matrix a step.
template <class T>
void chain_best(const ChainInput<T>& in, std::size_t first, std::size_t last, std::int64_t* path, T* score,
                T* scratch) {
  const std::size_t K = in.states, width = padded<T>(K);
  for (std::size_t b = first; b < last; ++b) {
    const std::size_t length = length_of(in, b);
    std::int64_t* out = path + b * in.steps;
    for (std::size_t t = 0; t < in.steps; ++t) out[t] = -1;
    double total = 0, recent = 0;
    for (std::size_t t = 0; t < length; ++t) {
      T* delta = scratch + t * width;
      unary_row(in, b, t, t + 1 == length, delta);
      Vec<T> most = splat<T>(-infinity<T>);
      for (std::size_t j = 0; j < K; j += lanes<T>) {
        Vec<T> x = load<T>(delta + j);
        if (t > 0) {
          const T* previous = delta - width;
          const T* matrix = matrix_of(in, b, t) + j;
          Vec<T> high = splat<T>(-infinity<T>);
          for (std::size_t i = 0; i < K; ++i)
            high = vmax<T>(previous[i] + load_partial<T>(matrix + i * K, K - j, -infinity<T>), high);
          x += high;
        }
        store<T>(delta + j, x);
        most = vmax<T>(x, most);
      }
      const T shift = max_lanes<T>(most)[0];
      recent += double(shift);
      if (shift == -infinity<T>) break;
      if (ends_sum(t)) {
        total += recent;
        recent = 0;
      }
      for (std::size_t j = 0; j < width; j += lanes<T>) store<T>(delta + j, load<T>(delta + j) - shift);
    }
    total += recent;
    score[b] = T(total);
    if (length == 0 || total == -double(infinity<T>)) continue;
    const T* delta = scratch + (length - 1) * width;
    std::size_t state = 0;
    for (std::size_t k = 1; k < K; ++k) state = delta[k] > delta[state] ? k : state;
    for (std::size_t t = length; t-- > 0;) {
      out[t] = static_cast<std::int64_t>(state);
      if (t == 0) break;
      const T* previous = scratch + (t - 1) * width;
      const T* matrix = matrix_of(in, b, t) + state;
      std::size_t best = 0;
      for (std::size_t i = 1; i < K; ++i)
        best = previous[i] + matrix[i * K] > previous[best] + matrix[best * K] ? i : best;
      state = best;
    }
  }
}

namespace {

/// The k best of `candidates`, inserted one by one into a falling list.
struct Best {
  double* values;
  std::int64_t* pointers;
  std::size_t k;

  void clear() {
    for (std::size_t n = 0; n < k; ++n) {
      values[n] = -infinity<double>;
      pointers[n] = -1;
    }
  }
  void insert(double value, std::int64_t pointer) {
    if (!(value > values[k - 1])) return;
    std::size_t n = k - 1;
    for (; n > 0 && value > values[n - 1]; --n) {
      values[n] = values[n - 1];
      pointers[n] = pointers[n - 1];
    }
    values[n] = value;
    pointers[n] = pointer;
  }
};

}  // namespace

template <class T>
void chain_best_k(const ChainInput<T>& in, std::size_t b, std::size_t k, std::int64_t* paths, T* scores, double* values,
                  std::int64_t* pointers) {
  const std::size_t K = in.states, length = length_of(in, b);
  paths += b * k * in.steps;
  scores += b * k;
  for (std::size_t n = 0; n < k * in.steps; ++n) paths[n] = -1;
  for (std::size_t n = 0; n < k; ++n) scores[n] = -infinity<T>;
  if (k == 0) return;
  if (length == 0) {
    scores[0] = T(0);
    return;
  }
  // values[t][j]: the k best scores of a prefix that ends in j; pointers: state and rank of what came before.
  for (std::size_t t = 0; t < length; ++t) {
    const T* u = in.unary + (b * in.steps + t) * K;
    for (std::size_t j = 0; j < K; ++j) {
      Best best{values + (t * K + j) * k, pointers + (t * K + j) * k, k};
      best.clear();
      double own = double(u[j]);
      if (in.start != nullptr && t == 0) own += double(in.start[j]);
      if (in.end != nullptr && t + 1 == length) own += double(in.end[j]);
      if (t == 0) {
        best.insert(own, 0);
        continue;
      }
      const T* matrix = matrix_of(in, b, t) + j;
      for (std::size_t i = 0; i < K; ++i)
        for (std::size_t n = 0; n < k; ++n) {
          const std::size_t from = i * k + n;
          const double value = values[(t - 1) * K * k + from] + double(matrix[i * K]) + own;
          if (!(value > best.values[k - 1])) break;
          best.insert(value, static_cast<std::int64_t>(from));
        }
    }
  }
  for (std::size_t n = 0; n < k; ++n) {
    // The n-th best of all ends: the best that is left, each list being in falling order.
    const double* ends = values + (length - 1) * K * k;
    std::size_t at = K * k;
    for (std::size_t from = 0; from < K * k; ++from)
      if (ends[from] > -infinity<double> && (at == K * k || ends[from] > ends[at])) at = from;
    if (at == K * k) break;
    scores[n] = T(ends[at]);
    values[(length - 1) * K * k + at] = -infinity<double>;
    std::size_t from = at;
    for (std::size_t t = length; t-- > 0;) {
      paths[n * in.steps + t] = static_cast<std::int64_t>(from / k);
      from = static_cast<std::size_t>(pointers[t * K * k + from]);
    }
  }
}

namespace {

/// The first state at which the running sum of the weights exceeds u times their total; never one of no weight.
template <class T>
std::size_t draw(const T* weights, std::size_t n, T u) {
  T total = 0;
  for (std::size_t k = 0; k < n; ++k) total += weights[k];
  const T target = u * total;
  T sum = 0;
  std::size_t possible = 0;
  for (std::size_t k = 0; k < n; ++k) {
    if (weights[k] == T(0)) continue;
    possible = k;
    sum += weights[k];
    if (sum > target) break;
  }
  return possible;
}

/// exp(x - max x) in place.
template <class T>
void exponentiate(T* x, std::size_t n) {
  T most = -infinity<T>;
  for (std::size_t k = 0; k < n; ++k) most = x[k] > most ? x[k] : most;
  for (std::size_t k = 0; k < n; ++k) x[k] = exp_nonpositive(splat<T>(x[k] - most))[0];
}

}  // namespace

template <class T>
void chain_sample(const ChainInput<T>& in, const T* prepared, const T* saved, const T* uniforms, std::size_t samples,
                  std::size_t first, std::size_t last, std::int64_t* paths, T* scratch) {
  const ChainLayout layout = chain_layout(in);
  const std::size_t K = in.states, width = padded<T>(K);
  T* weights = scratch;
  for (std::size_t b = first; b < last; ++b) {
    const ChainBlock<T> block = block_of(in, layout, saved, b);
    const std::size_t row = b % layout.rows, length = length_of(in, b);
    const bool logarithmic = block.mode_of(row) == ChainMode::logarithmic;
    for (std::size_t s = 0; s < samples; ++s) {
      const std::size_t offset = (s * in.batch + b) * in.steps;
      for (std::size_t t = 0; t < in.steps; ++t) paths[offset + t] = -1;
      if (block.mode_of(row) == ChainMode::none) continue;
      std::size_t state = 0;
      for (std::size_t t = length; t-- > 0;) {
        const T* alpha = block.alpha_at(t, row);
        for (std::size_t k = 0; k < K; ++k) weights[k] = alpha[k];
        if (t + 1 < length) {
          if (logarithmic) {
            const T* matrix = matrix_of(in, b, t + 1) + state;
            for (std::size_t k = 0; k < K; ++k) weights[k] += matrix[k * K];
          } else {
            const T* column = prepared_of(in, prepared, b, t + 1).transposed + state * width;
            for (std::size_t k = 0; k < K; ++k) weights[k] *= column[k];
          }
        }
        if (logarithmic) exponentiate(weights, K);
        state = draw(weights, K, uniforms[offset + t]);
        paths[offset + t] = static_cast<std::int64_t>(state);
      }
    }
  }
}

#define TAPESTRY_INSTANTIATE(T)                                                                            \
  template void chain_best(const ChainInput<T>&, std::size_t, std::size_t, std::int64_t*, T*, T*);         \
  template void chain_best_k(const ChainInput<T>&, std::size_t, std::size_t, std::int64_t*, T*, double*,   \
                             std::int64_t*);                                                               \
  template void chain_sample(const ChainInput<T>&, const T*, const T*, const T*, std::size_t, std::size_t, \
                             std::size_t, std::int64_t*, T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail::TAPESTRY_ARCH
