#include <tapestry/autodiff/kernels/few_rows.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;

// Rows whose sums are held in registers, of two vectors each.
constexpr int most_rows = vector_bytes == 64 ? 8 : 4;
// Rows of b that stay in the second cache while all columns of c are passed; the next ones are fetched meanwhile.
constexpr Int depth = 32;

// The vector's elements that count are the first n.
template <class T, bool whole>
TAPESTRY_INLINE Vec<T> load_first(const T* p, std::size_t n) {
  if constexpr (whole) {
    return load<T>(p);
  } else {
    return load_partial<T>(p, n);
  }
}
template <class T, bool whole>
TAPESTRY_INLINE void store_first(T* p, Vec<T> v, std::size_t n) {
  if constexpr (whole)
    store<T>(p, v);
  else
    store_partial<T>(p, v, n);
}

// splat() adds to 0, which takes a register; this is one load.
template <class T>
TAPESTRY_INLINE Vec<T> broadcast(T x) {
  return x - Vec<T>{};
}

/// R rows and V vectors of columns of c: c (+)= a b, where a's element (r, p) is a[r * row + p * column].
template <class T, int R, int V, bool whole>
TAPESTRY_INLINE void tile(Int k, const T* a, Int row, Int column, const T* b, Int ldb, bool accumulate, T* c, Int ldc,
                          std::size_t n, Int ahead) {
  Vec<T> sum[R][V] = {};
  if (accumulate)
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] = load_first<T, whole>(c + r * ldc + v * Int(lanes<T>), n);
  for (Int p = 0; p < k; ++p) {
    const T* from = b + p * ldb;
    Vec<T> x[V];
    for (int v = 0; v < V; ++v) {
      x[v] = load_first<T, whole>(from + v * Int(lanes<T>), n);
      if (ahead != 0) __builtin_prefetch(from + ahead + v * Int(lanes<T>), 0, 2);
    }
    for (int r = 0; r < R; ++r) {
      const Vec<T> factor = broadcast<T>(a[r * row + p * column]);
      for (int v = 0; v < V; ++v) sum[r][v] += factor * x[v];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store_first<T, whole>(c + r * ldc + v * Int(lanes<T>), sum[r][v], n);
}

/// Calls f with the number of rows as a constant, for groups of rows that make m.
template <class F, int R = most_rows>
TAPESTRY_INLINE void for_row_groups(Int m, F f) {
  Int i = 0;
  for (; i + R <= m; i += R) f.template operator()<R>(i);
  if constexpr (R > 1) {
    if (i + R / 2 <= m) f.template operator()<R / 2>(i), i += R / 2;
    if constexpr (R > 2) {
      if (i + R / 4 <= m) f.template operator()<R / 4>(i), i += R / 4;
      if constexpr (R > 4)
        if (i < m) f.template operator()<1>(i);
    }
  }
}

template <class T>
TAPESTRY_INLINE void all_columns(Int m, Int n, Int k, const T* a, Int row, Int column, const T* b, Int ldb,
                                 bool accumulate, T* c, Int ldc, Int ahead) {
  constexpr Int one = lanes<T>, two = 2 * one;
  Int j = 0;
  for (; j + two <= n; j += two)
    for_row_groups(m, [&]<int R>(Int i) TAPESTRY_ALWAYS_INLINE {
      tile<T, R, 2, true>(k, a + i * row, row, column, b + j, ldb, accumulate, c + i * ldc + j, ldc, two,
                          i == 0 ? ahead : 0);
    });
  for (; j < n; j += one) {
    const auto rest = static_cast<std::size_t>(n - j < one ? n - j : one);
    for_row_groups(m, [&]<int R>(Int i) TAPESTRY_ALWAYS_INLINE {
      tile<T, R, 1, false>(k, a + i * row, row, column, b + j, ldb, accumulate, c + i * ldc + j, ldc, rest, 0);
    });
  }
}

template <class T>
void product(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  for (Int p = 0; p < k; p += depth) {
    const Int rows = k - p < depth ? k - p : depth;
    all_columns<T>(m, n, rows, a + p, lda, 1, b + p * ldb, ldb, accumulate || p > 0, c, ldc,
                   p + depth < k ? depth * ldb : 0);
  }
}

template <class T>
void outer(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  for_row_groups(
      m, [&]<int R>(Int i) { all_columns<T>(R, n, k, a + i, 1, lda, b, ldb, accumulate, c + i * ldc, ldc, 0); });
}

/// R rows of a with one or two rows of b.
template <class T, int R, int S>
TAPESTRY_INLINE void dot_tile(Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  Vec<T> sum[R][S] = {};
  const auto add = [&]<bool whole>(Int p, std::size_t count) TAPESTRY_ALWAYS_INLINE {
    Vec<T> y[S];
    for (int s = 0; s < S; ++s) y[s] = load_first<T, whole>(b + s * ldb + p, count);
    for (int r = 0; r < R; ++r) {
      const Vec<T> x = load_first<T, whole>(a + r * lda + p, count);
      for (int s = 0; s < S; ++s) sum[r][s] += x * y[s];
    }
  };
  Int p = 0;
  for (; p + Int(lanes<T>) <= k; p += lanes<T>) add.template operator()<true>(p, lanes<T>);
  if (p < k) add.template operator()<false>(p, static_cast<std::size_t>(k - p));
  for (int r = 0; r < R; ++r)
    for (int s = 0; s < S; ++s) {
      const T total = horizontal_sum<T>(sum[r][s]);
      T& out = c[r * ldc + s];
      out = accumulate ? out + total : total;
    }
}

template <class T>
void product_transposed(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  Int j = 0;
  for (; j + 2 <= n; j += 2)
    for_row_groups(m, [&]<int R>(Int i) TAPESTRY_ALWAYS_INLINE {
      dot_tile<T, R, 2>(k, a + i * lda, lda, b + j * ldb, ldb, accumulate, c + i * ldc + j, ldc);
    });
  if (j < n)
    for_row_groups(m, [&]<int R>(Int i) TAPESTRY_ALWAYS_INLINE {
      dot_tile<T, R, 1>(k, a + i * lda, lda, b + j * ldb, ldb, accumulate, c + i * ldc + j, ldc);
    });
}

template <class T>
constexpr FewRowsKernels<T> table{product<T>, product_transposed<T>, outer<T>};

}  // namespace

template <>
const FewRowsKernels<float>& kernels() {
  return table<float>;
}
template <>
const FewRowsKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
