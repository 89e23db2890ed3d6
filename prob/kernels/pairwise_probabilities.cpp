#include <tapestry/prob/kernels/pairwise_probabilities.hpp>

#include <tapestry/prob/kernels/pairwise_parts.hpp>

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

/// Where a message starts, and how far its states are apart.
template <class T, std::size_t fixed>
TAPESTRY_INLINE std::size_t start_of(std::int64_t message, std::size_t states) {
  if constexpr (!in_rows<fixed>) return place_of<T>(message, states);
  const std::size_t factor = static_cast<std::size_t>(message) / 2, direction = static_cast<std::size_t>(message) % 2;
  return ((factor / lanes<T> * 2 + direction) * lanes<T> + factor % lanes<T>)*fixed;
}
template <class T, std::size_t fixed>
constexpr std::size_t apart = in_rows<fixed> ? 1 : lanes<T>;

/// Up to so many factors a variable's products need no scaling: each message is at least exp(-widest_range) / states.
constexpr std::size_t few = 4;

/// The states of one message where it is a row: one small vector.
template <class T, std::size_t fixed>
struct RowOf {
  typedef T type __attribute__((vector_size((fixed != 0 ? fixed : 1) * sizeof(T))));
};
template <class T, std::size_t fixed>
using Row = typename RowOf<T, in_rows<fixed> ? fixed : 0>::type;
template <class T, std::size_t fixed>
TAPESTRY_INLINE Row<T, fixed> load_row(const T* p) {
  Row<T, fixed> x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
template <class T, std::size_t fixed>
TAPESTRY_INLINE void store_row(T* p, Row<T, fixed> x) {
  std::memcpy(p, &x, sizeof x);
}

/// cavities_of() for a variable of few factors whose messages are rows.
template <class T, std::size_t fixed, std::size_t degree>
TAPESTRY_INLINE void row_cavities(const std::int64_t* incident, const T* unary, const T* messages, T* cavities) {
  Row<T, fixed> message[degree], before[degree];
  before[0] = load_row<T, fixed>(unary);
  for (std::size_t e = 0; e < degree; ++e) {
    message[e] = load_row<T, fixed>(messages + start_of<T, fixed>(incident[e], fixed));
    if (e + 1 < degree) before[e + 1] = before[e] * message[e];
  }
  Row<T, fixed> behind = message[degree - 1];
  store_row<T, fixed>(cavities + start_of<T, fixed>(incident[degree - 1] ^ 1, fixed), before[degree - 1]);
  for (std::size_t e = degree - 1; e-- > 0;) {
    store_row<T, fixed>(cavities + start_of<T, fixed>(incident[e] ^ 1, fixed), before[e] * behind);
    behind *= message[e];
  }
}

template <class T, std::size_t fixed>
void cavities_of(const PairwiseGraph& graph, const T* unary, const T* messages, std::size_t first, std::size_t last,
                 T* cavities) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  T product[room<fixed>];
  for (std::size_t v = first; v < last; ++v) {
    const std::int64_t* incident = graph.incident + graph.offsets[v];
    const auto degree = static_cast<std::size_t>(graph.offsets[v + 1] - graph.offsets[v]);
    if constexpr (in_rows<fixed>) {
      const T* u = unary + v * K;
      if (degree == 4) {
        row_cavities<T, fixed, 4>(incident, u, messages, cavities);
        continue;
      }
      if (degree == 3) {
        row_cavities<T, fixed, 3>(incident, u, messages, cavities);
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
        const T* m = messages + start_of<T, fixed>(incident[e], K);
        T* out = cavities + start_of<T, fixed>(incident[e] ^ 1, K);
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
      const T* m = messages + start_of<T, fixed>(incident[e], K);
      T* out = cavities + start_of<T, fixed>(incident[e] ^ 1, K);
      for (std::size_t k = 0; k < K; ++k) out[k * apart<T, fixed>] = product[k] / m[k * apart<T, fixed>];
    }
  }
}

template <class T, std::size_t fixed>
void step_blocks(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* cavities,
                 std::size_t first, std::size_t last, T* next) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  for (std::size_t b = first; b < last; ++b) {
    const T* potential = exponentials + b * K * K * lanes<T>;
    for (int direction = 0; direction < 2; ++direction) {
      const std::size_t own = b * block_messages<T>(K) + static_cast<std::size_t>(direction) * K * lanes<T>;
      Vec<T> from[room<fixed>], out[room<fixed>], sum{};
      load_states<T, fixed>(cavities + own, K, from);
      for (std::size_t o = 0; o < K; ++o) {
        Vec<T> x{};
        for (std::size_t m = 0; m < K; ++m) x += from[m] * load<T>(potential + entry(K, direction, m, o) * lanes<T>);
        out[o] = x;
        sum += x;
      }
      const Vec<T> factor = (T(1) - damping) / sum;
      for (std::size_t o = 0; o < K; ++o) out[o] *= factor;
      if (damping != T(0)) {
        load_states<T, fixed>(messages + own, K, from);
        for (std::size_t o = 0; o < K; ++o) out[o] += from[o] * damping;
      }
      store_states<T, fixed>(next + own, K, out);
    }
  }
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

template <class T, std::size_t fixed>
void step_backward_blocks(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages,
                          const T* next, const T* cavities, const T* grad_messages, std::size_t first, std::size_t last,
                          T* grad_cavities, T* carry, T* grad_pairs) {
  const std::size_t K = fixed != 0 ? fixed : graph.states;
  for (std::size_t b = first; b < last; ++b) {
    const T* potential = exponentials + b * K * K * lanes<T>;
    T* pairs = grad_pairs + b * K * K * lanes<T>;
    for (int direction = 0; direction < 2; ++direction) {
      const std::size_t own = b * block_messages<T>(K) + static_cast<std::size_t>(direction) * K * lanes<T>;
      Vec<T> from[room<fixed>], out[room<fixed>], g[room<fixed>], sum{}, total{};
      load_states<T, fixed>(cavities + own, K, from);
      load_states<T, fixed>(grad_messages + own, K, g);
      for (std::size_t o = 0; o < K; ++o) {
        Vec<T> x{};
        for (std::size_t m = 0; m < K; ++m) x += from[m] * load<T>(potential + entry(K, direction, m, o) * lanes<T>);
        out[o] = x;
        sum += x;
      }
      const Vec<T> inverse = T(1) / sum;
      // Through damping and normalisation: g becomes the gradient of the unnormalised message.
      if (carry != nullptr) {
        Vec<T> handed[room<fixed>], now[room<fixed>], old[room<fixed>];
        load_states<T, fixed>(carry + own, K, handed);
        load_states<T, fixed>(next + own, K, now);
        load_states<T, fixed>(messages + own, K, old);
        for (std::size_t o = 0; o < K; ++o) {
          const Vec<T> by_probability = (g[o] + handed[o]) / now[o];
          handed[o] = by_probability * old[o] * damping;
          g[o] = by_probability * (T(1) - damping);
          total += g[o] * out[o] * inverse;
        }
        store_states<T, fixed>(carry + own, K, handed);
      } else {
        for (std::size_t o = 0; o < K; ++o) total += g[o];
      }
      for (std::size_t o = 0; o < K; ++o)
        g[o] = carry != nullptr ? (g[o] - total) * inverse : g[o] / out[o] - total * inverse;
      for (std::size_t m = 0; m < K; ++m) {
        Vec<T> gradient{};
        for (std::size_t o = 0; o < K; ++o) {
          const std::size_t at = entry(K, direction, m, o) * lanes<T>;
          const Vec<T> x = load<T>(potential + at) * g[o];
          store<T>(pairs + at, load<T>(pairs + at) + from[m] * x);
          gradient += x;
        }
        out[m] = gradient * from[m];
      }
      store_states<T, fixed>(grad_cavities + own, K, out);
    }
  }
}

template <class T>
void cavities(const PairwiseGraph& graph, const T* unary, const T* messages, std::size_t first, std::size_t last,
              T* out) {
  const auto f = graph.states == 2   ? cavities_of<T, 2>
                 : graph.states == 3 ? cavities_of<T, 3>
                 : graph.states == 4 ? cavities_of<T, 4>
                                     : cavities_of<T, 0>;
  f(graph, unary, messages, first, last, out);
}
template <class T>
void step(const PairwiseGraph& graph, const T* exponentials, T damping, const T* messages, const T* from,
          std::size_t first, std::size_t last, T* next) {
  const auto f = graph.states == 2   ? step_blocks<T, 2>
                 : graph.states == 3 ? step_blocks<T, 3>
                 : graph.states == 4 ? step_blocks<T, 4>
                                     : step_blocks<T, 0>;
  f(graph, exponentials, damping, messages, from, first, last, next);
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
