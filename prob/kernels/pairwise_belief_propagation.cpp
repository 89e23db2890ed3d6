#include <tapestry/prob/kernels/pairwise_belief_propagation.hpp>

#include <tapestry/prob/kernels/pairwise_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void prepare(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, std::size_t first,
             std::size_t last, T* exponentials, T* range, T* shift) {
  const std::size_t square = graph.states * graph.states;
  for (std::size_t b = first; b < last; ++b) {
    if (table_of(graph, b) != b) continue;
    const Potentials<T> from(potentials, index, Block<T>(graph, b), square);
    T* out = exponentials + b * square * lanes<T>;
    Vec<T> most = splat<T>(-infinity<T>), least = splat<T>(infinity<T>);
    for (std::size_t n = 0; n < square; ++n) {
      const Vec<T> x = from[n];
      store<T>(out + n * lanes<T>, x);
      most = vmax<T>(x, most);
      least = vmin<T>(x, least);
    }
    range[b] = max_lanes<T>(most - least)[0];
    if (!(range[b] < infinity<T>)) range[b] = infinity<T>;
    most = most == -infinity<T> ? Vec<T>{} : most;
    store<T>(shift + b * lanes<T>, most);
    for (std::size_t n = 0; n < square; ++n)
      store<T>(out + n * lanes<T>, exp_nonpositive(load<T>(out + n * lanes<T>) - most));
  }
}

template <class T>
void start(const PairwiseGraph& graph, std::size_t first, std::size_t last, T* messages) {
  const T value = -vlog(splat<T>(T(graph.states)))[0];
  const std::size_t n = block_messages<T>(graph.states);
  for (std::size_t i = first * n; i < last * n; ++i) messages[i] = value;
}

template <class T>
void gather(const PairwiseGraph& graph, const T* unary, const T* messages, std::size_t first, std::size_t last,
            T* beliefs, T* infinite) {
  const std::size_t K = graph.states;
  for (std::size_t v = first; v < last; ++v) {
    T* out = beliefs + v * K;
    for (std::size_t k = 0; k < K; ++k) out[k] = unary[v * K + k];
    if (infinite != nullptr)
      for (std::size_t k = 0; k < K; ++k) {
        infinite[v * K + k] = out[k] == -infinity<T> ? T(1) : T(0);
        if (out[k] == -infinity<T>) out[k] = T(0);
      }
    for (std::int64_t e = graph.offsets[v]; e < graph.offsets[v + 1]; ++e) {
      const T* m = messages + place_of<T>(graph.incident[e], K);
      if (infinite == nullptr) {
        for (std::size_t k = 0; k < K; ++k) out[k] += m[k * lanes<T>];
        continue;
      }
      for (std::size_t k = 0; k < K; ++k) {
        const T x = m[k * lanes<T>];
        if (x == -infinity<T>)
          infinite[v * K + k] += T(1);
        else
          out[k] += x;
      }
    }
  }
}

/// out[o] = log sum_m exp(from[m] + potential[m, o]).
template <class T, std::size_t n>
TAPESTRY_INLINE void send_wide(std::size_t K, int direction, const Potentials<T>& potential, const Vec<T> (&from)[n],
                               Vec<T> (&out)[n]) {
  for (std::size_t o = 0; o < K; ++o) {
    Vec<T> most = splat<T>(-infinity<T>), sum{};
    for (std::size_t m = 0; m < K; ++m) most = vmax<T>(from[m] + potential[entry(K, direction, m, o)], most);
    most = most == -infinity<T> ? Vec<T>{} : most;
    for (std::size_t m = 0; m < K; ++m) sum += exp_nonpositive(from[m] + potential[entry(K, direction, m, o)] - most);
    out[o] = most + vlog(sum);
  }
}

template <class T, std::size_t fixed>
void step_blocks(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
                 const T* range, const T* beliefs, const T* infinite, T damping, const T* messages, std::size_t first,
                 std::size_t last, T* next) {
  const std::size_t K = fixed != 0 ? fixed : graph.states, square = K * K;
  for (std::size_t b = first; b < last; ++b) {
    const Block<T> block(graph, b);
    const T* in = messages + b * block_messages<T>(K);
    const std::size_t table = table_of(graph, b);
    const T* potential = exponentials + table * square * lanes<T>;
    for (int direction = 0; direction < 2; ++direction) {
      Vec<T> from[room<fixed>], out[room<fixed>], sum{};
      cavity(K, block, direction, beliefs, infinite, in, from);
      T* to = next + b * block_messages<T>(K) + static_cast<std::size_t>(direction) * K * lanes<T>;
      if (range[table] <= narrow<T>) {
        const Vec<T> most = largest<T>(K, from);
        for (std::size_t m = 0; m < K; ++m) from[m] = exp_nonpositive(from[m] - most);
        for (std::size_t o = 0; o < K; ++o) {
          Vec<T> x{};
          for (std::size_t m = 0; m < K; ++m) x += from[m] * load<T>(potential + entry(K, direction, m, o) * lanes<T>);
          out[o] = x;
          sum += x;
        }
      } else {
        send_wide(K, direction, Potentials<T>(potentials, index, block, square), from, out);
        const Vec<T> most = largest<T>(K, out);
        for (std::size_t o = 0; o < K; ++o) {
          out[o] -= most;
          sum += exp_nonpositive(out[o]);
        }
      }
      const T* old = in + static_cast<std::size_t>(direction) * K * lanes<T>;
      const Vec<T> normaliser = sum == T(0) ? Vec<T>{} : vlog(sum);
      for (std::size_t o = 0; o < K; ++o) {
        Vec<T> value = (range[table] <= narrow<T> ? vlog(out[o]) : out[o]) - normaliser;
        if (damping != T(0)) {
          // Relative to the larger one: both may be too small for a probability.
          const Vec<T> before = load<T>(old + o * lanes<T>), most = vmax<T>(value, before);
          const Vec<T> mixed =
              exp_nonpositive(value - most) * (T(1) - damping) + exp_nonpositive(before - most) * damping;
          value = value == -infinity<T> ? value : most + vlog(mixed);
        }
        store<T>(to + o * lanes<T>, value);
      }
    }
  }
}

template <class T>
void normalise(const PairwiseGraph& graph, const T* beliefs, const T* infinite, std::size_t first, std::size_t last,
               T* log_marginals) {
  const std::size_t K = graph.states;
  // Exponentials and logarithms of several variables at a time.
  T exponentials[lanes<T> * room<0>], sums[lanes<T>];
  for (std::size_t begin = first; begin < last; begin += lanes<T>) {
    const std::size_t n = last - begin < lanes<T> ? last - begin : lanes<T>;
    T* out = log_marginals + begin * K;
    for (std::size_t v = 0; v < n; ++v) {
      T most = -infinity<T>;
      for (std::size_t k = v * K; k < (v + 1) * K; ++k) {
        out[k] = infinite != nullptr && infinite[begin * K + k] > T(0) ? -infinity<T> : beliefs[begin * K + k];
        most = out[k] > most ? out[k] : most;
      }
      most = most == -infinity<T> ? T(0) : most;
      for (std::size_t k = v * K; k < (v + 1) * K; ++k) out[k] -= most;
    }
    for (std::size_t k = 0; k < n * K; k += lanes<T>)
      store<T>(exponentials + k, exp_nonpositive(load_partial<T>(out + k, n * K - k)));
    for (std::size_t v = 0; v < lanes<T>; ++v) {
      sums[v] = v < n ? T(0) : T(1);
      for (std::size_t k = v * K; v < n && k < (v + 1) * K; ++k) sums[v] += exponentials[k];
    }
    const Vec<T> total = load<T>(sums);
    store<T>(sums, total == T(0) ? Vec<T>{} : vlog(total));
    for (std::size_t v = 0; v < n; ++v)
      for (std::size_t k = v * K; k < (v + 1) * K; ++k) out[k] -= sums[v];
  }
}

template <class T>
void normalise_backward(const PairwiseGraph& graph, const T* log_marginals, const T* grad, std::size_t first,
                        std::size_t last, T* grad_beliefs, T* grad_unary) {
  const std::size_t K = graph.states;
  for (std::size_t n = first * K; n < last * K; n += lanes<T>)
    store_partial<T>(grad_unary + n, vexp(load_partial<T>(log_marginals + n, last * K - n)), last * K - n);
  for (std::size_t v = first; v < last; ++v) {
    T total = 0;
    for (std::size_t k = v * K; k < (v + 1) * K; ++k) total += log_marginals[k] == -infinity<T> ? T(0) : grad[k];
    for (std::size_t k = v * K; k < (v + 1) * K; ++k)
      grad_beliefs[k] = grad_unary[k] = log_marginals[k] == -infinity<T> ? T(0) : grad[k] - grad_unary[k] * total;
  }
}

template <class T, std::size_t fixed>
void step_backward_blocks(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index,
                          const T* exponentials, const T* range, const T* beliefs, const T* infinite, T damping,
                          const T* messages, const T* next, const T* grad_beliefs, const T* weights, std::size_t first,
                          std::size_t last, T* grad_cavity, T* carry, T* grad_pairs) {
  const std::size_t K = fixed != 0 ? fixed : graph.states, square = K * K;
  for (std::size_t b = first; b < last; ++b) {
    const Block<T> block(graph, b);
    const std::size_t place = b * block_messages<T>(K);
    const std::size_t table = table_of(graph, b);
    const T* potential = exponentials + table * square * lanes<T>;
    T* pairs = grad_pairs + b * square * lanes<T>;
    Vec<T> grad[2][room<fixed>];
    // A message adds to its receiver's belief, and so to all of its cavities but the one towards the sender.
    for (int direction = 0; direction < 2; ++direction)
      for (std::size_t k = 0; k < K; ++k) {
        const std::size_t own = place + (static_cast<std::size_t>(direction) * K + k) * lanes<T>;
        const std::size_t reverse = place + (static_cast<std::size_t>(1 - direction) * K + k) * lanes<T>;
        Vec<T> g = gathered(grad_beliefs + k, block.variable[1 - direction], K);
        if (weights != nullptr) g *= load<T>(weights + b * lanes<T>);
        g -= load<T>(grad_cavity + reverse);
        if (carry != nullptr) g += load<T>(carry + own);
        grad[direction][k] = g;
      }
    for (int direction = 0; direction < 2; ++direction) {
      Vec<T> from[room<fixed>], out[room<fixed>];
      auto& g = grad[direction];
      const std::size_t own = place + static_cast<std::size_t>(direction) * K * lanes<T>;
      cavity(K, block, direction, beliefs, infinite, messages + place, from);
      // Through damping and normalisation: g becomes the gradient of the unnormalised logarithm.
      Vec<T> total{};
      if (carry == nullptr) {
        for (std::size_t o = 0; o < K; ++o) {
          const Vec<T> log_p = load<T>(next + own + o * lanes<T>);
          g[o] = log_p == -infinity<T> ? Vec<T>{} : g[o];
          total += g[o];
        }
        for (std::size_t o = 0; o < K; ++o) g[o] -= vexp(load<T>(next + own + o * lanes<T>)) * total;
      } else {
        Vec<T> share[room<fixed>];  // of the update in the damped message
        for (std::size_t o = 0; o < K; ++o) {
          const Vec<T> now = load<T>(next + own + o * lanes<T>);
          const Vec<T> old = vmin<T>(vexp(load<T>(messages + own + o * lanes<T>) - now) * damping, splat<T>(T(1)));
          const Vec<T> given = now == -infinity<T> ? Vec<T>{} : g[o];
          const Vec<T> kept = now == -infinity<T> ? Vec<T>{} : old;
          store<T>(carry + own + o * lanes<T>, kept * given);
          share[o] = T(1) - kept;
          g[o] = given * share[o];
          total += g[o];
        }
        total /= T(1) - damping;
        for (std::size_t o = 0; o < K; ++o) g[o] -= vexp(load<T>(next + own + o * lanes<T>)) * share[o] * total;
      }
      if (range[table] <= narrow<T>) {
        const Vec<T> most = largest<T>(K, from);
        for (std::size_t m = 0; m < K; ++m) from[m] = exp_nonpositive(from[m] - most);
        for (std::size_t o = 0; o < K; ++o) {
          Vec<T> x{};
          for (std::size_t m = 0; m < K; ++m) x += from[m] * load<T>(potential + entry(K, direction, m, o) * lanes<T>);
          g[o] *= inverse_or_zero<T>(x);
        }
        for (std::size_t m = 0; m < K; ++m) {
          Vec<T> sum{};
          for (std::size_t o = 0; o < K; ++o) {
            T* pair = pairs + entry(K, direction, m, o) * lanes<T>;
            const Vec<T> x = from[m] * load<T>(potential + entry(K, direction, m, o) * lanes<T>) * g[o];
            store<T>(pair, load<T>(pair) + x);
            sum += x;
          }
          store<T>(grad_cavity + own + m * lanes<T>, sum);
        }
        continue;
      }
      const Potentials<T> wide(potentials, index, block, square);
      send_wide(K, direction, wide, from, out);
      for (std::size_t m = 0; m < K; ++m) {
        Vec<T> sum{};
        for (std::size_t o = 0; o < K; ++o) {
          T* pair = pairs + entry(K, direction, m, o) * lanes<T>;
          const Vec<T> exponent = vmin<T>(from[m] + wide[entry(K, direction, m, o)] - out[o], Vec<T>{});
          const Vec<T> x = out[o] == -infinity<T> ? Vec<T>{} : exp_nonpositive(exponent) * g[o];
          store<T>(pair, load<T>(pair) + x);
          sum += x;
        }
        store<T>(grad_cavity + own + m * lanes<T>, sum);
      }
    }
  }
}

template <class T>
void step(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
          const T* range, const T* beliefs, const T* infinite, T damping, const T* messages, std::size_t first,
          std::size_t last, T* next) {
  const auto f = graph.states == 2   ? step_blocks<T, 2>
                 : graph.states == 3 ? step_blocks<T, 3>
                 : graph.states == 4 ? step_blocks<T, 4>
                                     : step_blocks<T, 0>;
  f(graph, potentials, index, exponentials, range, beliefs, infinite, damping, messages, first, last, next);
}

template <class T>
void step_backward(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
                   const T* range, const T* beliefs, const T* infinite, T damping, const T* messages, const T* next,
                   const T* grad_beliefs, const T* weights, std::size_t first, std::size_t last, T* grad_cavity,
                   T* carry, T* grad_pairs) {
  const auto f = graph.states == 2   ? step_backward_blocks<T, 2>
                 : graph.states == 3 ? step_backward_blocks<T, 3>
                 : graph.states == 4 ? step_backward_blocks<T, 4>
                                     : step_backward_blocks<T, 0>;
  f(graph, potentials, index, exponentials, range, beliefs, infinite, damping, messages, next, grad_beliefs, weights,
    first, last, grad_cavity, carry, grad_pairs);
}

template <class T>
void scatter(const PairwiseGraph& graph, const T* grad_cavity, std::size_t first, std::size_t last, T* grad_beliefs,
             T* grad_unary) {
  const std::size_t K = graph.states;
  for (std::size_t v = first; v < last; ++v) {
    T* out = grad_beliefs + v * K;
    for (std::size_t k = 0; k < K; ++k) out[k] = T(0);
    for (std::int64_t e = graph.offsets[v]; e < graph.offsets[v + 1]; ++e) {
      // What it sends is the other message of the factor.
      const T* sent = grad_cavity + place_of<T>(graph.incident[e] ^ 1, K);
      for (std::size_t k = 0; k < K; ++k) out[k] += sent[k * lanes<T>];
    }
    for (std::size_t k = 0; k < K; ++k) grad_unary[v * K + k] += out[k];
  }
}

template <class T>
constexpr PairwiseBeliefPropagationKernels<T> table() {
  PairwiseBeliefPropagationKernels<T> t{};
  t.lanes = lanes<T>;
  t.prepare = prepare<T>;
  t.start = start<T>;
  t.gather = gather<T>;
  t.step = step<T>;
  t.normalise = normalise<T>;
  t.normalise_backward = normalise_backward<T>;
  t.step_backward = step_backward<T>;
  t.scatter = scatter<T>;
  return t;
}

}  // namespace

template <>
const PairwiseBeliefPropagationKernels<float>& kernels() {
  static constexpr PairwiseBeliefPropagationKernels<float> t = table<float>();
  return t;
}
template <>
const PairwiseBeliefPropagationKernels<double>& kernels() {
  static constexpr PairwiseBeliefPropagationKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
