#pragma once

#include <tapestry/prob/kernels/pairwise_belief_propagation.hpp>
#include <tapestry/prob/kernels/vectors.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {

/// Elements of a block's messages.
template <class T>
constexpr std::size_t block_messages(std::size_t states) {
  return 2 * states * lanes<T>;
}

/// How many of a block's lanes are factors.
template <class T>
TAPESTRY_INLINE std::size_t used_lanes(const PairwiseGraph& graph, std::size_t block) {
  const std::size_t left = graph.factors - block * lanes<T>;
  return left < lanes<T> ? left : lanes<T>;
}

/// The block at whose place a block's exponentials are.
TAPESTRY_INLINE std::size_t table_of(const PairwiseGraph& graph, std::size_t block) {
  return graph.tables == nullptr ? block : static_cast<std::size_t>(graph.tables[block]);
}

/// Where the message of factor f to `second` (2 f) or `first` (2 f + 1) starts; its states are `lanes` apart.
template <class T>
TAPESTRY_INLINE std::size_t place_of(std::int64_t message, std::size_t states) {
  const std::size_t factor = static_cast<std::size_t>(message) / 2, direction = static_cast<std::size_t>(message) % 2;
  return (factor / lanes<T> * 2 + direction) * states * lanes<T> + factor % lanes<T>;
}

/// Where the entry from state m of the sender to state o of the receiver is in a potential.
TAPESTRY_INLINE std::size_t entry(std::size_t K, int direction, std::size_t m, std::size_t o) {
  return direction == 0 ? m * K + o : o * K + m;
}

/// Room for the vectors of one block's states: a fixed number of states keeps them in registers.
template <std::size_t fixed>
inline constexpr std::size_t room = fixed != 0 ? fixed : 64;

/// Every other element of a and b, from the first or the second on.
template <int from, class V>
TAPESTRY_INLINE V every_other(V a, V b) {
  constexpr std::size_t n = sizeof(V) / sizeof(a[0]);
  if constexpr (n == 16)
    return __builtin_shufflevector(a, b, from, from + 2, from + 4, from + 6, from + 8, from + 10, from + 12, from + 14,
                                   from + 16, from + 18, from + 20, from + 22, from + 24, from + 26, from + 28,
                                   from + 30);
  else if constexpr (n == 8)
    return __builtin_shufflevector(a, b, from, from + 2, from + 4, from + 6, from + 8, from + 10, from + 12, from + 14);
  else if constexpr (n == 4)
    return __builtin_shufflevector(a, b, from, from + 2, from + 4, from + 6);
  else
    return __builtin_shufflevector(a, b, from, from + 2);
}
/// The elements of a and b in turn, from element `from` on.
template <int from, class V>
TAPESTRY_INLINE V in_turn(V a, V b) {
  constexpr std::size_t n = sizeof(V) / sizeof(a[0]);
  if constexpr (n == 16)
    return __builtin_shufflevector(a, b, from, from + 16, from + 1, from + 17, from + 2, from + 18, from + 3, from + 19,
                                   from + 4, from + 20, from + 5, from + 21, from + 6, from + 22, from + 7, from + 23);
  else if constexpr (n == 8)
    return __builtin_shufflevector(a, b, from, from + 8, from + 1, from + 9, from + 2, from + 10, from + 3, from + 11);
  else if constexpr (n == 4)
    return __builtin_shufflevector(a, b, from, from + 4, from + 1, from + 5);
  else
    return __builtin_shufflevector(a, b, from, from + 2);
}

/// Whether the messages of that number of states lie as rows [lanes][states], which is fast to walk by variables,
/// because vectors are turned into columns [states][lanes] and back by a few shuffles.
template <std::size_t fixed>
inline constexpr bool in_rows = fixed == 2 || fixed == 4;

template <class T, std::size_t fixed, std::size_t n>
TAPESTRY_INLINE void load_states(const T* p, std::size_t states, Vec<T> (&out)[n]) {
  if constexpr (fixed == 2) {
    const Vec<T> a = load<T>(p), b = load<T>(p + lanes<T>);
    out[0] = every_other<0>(a, b);
    out[1] = every_other<1>(a, b);
  } else if constexpr (fixed == 4) {
    const Vec<T> a = load<T>(p), b = load<T>(p + lanes<T>), c = load<T>(p + 2 * lanes<T>),
                 d = load<T>(p + 3 * lanes<T>);
    const Vec<T> even_low = every_other<0>(a, b), even_high = every_other<0>(c, d);
    const Vec<T> odd_low = every_other<1>(a, b), odd_high = every_other<1>(c, d);
    out[0] = every_other<0>(even_low, even_high);
    out[2] = every_other<1>(even_low, even_high);
    out[1] = every_other<0>(odd_low, odd_high);
    out[3] = every_other<1>(odd_low, odd_high);
  } else {
    for (std::size_t k = 0; k < states; ++k) out[k] = load<T>(p + k * lanes<T>);
  }
}
template <class T, std::size_t fixed, std::size_t n>
TAPESTRY_INLINE void store_states(T* p, std::size_t states, const Vec<T> (&x)[n]) {
  constexpr int half = lanes<T> / 2;
  if constexpr (fixed == 2) {
    store<T>(p, in_turn<0>(x[0], x[1]));
    store<T>(p + lanes<T>, in_turn<half>(x[0], x[1]));
  } else if constexpr (fixed == 4) {
    const Vec<T> even_low = in_turn<0>(x[0], x[2]), even_high = in_turn<half>(x[0], x[2]);
    const Vec<T> odd_low = in_turn<0>(x[1], x[3]), odd_high = in_turn<half>(x[1], x[3]);
    store<T>(p, in_turn<0>(even_low, odd_low));
    store<T>(p + lanes<T>, in_turn<half>(even_low, odd_low));
    store<T>(p + 2 * lanes<T>, in_turn<0>(even_high, odd_high));
    store<T>(p + 3 * lanes<T>, in_turn<half>(even_high, odd_high));
  } else {
    for (std::size_t k = 0; k < states; ++k) store<T>(p + k * lanes<T>, x[k]);
  }
}

/// Up to what range of a block's potentials products are in probabilities.
template <class T>
inline constexpr T narrow = sizeof(T) == 4 ? T(30) : T(330);

/// The factors of a block; lanes behind the last one repeat the block's first.
template <class T>
struct Block {
  std::size_t factor[lanes<T>];
  std::size_t variable[2][lanes<T>];  ///< first, second
  Block(const PairwiseGraph& graph, std::size_t block) {
    for (std::size_t v = 0; v < lanes<T>; ++v) {
      const std::size_t f = block * lanes<T> + v < graph.factors ? block * lanes<T> + v : block * lanes<T>;
      factor[v] = f;
      variable[0][v] = static_cast<std::size_t>(graph.first[f]);
      variable[1][v] = static_cast<std::size_t>(graph.second[f]);
    }
  }
};

template <class T>
TAPESTRY_INLINE Vec<T> gathered(const T* p, const std::size_t (&index)[lanes<T>], std::size_t stride) {
  T buffer[lanes<T>];
  for (std::size_t v = 0; v < lanes<T>; ++v) buffer[v] = p[index[v] * stride];
  return load<T>(buffer);
}

/// Log-potentials of a block as given.
template <class T>
struct Potentials {
  const T* base;
  std::size_t place[lanes<T>];
  Potentials(const T* potentials, const std::int64_t* index, const Block<T>& block, std::size_t square)
      : base(potentials) {
    for (std::size_t v = 0; v < lanes<T>; ++v)
      place[v] = (index == nullptr ? block.factor[v] : static_cast<std::size_t>(index[block.factor[v]])) * square;
  }
  Vec<T> operator[](std::size_t n) const { return gathered(base + n, place, 1); }
};

/// The sender's belief without what the receiver sent.
template <class T, std::size_t n>
TAPESTRY_INLINE void cavity(std::size_t K, const Block<T>& block, int direction, const T* beliefs, const T* infinite,
                            const T* messages, Vec<T> (&out)[n]) {
  const T* reverse = messages + static_cast<std::size_t>(1 - direction) * K * lanes<T>;
  for (std::size_t k = 0; k < K; ++k) {
    const Vec<T> m = load<T>(reverse + k * lanes<T>);
    const Vec<T> belief = gathered(beliefs + k, block.variable[direction], K);
    if (infinite == nullptr) {
      out[k] = belief - m;
    } else {
      const Vec<T> count = gathered(infinite + k, block.variable[direction], K);
      const auto impossible = m == -infinity<T>;
      const Vec<T> others = impossible ? count - T(1) : count;
      out[k] = others > T(0) ? splat<T>(-infinity<T>) : impossible ? belief : belief - m;
    }
  }
}

template <class T, std::size_t n>
TAPESTRY_INLINE Vec<T> largest(std::size_t K, const Vec<T> (&x)[n]) {
  Vec<T> most = splat<T>(-infinity<T>);
  for (std::size_t k = 0; k < K; ++k) most = vmax<T>(x[k], most);
  return most == -infinity<T> ? Vec<T>{} : most;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
