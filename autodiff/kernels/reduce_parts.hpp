#pragma once

#include <tapestry/autodiff/kernels/elementwise_loops.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>

// Shared by the files behind ReduceKernels. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

template <class T>
void enter_sums(ReduceKernels<T>& t);
template <class T>
void enter_extrema(ReduceKernels<T>& t);
template <class T>
void enter_softmax(ReduceKernels<T>& t);
template <class T>
void enter_scans(ReduceKernels<T>& t);

/// Calls body(o, i, m, width): for each outer index, tiles of U vectors of the inner axis from i on, m elements wide.
template <class T, int U, class Body>
TAPESTRY_INLINE void for_tiles(AxisView v, Body body) {
  for (std::size_t o = 0; o < v.outer; ++o)
    for_packs<T, U>(v.inner,
                    [=](std::size_t i, std::size_t m, auto width) TAPESTRY_ALWAYS_INLINE { body(o, i, m, width); });
}

/// Adds terms pairwise: what was added in blocks of equal size is merged as in a binary counter.
template <class P>
struct PairwiseTotal {
  P levels[48];
  std::size_t blocks = 0;
  TAPESTRY_INLINE void add(PairwiseTotal& t, P block) {
    int level = 0;
    for (std::size_t n = t.blocks; n & 1; n >>= 1) block = t.levels[level++] + block;
    t.levels[level] = block;
    ++t.blocks;
  }
  TAPESTRY_INLINE P total(const PairwiseTotal& t, P rest) {
    int level = 0;
    for (std::size_t n = t.blocks; n != 0; n >>= 1, ++level)
      if (n & 1) rest = t.levels[level] + rest;
    return rest;
  }
};

/// x - largest, 0 where both are the same infinity.
template <class P>
TAPESTRY_INLINE P below(const P& x, const P& largest) {
  return select(x == largest, 0, x - largest);
}

/// The largest element of a row; a NaN may or may not be passed over.
template <class T>
TAPESTRY_INLINE T largest_of_row(const T* x, std::size_t n) {
  Pack<T, 4> s = splat_pack<T, 4>(-infinity<T>);
  std::size_t i = 0;
  for (; i + s.size <= n; i += s.size) s = select(s > load_pack<T, 4>(x + i), s, load_pack<T, 4>(x + i));
  Vec<T> one = vmax<T>(vmax<T>(s.v[0], s.v[1]), vmax<T>(s.v[2], s.v[3]));
  for (; i < n; i += lanes<T>) one = vmax<T>(one, load_partial<T>(x + i, n - i, -infinity<T>));
  return horizontal_max<T>(one);
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
