#pragma once

#include <tapestry/prob/kernels/pairwise_parts.hpp>

// Messages in blocks, walked by variables: where they are, and what a variable with few factors does with them where
// they lie as rows. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

/// Where a message starts, and how far its states are apart.
template <class T, std::size_t fixed>
TAPESTRY_INLINE std::size_t start_of(std::int64_t message, std::size_t states) {
  if constexpr (!in_rows<fixed>) return place_of<T>(message, states);
  const std::size_t factor = static_cast<std::size_t>(message) / 2, direction = static_cast<std::size_t>(message) % 2;
  return ((factor / lanes<T> * 2 + direction) * lanes<T> + factor % lanes<T>)*fixed;
}
template <class T, std::size_t fixed>
inline constexpr std::size_t apart = in_rows<fixed> ? 1 : lanes<T>;

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

/// Asks for messages that will be read some variables later, of as many factors as a variable of a grid has: four
/// variables in a row mostly share lines of the cache.
template <class T, std::size_t fixed>
TAPESTRY_INLINE void prefetch_rows(const PairwiseGraph& graph, std::size_t variable, const T* messages) {
  constexpr std::size_t ahead = 256, degree = 4;
  const std::size_t first = static_cast<std::size_t>(graph.offsets[variable]) + ahead;
  if (first + degree > 2 * graph.factors) return;
  for (std::size_t e = first; e < first + degree; ++e)
    __builtin_prefetch(messages + start_of<T, fixed>(graph.incident[e], fixed));
}

/// From where a message is to where the one in the other direction is.
template <class T, std::size_t fixed>
inline constexpr std::size_t other_direction = lanes<T>* fixed;

/// Where the cavity goes that the message back to the sender is made from.
template <class T, std::size_t fixed>
TAPESTRY_INLINE std::size_t cavity_place(std::int64_t message, std::size_t start, std::size_t K,
                                         const std::int32_t* slots) {
  const std::size_t place = in_rows<fixed> ? start ^ other_direction<T, fixed> : start_of<T, fixed>(message ^ 1, K);
  if (slots == nullptr) return place;
  const std::int64_t block = message / static_cast<std::int64_t>(2 * lanes<T>);
  return place + static_cast<std::size_t>((slots[block] - block) * static_cast<std::int64_t>(block_messages<T>(K)));
}

/// cavities_of() for a variable of few factors whose messages are rows.
template <class T, std::size_t fixed, std::size_t degree>
TAPESTRY_INLINE void row_cavities(const std::int64_t* incident, const T* unary, const T* messages,
                                  const std::int32_t* slots, T* cavities) {
  Row<T, fixed> message[degree], before[degree];
  std::size_t start[degree];
  before[0] = load_row<T, fixed>(unary);
  for (std::size_t e = 0; e < degree; ++e) {
    start[e] = start_of<T, fixed>(incident[e], fixed);
    message[e] = load_row<T, fixed>(messages + start[e]);
    if (e + 1 < degree) before[e + 1] = before[e] * message[e];
  }
  const auto place = [&](std::size_t e)
                         TAPESTRY_ALWAYS_INLINE { return cavity_place<T, fixed>(incident[e], start[e], fixed, slots); };
  Row<T, fixed> behind = message[degree - 1];
  store_row<T, fixed>(cavities + place(degree - 1), before[degree - 1]);
  for (std::size_t e = degree - 1; e-- > 0;) {
    store_row<T, fixed>(cavities + place(e), before[e] * behind);
    behind *= message[e];
  }
}

/// spread_to() for a variable of few factors whose messages are rows.
template <class T, std::size_t fixed, std::size_t degree>
TAPESTRY_INLINE void spread_rows(const std::int64_t* incident, const T* grad_cavities, T* grad_messages,
                                 T* grad_unary) {
  Row<T, fixed> sent[degree], total{};
  std::size_t start[degree];
  for (std::size_t e = 0; e < degree; ++e) {
    start[e] = start_of<T, fixed>(incident[e], fixed);
    sent[e] = load_row<T, fixed>(grad_cavities + (start[e] ^ other_direction<T, fixed>));
    total += sent[e];
  }
  store_row<T, fixed>(grad_unary, load_row<T, fixed>(grad_unary) + total);
  for (std::size_t e = 0; e < degree; ++e) store_row<T, fixed>(grad_messages + start[e], total - sent[e]);
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
