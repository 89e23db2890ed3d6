#include <tapestry/prob/kernels/pairwise_probabilities.hpp>

#include <tapestry/prob/kernels/pairwise_rows.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void load_unary(const PairwiseGraph& graph, const T* unary, std::size_t first, std::size_t last, T* exponentials) {
  const std::size_t K = graph.states;
  for (std::size_t v = first; v < last; ++v) {
    const T* from = unary + v * K;
    T most = from[0];
    for (std::size_t k = 1; k < K; ++k) most = from[k] > most ? from[k] : most;
    for (std::size_t k = 0; k < K; ++k) exponentials[v * K + k] = from[k] - most;
  }
  for (std::size_t n = first * K; n < last * K; n += lanes<T>)
    store_partial<T>(exponentials + n, exp_nonpositive(load_partial<T>(exponentials + n, last * K - n)), last * K - n);
}

/// Up to so many factors a variable's products need no scaling: each message is at least exp(-widest_range) / states.
constexpr std::size_t few = 4;

template <class T, std::size_t fixed>
void cavities_of(const PairwiseGraph& graph, const T* unary, const T* messages, const std::int32_t* slots,
                 std::size_t first, std::size_t last, T* cavities) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  T product[room<fixed>];
  for (std::size_t v = first; v < last; ++v) {
    const std::int64_t* incident = graph.incident + graph.offsets[v];
    const auto degree = static_cast<std::size_t>(graph.offsets[v + 1] - graph.offsets[v]);
    if constexpr (in_rows<fixed>) {
      if (v % 4 == 0) prefetch_rows<T, fixed>(graph, v, messages);
      const T* u = unary + v * K;
      if (degree == 4) {
        row_cavities<T, fixed, 4>(incident, u, messages, slots, cavities);
        continue;
      }
      if (degree == 3) {
        row_cavities<T, fixed, 3>(incident, u, messages, slots, cavities);
        continue;
      }
    }
    if (degree <= few) {
      // Products of what comes before and of what comes behind each message.
      T before[few][room<fixed>];
      for (std::size_t k = 0; k < K; ++k) product[k] = unary[v * K + k];
      for (std::size_t e = 0; e < degree; ++e) {
        const T* m = messages + start_of<T, fixed>(incident[e], K);
        for (std::size_t k = 0; k < K; ++k) {
          before[e][k] = product[k];
          product[k] *= m[k * apart<T, fixed>];
        }
      }
      for (std::size_t k = 0; k < K; ++k) product[k] = T(1);
      for (std::size_t e = degree; e-- > 0;) {
        const std::size_t start = start_of<T, fixed>(incident[e], K);
        const T* m = messages + start;
        T* out = cavities + cavity_place<T, fixed>(incident[e], start, K, slots);
        for (std::size_t k = 0; k < K; ++k) {
          out[k * apart<T, fixed>] = before[e][k] * product[k];
          product[k] *= m[k * apart<T, fixed>];
        }
      }
      continue;
    }
    for (std::size_t k = 0; k < K; ++k) product[k] = unary[v * K + k];
    for (std::size_t e = 0; e < degree; ++e) {
      const T* m = messages + start_of<T, fixed>(incident[e], K);
      for (std::size_t k = 0; k < K; ++k) product[k] *= m[k * apart<T, fixed>];
      if (e % few != few - 1 && e + 1 != degree) continue;
      T most = 0;
      for (std::size_t k = 0; k < K; ++k) most = product[k] > most ? product[k] : most;
      for (std::size_t k = 0; k < K; ++k) product[k] /= most;
    }
    // A state that was flushed from the product stays far below the others without one message.
    for (std::size_t e = 0; e < degree; ++e) {
      const std::size_t start = start_of<T, fixed>(incident[e], K);
      const T* m = messages + start;
      T* out = cavities + cavity_place<T, fixed>(incident[e], start, K, slots);
      for (std::size_t k = 0; k < K; ++k) out[k * apart<T, fixed>] = product[k] / m[k * apart<T, fixed>];
    }
  }
}

/// Of a block's lanes that are factors, the largest.
template <class T>
TAPESTRY_INLINE T largest_used(Vec<T> x, std::size_t used) {
  T most = x[0];
  for (std::size_t v = 1; v < used; ++v) most = x[v] > most ? x[v] : most;
  return most;
}

template <class T, std::size_t fixed>
T step_blocks(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* cavities,
              const std::int32_t* blocks, const std::int32_t* slots, std::size_t first, std::size_t last, bool measured,
              T* next) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  Vec<T> change{};
  T last_change = 0;
  for (std::size_t n = first; n < last; ++n) {
    const std::size_t b = blocks == nullptr ? n : static_cast<std::size_t>(blocks[n]);
    const std::size_t slot = slots == nullptr ? b : static_cast<std::size_t>(slots[b]);
    const T* potential = exponentials + table_of(graph, b) * K * K * lanes<T>;
    const std::size_t used = used_lanes<T>(graph, b);
    Vec<T> block_change{};
    for (int direction = 0; direction < 2; ++direction) {
      const std::size_t side = static_cast<std::size_t>(direction) * K * lanes<T>;
      const std::size_t own = b * block_messages<T>(K) + side;
      Vec<T> from[room<fixed>], out[room<fixed>], sum{};
      load_states<T, fixed>(cavities + slot * block_messages<T>(K) + side, K, from);
      for (std::size_t o = 0; o < K; ++o) {
        Vec<T> x{};
        for (std::size_t m = 0; m < K; ++m) x += from[m] * load<T>(potential + entry(K, direction, m, o) * lanes<T>);
        out[o] = x;
        sum += x;
      }
      const Vec<T> factor = (T(1) - damping) / sum;
      for (std::size_t o = 0; o < K; ++o) out[o] *= factor;
      if (measured || damping != T(0)) {
        load_states<T, fixed>(messages + own, K, from);
        for (std::size_t o = 0; o < K; ++o) {
          out[o] += from[o] * damping;
          block_change = vmax<T>(vmax<T>(out[o] - from[o], from[o] - out[o]), block_change);
        }
      }
      store_states<T, fixed>(next + own, K, out);
    }
    if (used == lanes<T>)
      change = vmax<T>(block_change, change);
    else
      last_change = largest_used<T>(block_change, used);
  }
  const T most = max_lanes<T>(change)[0];
  return most > last_change ? most : last_change;
}

template <class T, std::size_t fixed>
void logarithms_of(const PairwiseGraph& graph, const T* messages, std::size_t first, std::size_t last, T* out) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  Vec<T> x[room<fixed>];
  for (std::size_t n = 2 * first; n < 2 * last; ++n) {
    load_states<T, fixed>(messages + n * K * lanes<T>, K, x);
    for (std::size_t k = 0; k < K; ++k) store<T>(out + (n * K + k) * lanes<T>, vlog(x[k]));
  }
}

template <class T, std::size_t fixed>
void spread_to(const PairwiseGraph& graph, const T* grad_beliefs, const T* grad_cavities, std::size_t first,
               std::size_t last, T* grad_messages, T* grad_unary) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  T sum[room<fixed>];
  for (std::size_t v = first; v < last; ++v) {
    const std::int64_t *begin = graph.incident + graph.offsets[v], *end = graph.incident + graph.offsets[v + 1];
    if (grad_cavities == nullptr) {
      for (const std::int64_t* e = begin; e != end; ++e)
        for (std::size_t k = 0; k < K; ++k)
          grad_messages[start_of<T, fixed>(*e, K) + k * apart<T, fixed>] = grad_beliefs[v * K + k];
      continue;
    }
    // A message is in all cavities of its receiver but the one towards its sender.
    if constexpr (in_rows<fixed>) {
      if (end - begin == 4) {
        spread_rows<T, fixed, 4>(begin, grad_cavities, grad_messages, grad_unary + v * K);
        continue;
      }
      if (end - begin == 3) {
        spread_rows<T, fixed, 3>(begin, grad_cavities, grad_messages, grad_unary + v * K);
        continue;
      }
      Row<T, fixed> total{};
      for (const std::int64_t* e = begin; e != end; ++e)
        total += load_row<T, fixed>(grad_cavities + start_of<T, fixed>(*e ^ 1, K));
      T* u = grad_unary + v * K;
      store_row<T, fixed>(u, load_row<T, fixed>(u) + total);
      for (const std::int64_t* e = begin; e != end; ++e)
        store_row<T, fixed>(grad_messages + start_of<T, fixed>(*e, K),
                            total - load_row<T, fixed>(grad_cavities + start_of<T, fixed>(*e ^ 1, K)));
      continue;
    }
    for (std::size_t k = 0; k < K; ++k) sum[k] = T(0);
    for (const std::int64_t* e = begin; e != end; ++e) {
      const T* sent = grad_cavities + start_of<T, fixed>(*e ^ 1, K);
      for (std::size_t k = 0; k < K; ++k) sum[k] += sent[k * apart<T, fixed>];
    }
    for (std::size_t k = 0; k < K; ++k) grad_unary[v * K + k] += sum[k];
    for (const std::int64_t* e = begin; e != end; ++e) {
      const T* sent = grad_cavities + start_of<T, fixed>(*e ^ 1, K);
      T* out = grad_messages + start_of<T, fixed>(*e, K);
      for (std::size_t k = 0; k < K; ++k) out[k * apart<T, fixed>] = sum[k] - sent[k * apart<T, fixed>];
    }
  }
}

/// From the gradients g of the logarithms of a block's new messages in one direction to those of the messages before
/// they were normalised, out.
template <class T, std::size_t fixed, std::size_t n>
TAPESTRY_INLINE void normalisation_backward(std::size_t K, T damping, const Vec<T> (&out)[n], Vec<T> sum,
                                            const T* messages, const T* next, T* carry, Vec<T> (&g)[n]) {
  const Vec<T> inverse = T(1) / sum;
  Vec<T> total{};
  if (carry == nullptr) {
    for (std::size_t o = 0; o < K; ++o) total += g[o];
    for (std::size_t o = 0; o < K; ++o) g[o] = g[o] / out[o] - total * inverse;
    return;
  }
  Vec<T> handed[n], now[n], old[n];
  load_states<T, fixed>(carry, K, handed);
  load_states<T, fixed>(next, K, now);
  load_states<T, fixed>(messages, K, old);
  for (std::size_t o = 0; o < K; ++o) {
    const Vec<T> by_probability = (g[o] + handed[o]) / now[o];
    handed[o] = by_probability * old[o] * damping;
    g[o] = by_probability * (T(1) - damping);
    total += g[o] * out[o] * inverse;
  }
  store_states<T, fixed>(carry, K, handed);
  for (std::size_t o = 0; o < K; ++o) g[o] = (g[o] - total) * inverse;
}

template <class T, std::size_t fixed>
void step_backward_blocks(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages,
                          const T* next, const T* cavities, const T* grad_messages, std::size_t first, std::size_t last,
                          T* grad_cavities, T* carry, T* grad_pairs) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  for (std::size_t b = first; b < last; ++b) {
    const T* potential = exponentials + table_of(graph, b) * K * K * lanes<T>;
    T* pairs = grad_pairs + b * K * K * lanes<T>;
    // Of both directions: to `second` (the rows of the potential are the sender's states), and to `first`.
    Vec<T> from[2][room<fixed>], g[2][room<fixed>], out[2][room<fixed>], sum[2]{};
    const std::size_t own[2] = {b * block_messages<T>(K), b * block_messages<T>(K) + K * lanes<T>};
    for (int d = 0; d < 2; ++d) {
      load_states<T, fixed>(cavities + own[d], K, from[d]);
      load_states<T, fixed>(grad_messages + own[d], K, g[d]);
      for (std::size_t o = 0; o < K; ++o) out[d][o] = Vec<T>{};
    }
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) {
        const Vec<T> x = load<T>(potential + (i * K + j) * lanes<T>);
        out[0][j] += from[0][i] * x;
        out[1][i] += from[1][j] * x;
      }
    for (int d = 0; d < 2; ++d) {
      for (std::size_t o = 0; o < K; ++o) sum[d] += out[d][o];
      normalisation_backward<T, fixed>(K, damping, out[d], sum[d], messages + own[d], next + own[d],
                                       carry == nullptr ? nullptr : carry + own[d], g[d]);
      for (std::size_t k = 0; k < K; ++k) out[d][k] = Vec<T>{};
    }
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) {
        const std::size_t at = (i * K + j) * lanes<T>;
        const Vec<T> x = load<T>(potential + at), to_second = x * g[0][j], to_first = x * g[1][i];
        store<T>(pairs + at, load<T>(pairs + at) + (from[0][i] * to_second + from[1][j] * to_first));
        out[0][i] += to_second;
        out[1][j] += to_first;
      }
    for (int d = 0; d < 2; ++d) {
      for (std::size_t k = 0; k < K; ++k) out[d][k] *= from[d][k];
      store_states<T, fixed>(grad_cavities + own[d], K, out[d]);
    }
  }
}

template <class T>
void cavities(const PairwiseGraph& graph, const T* unary, const T* messages, const std::int32_t* slots,
              std::size_t first, std::size_t last, T* out) {
  const auto f = graph.states == 2   ? cavities_of<T, 2>
                 : graph.states == 3 ? cavities_of<T, 3>
                 : graph.states == 4 ? cavities_of<T, 4>
                                     : cavities_of<T, 0>;
  f(graph, unary, messages, slots, first, last, out);
}
template <class T>
T step(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* from,
       const std::int32_t* blocks, const std::int32_t* slots, std::size_t first, std::size_t last, bool measured,
       T* next) {
  const auto f = graph.states == 2   ? step_blocks<T, 2>
                 : graph.states == 3 ? step_blocks<T, 3>
                 : graph.states == 4 ? step_blocks<T, 4>
                                     : step_blocks<T, 0>;
  return f(graph, exponentials, damping, messages, from, blocks, slots, first, last, measured, next);
}
template <class T>
void logarithms(const PairwiseGraph& graph, const T* messages, std::size_t first, std::size_t last, T* out) {
  const auto f = graph.states == 2   ? logarithms_of<T, 2>
                 : graph.states == 4 ? logarithms_of<T, 4>
                                     : logarithms_of<T, 0>;
  f(graph, messages, first, last, out);
}
template <class T>
void spread(const PairwiseGraph& graph, const T* grad_beliefs, const T* grad_cavities, std::size_t first,
            std::size_t last, T* grad_messages, T* grad_unary) {
  const auto f = graph.states == 2   ? spread_to<T, 2>
                 : graph.states == 3 ? spread_to<T, 3>
                 : graph.states == 4 ? spread_to<T, 4>
                                     : spread_to<T, 0>;
  f(graph, grad_beliefs, grad_cavities, first, last, grad_messages, grad_unary);
}
template <class T>
void step_backward(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* next,
                   const T* from, const T* grad_messages, std::size_t first, std::size_t last, T* grad_cavities,
                   T* carry, T* grad_pairs) {
  const auto f = graph.states == 2   ? step_backward_blocks<T, 2>
                 : graph.states == 3 ? step_backward_blocks<T, 3>
                 : graph.states == 4 ? step_backward_blocks<T, 4>
                                     : step_backward_blocks<T, 0>;
  f(graph, exponentials, damping, messages, next, from, grad_messages, first, last, grad_cavities, carry, grad_pairs);
}

template <class T>
constexpr PairwiseProbabilityKernels<T> table() {
  PairwiseProbabilityKernels<T> t{};
  t.load_unary = load_unary<T>;
  t.cavities = cavities<T>;
  t.step = step<T>;
  t.logarithms = logarithms<T>;
  t.spread = spread<T>;
  t.step_backward = step_backward<T>;
  return t;
}

}  // namespace

template <>
const PairwiseProbabilityKernels<float>& kernels() {
  static constexpr PairwiseProbabilityKernels<float> t = table<float>();
  return t;
}
template <>
const PairwiseProbabilityKernels<double>& kernels() {
  static constexpr PairwiseProbabilityKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
