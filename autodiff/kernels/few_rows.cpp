#include <tapestry/autodiff/kernels/few_rows.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;

// Rows whose sums are held in registers.
constexpr int most_rows = vector_bytes == 64 ? 8 : 4;
// Rows of b that are passed at once.
constexpr Int depth = 512;

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
                          std::size_t n) {
  Vec<T> sum[R][V] = {};
  if (accumulate)
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < V; ++v) sum[r][v] = load_first<T, whole>(c + r * ldc + v * Int(lanes<T>), n);
  for (Int p = 0; p < k; ++p) {
    const T* from = b + p * ldb;
    Vec<T> x[V];
    for (int v = 0; v < V; ++v) x[v] = load_first<T, whole>(from + v * Int(lanes<T>), n);
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

/// Calls f with n, from 1 to N, as a constant.
template <int N, class F>
TAPESTRY_INLINE void with_constant(Int n, F f) {
  if (n == N) return f.template operator()<N>();
  if constexpr (N > 1) with_constant<N - 1>(n, f);
}

/// R rows with V vectors of columns at a time, then two, then one.
template <class T, int R, int V>
TAPESTRY_INLINE void all_columns(Int n, Int k, const T* a, Int row, Int column, const T* b, Int ldb, bool accumulate,
                                 T* c, Int ldc) {
  constexpr Int one = lanes<T>;
  const auto columns = [=]<int U, bool whole>(Int j, Int count) TAPESTRY_ALWAYS_INLINE {
    tile<T, R, U, whole>(k, a, row, column, b + j, ldb, accumulate, c + j, ldc, static_cast<std::size_t>(count));
  };
  Int j = 0;
  // Two pairs are faster than three vectors and a single one.
  if constexpr (V > 2)
    for (; j + V * one <= n && (V != 3 || n - j != 4 * one); j += V * one)
      columns.template operator()<V, true>(j, V * one);
  for (; j + 2 * one <= n; j += 2 * one) columns.template operator()<2, true>(j, 2 * one);
  for (; j < n; j += one) columns.template operator()<1, false>(j, n - j < one ? n - j : one);
}

/// Vectors of columns whose sums for R rows are in registers: as many as there is room for beside b's and a's.
constexpr int columns_of(int rows) {
  if (vector_bytes < 64) return rows < 3 ? 4 : rows < 4 ? 3 : 2;
  return rows < 3 ? 8 : rows == 4 ? 6 : rows < 7 ? 4 : 3;
}

/// Calls f with the number of rows as a constant, for the fewest groups of at most N rows, of nearly one size.
template <int N, class F>
TAPESTRY_INLINE void for_groups(Int m, F f) {
  const Int groups = (m + N - 1) / N;
  for (Int group = 0; group < groups; ++group) {
    const Int i = m * group / groups, count = m * (group + 1) / groups - i;
    with_constant<N>(count, [&]<int R>() TAPESTRY_ALWAYS_INLINE { f.template operator()<R>(i); });
  }
}

template <class T>
void product(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  // Each group passes these rows of b, which the first one brings into the second cache.
  for (Int p = 0; p < k; p += depth)
    for_groups<most_rows>(m, [=]<int R>(Int i) {
      all_columns<T, R, columns_of(R)>(n, k - p < depth ? k - p : depth, a + i * lda + p, lda, 1, b + p * ldb, ldb,
                                       accumulate || p > 0, c + i * ldc, ldc);
    });
}

template <class T>
void outer(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  for_row_groups(
      m, [&]<int R>(Int i) { all_columns<T, R, 2>(n, k, a + i, 1, lda, b, ldb, accumulate, c + i * ldc, ldc); });
}

/// The sums of N vectors' elements.
template <class T, int N>
TAPESTRY_INLINE void horizontal_sums(const Vec<T>* v, T* sums) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4 && N > 4) {
    // Pairs are added until the elements of one vector are the sums.
    Vec<float> fours[8];
    Vec<double> pairs[4];
    for (int i = 0; i < 8; ++i) {
      const Vec<float> x = 2 * i < N ? v[2 * i] : Vec<float>{}, y = 2 * i + 1 < N ? v[2 * i + 1] : Vec<float>{};
      fours[i] = __builtin_shufflevector(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) +
                 __builtin_shufflevector(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
    }
    for (int i = 0; i < 4; ++i) {
      const auto x = (Vec<double>)fours[2 * i], y = (Vec<double>)fours[2 * i + 1];
      pairs[i] = (Vec<double>)((Vec<float>)__builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14) +
                               (Vec<float>)__builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15));
    }
    const auto halves = [](Vec<double> x, Vec<double> y) TAPESTRY_ALWAYS_INLINE {
      return (Vec<double>)((Vec<float>)__builtin_shufflevector(x, y, 0, 1, 4, 5, 8, 9, 12, 13) +
                           (Vec<float>)__builtin_shufflevector(x, y, 2, 3, 6, 7, 10, 11, 14, 15));
    };
    store_partial<float>(sums, (Vec<float>)halves(halves(pairs[0], pairs[1]), halves(pairs[2], pairs[3])), N);
    return;
  }
#endif
  for (int i = 0; i < N; ++i) sums[i] = horizontal_sum<T>(v[i]);
}

/// R rows of a with S rows of b.
template <class T, int R, int S>
TAPESTRY_INLINE void dot_tile(Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  Vec<T> sum[R * S] = {};
  const auto add = [&]<bool whole>(Int p, std::size_t count) TAPESTRY_ALWAYS_INLINE {
    Vec<T> y[S];
    for (int s = 0; s < S; ++s) y[s] = load_first<T, whole>(b + s * ldb + p, count);
    for (int r = 0; r < R; ++r) {
      const Vec<T> x = load_first<T, whole>(a + r * lda + p, count);
      for (int s = 0; s < S; ++s) sum[r * S + s] += x * y[s];
    }
  };
  Int p = 0;
  for (; p + Int(lanes<T>) <= k; p += lanes<T>) add.template operator()<true>(p, lanes<T>);
  if (p < k) add.template operator()<false>(p, static_cast<std::size_t>(k - p));
  T total[R * S];
  horizontal_sums<T, R * S>(sum, total);
  for (int r = 0; r < R; ++r)
    for (int s = 0; s < S; ++s) {
      T& out = c[r * ldc + s];
      out = accumulate ? out + total[r * S + s] : total[r * S + s];
    }
}

/// S rows of b at a time, with groups of at most N rows of a.
template <class T, int N, int S>
void dot_rows(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  const auto with_rows_of_b = [=]<int of_b>(Int j) TAPESTRY_ALWAYS_INLINE {
    for_groups<N>(m, [=]<int R>(Int i) TAPESTRY_ALWAYS_INLINE {
      dot_tile<T, R, of_b>(k, a + i * lda, lda, b + j * ldb, ldb, accumulate, c + i * ldc + j, ldc);
    });
  };
  Int j = 0;
  for (; j + S <= n; j += S) with_rows_of_b.template operator()<S>(j);
  for (; j < n; ++j) with_rows_of_b.template operator()<1>(j);
}

template <class T>
void product_transposed(Int m, Int n, Int k, const T* a, Int lda, const T* b, Int ldb, bool accumulate, T* c, Int ldc) {
  constexpr int rows_of_b = vector_bytes == 64 ? 4 : 2;
  for (Int p = 0; p < k; p += depth) {
    const auto run = m > 2 ? dot_rows<T, 4, rows_of_b> : dot_rows<T, 2, 2 * rows_of_b>;
    run(m, n, k - p < depth ? k - p : depth, a + p, lda, b + p, ldb, accumulate || p > 0, c, ldc);
  }
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
