#include <tapestry/prob/kernels/chain_parts.hpp>

// Second derivatives and entropy of chains, from the conditional distributions of the posterior Markov chain: given the
// state j of step t, that of step t - 1 is i with a probability proportional to alpha[t - 1, i] exp(transitions[i, j]).
// Tangents are of logarithms and centred at every step, so that neither scale nor length matters.
namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

TAPESTRY_INLINE float log_of(float x) {
  return __builtin_logf(x);
}
TAPESTRY_INLINE double log_of(double x) {
  return __builtin_log(x);
}

template <class T>
TAPESTRY_INLINE T exp_of(T x) {
  return exp_nonpositive(splat<T>(x))[0];
}

/// weights[j] = alpha[t - 1, i] exp(transitions[i, j]) up to a factor for each j.
template <class T>
struct Incoming {
  const ChainInput<T>& in;
  const T* prepared;
  const ChainBlock<T>& block;
  std::size_t b, row, t;
  bool logarithmic;
  T* high;  ///< [width], the largest exponent of each column (log domain)

  void start() {
    if (!logarithmic) return;
    const std::size_t K = in.states;
    const T* alpha = block.alpha_at(t - 1, row);
    const T* matrix = matrix_of(in, b, t);
    for (std::size_t j = 0; j < K; ++j) high[j] = -infinity<T>;
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) {
        const T x = alpha[i] + matrix[i * K + j];
        high[j] = x > high[j] ? x : high[j];
      }
    for (std::size_t j = 0; j < K; ++j) high[j] = high[j] == -infinity<T> ? T(0) : high[j];
  }
  Vec<T> weights(std::size_t i, std::size_t j) const {
    const T alpha = block.alpha_at(t - 1, row)[i];
    if (!logarithmic) return alpha * load<T>(prepared_of(in, prepared, b, t).forward + i * block.width + j);
    return exp_nonpositive(exponents(i, j));
  }
  /// Log domain only.
  Vec<T> exponents(std::size_t i, std::size_t j) const {
    const std::size_t K = in.states;
    return block.alpha_at(t - 1, row)[i] + load_partial<T>(matrix_of(in, b, t) + i * K + j, K - j, -infinity<T>) -
           load_partial<T>(high + j, K - j, T(0));
  }
};

template <class T>
TAPESTRY_INLINE Vec<T> direction_at(const T* direction, std::size_t offset, std::size_t n) {
  return direction == nullptr ? Vec<T>{} : load_partial<T>(direction + offset, n, T(0));
}

}  // namespace

template <class T>
void chain_curvature(const ChainInput<T>& in, const T* prepared, const T* saved, const T* g, const T* direction_unary,
                     const T* direction_transitions, std::size_t first, std::size_t last, T* tangent_log_partition,
                     T* tangent_unary, T* tangent_transitions, T* scratch) {
  const ChainLayout layout = chain_layout(in);
  const std::size_t K = in.states, width = padded<T>(K);
  T* tangents = scratch;                    // of log alpha, [steps][width]
  T* high = scratch + in.steps * width;     // for Incoming
  T* beta = high + width;                   // scaled, or its logarithm
  T* ratio = beta + width;                  // pairwise = alpha[i] * E[i, j] * ratio[j], or its logarithm
  T* tangent_ratio = ratio + width;         // of log ratio
  T* tangent_beta = tangent_ratio + width;  // of log beta
  T* marginal = tangent_beta + width;
  for (std::size_t b = first; b < last; ++b) {
    const ChainBlock<T> block = block_of(in, layout, saved, b);
    const std::size_t row = b % layout.rows, length = length_of(in, b), offset = b * in.steps * K;
    const bool logarithmic = block.mode_of(row) == ChainMode::logarithmic;
    if (tangent_unary != nullptr)
      for (std::size_t n = 0; n < in.steps * K; ++n) tangent_unary[offset + n] = T(0);
    if (tangent_log_partition != nullptr) tangent_log_partition[b] = T(0);
    if (block.mode_of(row) == ChainMode::none) continue;
    // Forward. The mean that is subtracted of a step's tangents adds to that of the log-partition.
    double total = 0;
    for (std::size_t t = 0; t < length; ++t) {
      T* tangent = tangents + t * width;
      Incoming<T> incoming{in, prepared, block, b, row, t, logarithmic, high};
      if (t > 0) incoming.start();
      const T* alpha = block.alpha_at(t, row);
      Vec<T> weight_sum{}, tangent_sum{};
      for (std::size_t j = 0; j < width; j += lanes<T>) {
        Vec<T> mean{};
        if (t > 0) {
          Vec<T> sum{};
          for (std::size_t i = 0; i < K; ++i) {
            const Vec<T> w = incoming.weights(i, j);
            sum += w;
            mean +=
                w * (tangents[(t - 1) * width + i] +
                     direction_at(direction_transitions,
                                  static_cast<std::size_t>(matrix_of(in, b, t) - in.transitions) + i * K + j, K - j));
          }
          mean *= inverse_or_zero<T>(sum);
        }
        mean += direction_at(direction_unary, offset + t * K + j, K - j);
        store<T>(tangent + j, mean);
        const Vec<T> p = logarithmic ? exp_nonpositive(load<T>(alpha + j)) : load<T>(alpha + j);
        weight_sum += p;
        tangent_sum += p * mean;
      }
      const T mean = sum_lanes<T>(tangent_sum)[0] / sum_lanes<T>(weight_sum)[0];
      for (std::size_t j = 0; j < width; ++j) tangent[j] -= mean;
      total += double(mean);
    }
    if (tangent_log_partition != nullptr) tangent_log_partition[b] = T(total);
    if (tangent_unary == nullptr && tangent_transitions == nullptr) continue;
    // Backward.
    for (std::size_t k = 0; k < width; ++k) {
      beta[k] = logarithmic ? T(0) : T(1);
      tangent_beta[k] = T(0);
    }
    for (std::size_t t = length; t-- > 0;) {
      const T* alpha = block.alpha_at(t, row);
      T most = -infinity<T>, sum = T(0), mean = T(0);
      if (logarithmic)
        for (std::size_t k = 0; k < K; ++k) most = alpha[k] + beta[k] > most ? alpha[k] + beta[k] : most;
      for (std::size_t k = 0; k < K; ++k) {
        marginal[k] = logarithmic ? exp_of(alpha[k] + beta[k] - most) : alpha[k] * beta[k];
        sum += marginal[k];
      }
      for (std::size_t k = 0; k < K; ++k) {
        marginal[k] /= sum;
        mean += marginal[k] * (tangents[t * width + k] + tangent_beta[k]);
      }
      if (tangent_unary != nullptr)
        for (std::size_t k = 0; k < K; ++k)
          tangent_unary[offset + t * K + k] = g[b] * marginal[k] * (tangents[t * width + k] + tangent_beta[k] - mean);
      if (t == 0) break;
      const T* previous = block.alpha_at(t - 1, row);
      const T* unary = block.unary_at(t, row);
      const std::size_t place = static_cast<std::size_t>(matrix_of(in, b, t) - in.transitions);
      const T scale = logarithmic ? most + log_of(sum) : block.inverse_at(t - 1, row) / sum;
      for (std::size_t j = 0; j < K; ++j) {
        ratio[j] = logarithmic ? unary[j] + beta[j] - block.inverse_at(t, row) - scale : unary[j] * beta[j] * scale;
        tangent_ratio[j] = tangent_beta[j] + (direction_unary == nullptr ? T(0) : direction_unary[offset + t * K + j]);
      }
      // Two passes over the pairs: the new beta with its tangent gives the mean that the pairs' tangents are about.
      double pair_mean = 0;
      const T* matrix = logarithmic ? in.transitions + place : prepared_of(in, prepared, b, t).forward;
      const std::size_t stride = logarithmic ? K : width;
      for (std::size_t i = 0; i < K; ++i) {
        Vec<T> shift = splat<T>(T(0));
        if (logarithmic) {
          shift = splat<T>(-infinity<T>);
          for (std::size_t j = 0; j < K; j += lanes<T>)
            shift = vmax<T>(
                load_partial<T>(matrix + i * stride + j, K - j, -infinity<T>) + load_partial<T>(ratio + j, K - j, T(0)),
                shift);
          shift = max_lanes<T>(shift);
          if (shift[0] == -infinity<T>) shift = Vec<T>{};
        }
        Vec<T> weights{}, tangent{};
        for (std::size_t j = 0; j < K; j += lanes<T>) {
          const Vec<T> r = load_partial<T>(ratio + j, K - j, T(0));
          const Vec<T> w =
              logarithmic ? exp_nonpositive(load_partial<T>(matrix + i * stride + j, K - j, -infinity<T>) + r - shift)
                          : load<T>(matrix + i * stride + j) * r;
          weights += w;
          tangent += w * (load_partial<T>(tangent_ratio + j, K - j, T(0)) +
                          direction_at(direction_transitions, place + i * K + j, K - j));
        }
        const T weight = sum_lanes<T>(weights)[0];
        beta[i] = logarithmic ? shift[0] + log_of(weight) : weight;
        tangent_beta[i] = weight == T(0) ? T(0) : sum_lanes<T>(tangent)[0] / weight;
        const T p = logarithmic ? exp_of(vmin<T>(splat<T>(previous[i] + beta[i]), Vec<T>{})[0]) : previous[i] * beta[i];
        pair_mean += double(p) * double(tangents[(t - 1) * width + i] + tangent_beta[i]);
      }
      if (tangent_transitions != nullptr)
        for (std::size_t i = 0; i < K; ++i)
          for (std::size_t j = 0; j < K; j += lanes<T>) {
            const Vec<T> r = load_partial<T>(ratio + j, K - j, T(0));
            const Vec<T> p =
                logarithmic
                    ? exp_nonpositive(vmin<T>(
                          load_partial<T>(matrix + i * stride + j, K - j, -infinity<T>) + r + previous[i], Vec<T>{}))
                    : load<T>(matrix + i * stride + j) * r * previous[i];
            const Vec<T> x = load_partial<T>(tangent_ratio + j, K - j, T(0)) +
                             direction_at(direction_transitions, place + i * K + j, K - j) +
                             tangents[(t - 1) * width + i] - T(pair_mean);
            T* out = tangent_transitions + place + i * K + j;
            store_partial<T>(out, load_partial<T>(out, K - j, T(0)) + p * x * g[b], K - j);
          }
      // Keep the tangents small: only differences between states matter.
      for (std::size_t i = 0; i < K; ++i) tangent_beta[i] -= T(pair_mean);
    }
  }
}

template <class T>
void chain_entropy(const ChainInput<T>& in, const T* prepared, const T* saved, std::size_t first, std::size_t last,
                   T* entropy, T* scratch) {
  const ChainLayout layout = chain_layout(in);
  const std::size_t K = in.states, width = padded<T>(K);
  T* conditional = scratch;  // of the steps before, given the state: two rows in turn
  T* high = scratch + 2 * width;
  for (std::size_t b = first; b < last; ++b) {
    const ChainBlock<T> block = block_of(in, layout, saved, b);
    const std::size_t row = b % layout.rows, length = length_of(in, b);
    const bool logarithmic = block.mode_of(row) == ChainMode::logarithmic;
    entropy[b] = T(0);
    if (block.mode_of(row) == ChainMode::none) continue;
    // The mean is kept apart, in double: it grows with the length.
    double total = 0;
    for (std::size_t j = 0; j < width; ++j) conditional[j] = T(0);
    for (std::size_t t = 1; t <= length; ++t) {
      // The step behind the last one has one state that all others lead to.
      T* h = conditional + t % 2 * width;
      const T* before = conditional + (t + 1) % 2 * width;
      if (t == 1)
        for (std::size_t j = 0; j < width; ++j) conditional[j] = conditional[width + j] = T(0);
      if (t == length) break;
      Incoming<T> incoming{in, prepared, block, b, row, t, logarithmic, high};
      incoming.start();
      T mean_weight = 0, mean = 0;
      const T* alpha = block.alpha_at(t, row);
      for (std::size_t j = 0; j < width; j += lanes<T>) {
        Vec<T> sum{}, value{};
        for (std::size_t i = 0; i < K; ++i) {
          const Vec<T> w = incoming.weights(i, j);
          sum += w;
          value += w * before[i];
        }
        const Vec<T> inverse = inverse_or_zero<T>(sum);
        value *= inverse;
        for (std::size_t i = 0; i < K; ++i) {
          const Vec<T> p = incoming.weights(i, j) * inverse;
          value -= p > T(0) ? p * vlog(p) : Vec<T>{};
        }
        store<T>(h + j, value);
        for (std::size_t v = 0; v < lanes<T> && j + v < K; ++v) {
          const T p = logarithmic ? exp_of(alpha[j + v]) : alpha[j + v];
          mean_weight += p;
          mean += p * value[v];
        }
      }
      mean /= mean_weight;
      for (std::size_t j = 0; j < width; ++j) h[j] -= mean;
      total += double(mean);
    }
    const T* h = conditional + (length + 1) % 2 * width;
    const T* alpha = block.alpha_at(length - 1, row);
    double sum = 0;
    for (std::size_t k = 0; k < K; ++k) sum += double(logarithmic ? exp_of(alpha[k]) : alpha[k]);
    for (std::size_t k = 0; k < K; ++k) {
      const double p = double(logarithmic ? exp_of(alpha[k]) : alpha[k]) / sum;
      if (p > 0) total += p * (double(h[k]) - __builtin_log(p));
    }
    entropy[b] = T(total);
  }
}

#define TAPESTRY_INSTANTIATE(T)                                                                                      \
  template void chain_curvature(const ChainInput<T>&, const T*, const T*, const T*, const T*, const T*, std::size_t, \
                                std::size_t, T*, T*, T*, T*);                                                        \
  template void chain_entropy(const ChainInput<T>&, const T*, const T*, std::size_t, std::size_t, T*, T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail::TAPESTRY_ARCH
