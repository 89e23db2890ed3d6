#include <tapestry/autodiff/lapack.hpp>

#include <lapack.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/openblas.hpp>
#include <tapestry/autodiff/pool.hpp>

namespace tapestry::detail {
namespace {

using Int = std::int64_t;

lapack_int to_int(Int n) {
  if (n > std::numeric_limits<lapack_int>::max()) fail<ShapeError>("lapack", "an extent of ", n, " is too large");
  return static_cast<lapack_int>(n);
}
lapack_int leading(Int ld, Int rows) {
  return to_int(std::max({ld, rows, Int{1}}));
}

template <class T>
class Workspace {
 public:
  explicit Workspace(Int n)
      : bytes_(static_cast<std::size_t>(std::max<Int>(n, 1)) * sizeof(T)),
        data_(static_cast<T*>(pool_allocate(bytes_))) {}
  ~Workspace() { pool_deallocate(data_, bytes_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  T* data() { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

// The function of LAPACK for T.
#define TAPESTRY_LAPACK(name, ...)          \
  do {                                      \
    if constexpr (std::is_same_v<T, float>) \
      LAPACK_s##name(__VA_ARGS__);          \
    else                                    \
      LAPACK_d##name(__VA_ARGS__);          \
  } while (false)

// Calls f(workspace, size, info) with the size that a first call with size -1 asks for.
template <class T, class F>
int with_workspace(F&& f) {
  blas_report();
  lapack_int info = 0, size = -1;
  T wanted = 0;
  f(&wanted, &size, &info);
  if (info != 0) return info;
  // In float the size may have been rounded down.
  size = static_cast<lapack_int>(wanted * (1 + 2 * std::numeric_limits<T>::epsilon())) + 1;
  Workspace<T> work(size);
  f(work.data(), &size, &info);
  return info;
}

}  // namespace

template <class T>
int potrf(Int n, T* a, Int lda) {
  if (n <= 0) return 0;
  blas_report();
  const char triangle = 'U';
  const lapack_int order = to_int(n), ld = leading(lda, n);
  lapack_int info = 0;
  TAPESTRY_LAPACK(potrf, &triangle, &order, a, &ld, &info);
  return info;
}

template <class T>
int potri(Int n, T* l, Int lda) {
  if (n <= 0) return 0;
  blas_report();
  const char triangle = 'U';
  const lapack_int order = to_int(n), ld = leading(lda, n);
  lapack_int info = 0;
  TAPESTRY_LAPACK(potri, &triangle, &order, l, &ld, &info);
  return info;
}

template <class T>
int trtri(bool lower, Int n, T* a, Int lda) {
  if (n <= 0) return 0;
  blas_report();
  const char triangle = lower ? 'U' : 'L', diagonal = 'N';
  const lapack_int order = to_int(n), ld = leading(lda, n);
  lapack_int info = 0;
  TAPESTRY_LAPACK(trtri, &triangle, &diagonal, &order, a, &ld, &info);
  return info;
}

template <class T>
int getrf(Int n, T* a, Int lda, int* pivots) {
  if (n <= 0) return 0;
  blas_report();
  const lapack_int order = to_int(n), ld = leading(lda, n);
  lapack_int info = 0;
  TAPESTRY_LAPACK(getrf, &order, &order, a, &ld, pivots, &info);
  return info;
}

template <class T>
int getrs(bool trans, Int n, Int columns, const T* lu, Int lda, const int* pivots, T* b, Int ldb) {
  if (n <= 0 || columns <= 0) return 0;
  blas_report();
  // The factors are those of the transposed matrix.
  const char op = trans ? 'N' : 'T';
  const lapack_int order = to_int(n), count = to_int(columns), ld = leading(lda, n);
  lapack_int info = 0;
  if (columns == 1 && ldb == 1) {
    TAPESTRY_LAPACK(getrs, &op, &order, &count, lu, &ld, pivots, b, &order, &info);
    return info;
  }
  Workspace<T> transposed(n * columns);
  T* x = transposed.data();
  for (Int i = 0; i < n; ++i)
    for (Int j = 0; j < columns; ++j) x[j * n + i] = b[i * ldb + j];
  TAPESTRY_LAPACK(getrs, &op, &order, &count, lu, &ld, pivots, x, &order, &info);
  for (Int i = 0; i < n; ++i)
    for (Int j = 0; j < columns; ++j) b[i * ldb + j] = x[j * n + i];
  return info;
}

template <class T>
int getri(Int n, T* lu, Int lda, const int* pivots) {
  if (n <= 0) return 0;
  const lapack_int order = to_int(n), ld = leading(lda, n);
  return with_workspace<T>([&](T* work, lapack_int* size, lapack_int* info) {
    TAPESTRY_LAPACK(getri, &order, lu, &ld, pivots, work, size, info);
  });
}

template <class T>
int syevd(Int n, T* a, Int lda, T* values) {
  if (n <= 0) return 0;
  blas_report();
  const char job = 'V', triangle = 'U';
  const lapack_int order = to_int(n), ld = leading(lda, n);
  lapack_int info = 0, size = -1, integer_size = -1, integers = 0;
  T wanted = 0;
  TAPESTRY_LAPACK(syevd, &job, &triangle, &order, a, &ld, values, &wanted, &size, &integers, &integer_size, &info);
  if (info != 0) return info;
  size = static_cast<lapack_int>(wanted * (1 + 2 * std::numeric_limits<T>::epsilon())) + 1;
  integer_size = integers;
  Workspace<T> work(size);
  Workspace<lapack_int> integer_work(integer_size);
  TAPESTRY_LAPACK(syevd, &job, &triangle, &order, a, &ld, values, work.data(), &size, integer_work.data(),
                  &integer_size, &info);
  for (Int i = 0; i < n; ++i)
    for (Int j = 0; j < i; ++j) std::swap(a[i * lda + j], a[j * lda + i]);
  return info;
}

template <class T>
int gesdd(bool full, Int m, Int n, T* a, Int lda, T* s, T* u, Int ldu, T* vt, Int ldvt) {
  if (m <= 0 || n <= 0) {
    if (full) {
      for (Int i = 0; i < m; ++i)
        for (Int j = 0; j < m; ++j) u[i * ldu + j] = T(i == j);
      for (Int i = 0; i < n; ++i)
        for (Int j = 0; j < n; ++j) vt[i * ldvt + j] = T(i == j);
    }
    return 0;
  }
  // a^T = v diag(s) u^T: what LAPACK calls u is our vt, column by column, and the other way round.
  const char job = full ? 'A' : 'S';
  const Int k = std::min(m, n);
  const lapack_int rows = to_int(n), columns = to_int(m), ld_a = leading(lda, n);
  const lapack_int ld_u = leading(ldu, full ? m : k), ld_v = leading(ldvt, n);
  Workspace<lapack_int> integers(8 * k);
  return with_workspace<T>([&](T* work, lapack_int* size, lapack_int* info) {
    TAPESTRY_LAPACK(gesdd, &job, &rows, &columns, a, &ld_a, s, vt, &ld_v, u, &ld_u, work, size, integers.data(), info);
  });
}

template <class T>
int geqrf(Int m, Int n, T* a, Int lda, T* tau) {
  if (m <= 0 || n <= 0) return 0;
  // The LQ factors of the transposed matrix.
  const lapack_int rows = to_int(n), columns = to_int(m), ld = leading(lda, n);
  return with_workspace<T>([&](T* work, lapack_int* size, lapack_int* info) {
    TAPESTRY_LAPACK(gelqf, &rows, &columns, a, &ld, tau, work, size, info);
  });
}

template <class T>
int orgqr(Int m, Int n, Int k, T* a, Int lda, const T* tau) {
  if (m <= 0 || n <= 0) return 0;
  const lapack_int rows = to_int(n), columns = to_int(m), reflections = to_int(k), ld = leading(lda, n);
  return with_workspace<T>([&](T* work, lapack_int* size, lapack_int* info) {
    if constexpr (std::is_same_v<T, float>)
      LAPACK_sorglq(&rows, &columns, &reflections, a, &ld, tau, work, size, info);
    else
      LAPACK_dorglq(&rows, &columns, &reflections, a, &ld, tau, work, size, info);
  });
}

#undef TAPESTRY_LAPACK

#define TAPESTRY_INSTANTIATE(T)                                           \
  template int potrf(Int, T*, Int);                                       \
  template int potri(Int, T*, Int);                                       \
  template int trtri(bool, Int, T*, Int);                                 \
  template int getrf(Int, T*, Int, int*);                                 \
  template int getrs(bool, Int, Int, const T*, Int, const int*, T*, Int); \
  template int getri(Int, T*, Int, const int*);                           \
  template int syevd(Int, T*, Int, T*);                                   \
  template int gesdd(bool, Int, Int, T*, Int, T*, T*, Int, T*, Int);      \
  template int geqrf(Int, Int, T*, Int, T*);                              \
  template int orgqr(Int, Int, Int, T*, Int, const T*);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
