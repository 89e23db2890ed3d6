#include <tapestry/autodiff/few_rows.hpp>

#include <algorithm>
#include <bit>
#include <type_traits>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/kernels/few_rows.hpp>
#include <tapestry/autodiff/onednn.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

constexpr Int fewest_rows = 1, most_rows = 16;
// Extents of the large factor from which on its size counts.
constexpr Int least_extent = 64;
// Multiplications that a thread takes at once, where that does not make more chunks than this: narrow ones are read
// slowly.
constexpr Int chunk_work = 1 << 20, most_chunks = 16;

// Elements of a factor that is too large for the second cache by far.
constexpr Int large = 1 << 21;

template <class T>
const FewRowsKernels<T>& table() {
  return kernels<FewRowsKernels<T>>();
}

/// How many of n equal pieces make a chunk: whole vectors of them, for a power of two of chunks.
Int grain(Int n, Int work_of_one) {
  const Int pieces = std::min((n * work_of_one + chunk_work - 1) / chunk_work, most_chunks);
  const auto chunks = static_cast<Int>(std::bit_ceil(static_cast<std::uint64_t>(pieces)));
  constexpr Int step = 32;
  return std::max<Int>(step, (n + chunks * step - 1) / (chunks * step) * step);
}

}  // namespace

bool few_rows_win(Int m, Int n, Int k) {
  return m >= fewest_rows && m <= most_rows && k >= least_extent && n > 1 && n * k >= least_extent * least_extent;
}

template <class T>
void few_rows_product(Int m, Int n, Int k, const T* a, const T* b, T* c) {
  // oneDNN reads whole rows, which the third cache and main memory give faster than pieces of rows; three rows leave
  // registers empty here.
  if (std::is_same_v<T, float> && (n * k >= large || m == 3) && onednn_wins(m, n, k))
    return gemm(false, false, m, n, k, T(1), a, k, b, n, T(0), c, n);
  parallel_for(n, grain(n, m * k), [&](Int begin, Int end) {
    table<T>().product(m, end - begin, k, a, k, b + begin, n, false, c + begin, n);
  });
}

template <class T>
bool few_rows_transposed_wins(Int m, Int n, Int k) {
  // The sums of short rows take longer to finish than to compute. Rows are taken by fours.
  return k >= least_extent && !(std::is_same_v<T, float> && (m < 4 || m == 5) && m > 1 && onednn_wins(m, n, k));
}

template <class T>
void few_rows_transposed_part(Int m, Int n, Int k, const T* a, const T* b, bool accumulate, T* c, Int begin, Int end) {
  table<T>().product_transposed(m, end - begin, k, a, k, b + begin * k, k, accumulate, c + begin, n);
}

template <class T>
void few_rows_transposed(Int m, Int n, Int k, const T* a, const T* b, bool accumulate, T* c) {
  if (!few_rows_transposed_wins<T>(m, n, k))
    return gemm(false, true, m, n, k, T(1), a, k, b, k, accumulate ? T(1) : T(0), c, n);
  parallel_for(n, grain(n, m * k),
               [&](Int begin, Int end) { few_rows_transposed_part(m, n, k, a, b, accumulate, c, begin, end); });
}

template <class T>
void few_rows_outer_part(Int m, Int n, Int k, const T* a, const T* b, bool accumulate, T* c, Int begin, Int end) {
  table<T>().outer(end - begin, n, k, a + begin, m, b, n, accumulate, c, n);
}

template <class T>
void few_rows_outer(Int m, Int n, Int k, const T* a, const T* b, bool accumulate, T* c) {
  parallel_for(m, grain(m, n * k),
               [&](Int begin, Int end) { few_rows_outer_part(m, n, k, a, b, accumulate, c + begin * n, begin, end); });
}

#define TAPESTRY_INSTANTIATE(T)                                                                  \
  template void few_rows_product(Int, Int, Int, const T*, const T*, T*);                         \
  template bool few_rows_transposed_wins<T>(Int, Int, Int);                                      \
  template void few_rows_transposed_part(Int, Int, Int, const T*, const T*, bool, T*, Int, Int); \
  template void few_rows_transposed(Int, Int, Int, const T*, const T*, bool, T*);                \
  template void few_rows_outer_part(Int, Int, Int, const T*, const T*, bool, T*, Int, Int);      \
  template void few_rows_outer(Int, Int, Int, const T*, const T*, bool, T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
