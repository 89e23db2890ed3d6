#include <tapestry/autodiff/blas.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/openblas.hpp>
#include <tapestry/autodiff/threads.hpp>

using namespace tapestry;
using std::int64_t;

namespace {

template <class T>
std::vector<T> random_values(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<T> normal;
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& x : values) x = normal(generator);
  return values;
}

template <class T>
struct Case {
  bool trans_a, trans_b;
  int64_t m, n, k, pad;
  T alpha, beta;

  int64_t lda() const { return (trans_a ? m : k) + pad; }
  int64_t ldb() const { return (trans_b ? k : n) + pad; }
  int64_t ldc() const { return n + pad; }
  int64_t size_a() const { return (trans_a ? k : m) * lda(); }
  int64_t size_b() const { return (trans_b ? n : k) * ldb(); }
  int64_t size_c() const { return m * ldc(); }
};

// The largest error in units of the bound (k + 3) eps (|alpha| |a| |b| + |beta c|); elements between rows must be kept.
template <class T>
double error(const Case<T>& s, const T* a, const T* b, const std::vector<T>& before, const std::vector<T>& after) {
  double worst = 0;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      const auto at = static_cast<std::size_t>(i * s.ldc() + j);
      double sum = 0, size = 0;
      for (int64_t p = 0; p < s.k; ++p) {
        const double x = a[s.trans_a ? p * s.lda() + i : i * s.lda() + p];
        const double y = b[s.trans_b ? j * s.ldb() + p : p * s.ldb() + j];
        sum += x * y;
        size += std::abs(x * y);
      }
      double expected = s.alpha * sum, bound = std::abs(s.alpha) * size;
      if (s.beta != 0) {
        expected += s.beta * before[at];
        bound += std::abs(s.beta * before[at]);
      }
      bound *= static_cast<double>(s.k + 3) * std::numeric_limits<T>::epsilon();
      const double difference = std::abs(after[at] - expected);
      if (!(difference <= bound)) worst = std::max(worst, bound > 0 ? difference / bound : 1e30);
      if (std::isnan(difference)) worst = 1e30;
    }
    for (int64_t j = s.n; j < s.ldc(); ++j) {
      const auto at = static_cast<std::size_t>(i * s.ldc() + j);
      if (std::memcmp(&before[at], &after[at], sizeof(T)) != 0) worst = 1e30;
    }
  }
  return worst;
}

template <class T>
double run(const Case<T>& s) {
  const auto a = random_values<T>(s.size_a(), 1), b = random_values<T>(s.size_b(), 2);
  auto before = random_values<T>(s.size_c(), 3);
  if (s.beta == 0) std::fill(before.begin(), before.end(), std::numeric_limits<T>::quiet_NaN());
  auto after = before;
  detail::gemm(s.trans_a, s.trans_b, s.m, s.n, s.k, s.alpha, a.data(), s.lda(), b.data(), s.ldb(), s.beta, after.data(),
               s.ldc());
  return error(s, a.data(), b.data(), before, after);
}

struct Extents {
  int64_t m, n, k;
};

struct Threads {
  explicit Threads(int count) : before(threads()) { set_threads(count); }
  ~Threads() { set_threads(before); }
  int before;
};

}  // namespace

TEST_CASE_TEMPLATE("gemm: all shapes, transposes, leading dimensions and factors agree with the sum", T, float,
                   double) {
  int64_t wrong = 0;
  for (const int64_t m : {0, 1, 3, 4, 8, 17, 33})
    for (const int64_t n : {0, 1, 2, 3, 4, 8, 9, 16, 17})
      for (const int64_t k : {0, 1, 4, 23, 64, 65})
        for (int flags = 0; flags < 8; ++flags)
          for (const auto& [alpha, beta] : {std::pair<T, T>{1, 0}, {T(-0.5), 1}, {2, T(0.25)}, {0, 0}, {0, T(0.5)}}) {
            const Case<T> s{(flags & 1) != 0, (flags & 2) != 0, m, n, k, flags & 4 ? 3 : 0, alpha, beta};
            if (run(s) != 0 && ++wrong < 5)
              FAIL_CHECK("m " << m << " n " << n << " k " << k << " flags " << flags << " alpha " << alpha << " beta "
                              << beta);
          }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("gemm: products that are split, or are oneDNN's where it is there", T, float, double) {
  for (const Extents& extents : {Extents{8, 512, 300}, {33, 257, 129}, {128, 130, 140}, {300, 65, 64}, {256, 128, 100}})
    for (int flags = 0; flags < 8; ++flags)
      for (const T beta : {T(0), T(0.5)}) {
        const int64_t m = extents.m, n = extents.n, k = extents.k;
        INFO(m << " x " << n << " x " << k << " flags " << flags);
        CHECK(run(Case<T>{(flags & 1) != 0, (flags & 2) != 0, m, n, k, flags & 4 ? 3 : 0, T(-1.5), beta}) == 0);
      }
}

TEST_CASE_TEMPLATE("gemm: factors that share memory (A A^T, A times a view of A)", T, float, double) {
  for (const int64_t n : {4, 12, 50, 200}) {
    const auto a = random_values<T>(n * n, 4);
    // A A^T; A A; A times its first two columns; A^T times its first two columns: all with one base pointer.
    struct Product {
      bool trans_a, trans_b;
      int64_t columns;
    };
    for (const auto& [trans_a, trans_b, columns] :
         {Product{false, true, n}, {false, false, n}, {false, false, 2}, {true, false, 2}}) {
      std::vector<T> c(static_cast<std::size_t>(n * columns), T(7)), expected(c.size(), T(7));
      detail::gemm(trans_a, trans_b, n, columns, n, T(1), a.data(), n, a.data(), n, T(0), c.data(), columns);
      const std::vector<T> copy = a;
      detail::gemm(trans_a, trans_b, n, columns, n, T(1), a.data(), n, copy.data(), n, T(0), expected.data(), columns);
      CHECK(c == expected);
      double worst = 0;
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < columns; ++j) {
          double sum = 0, size = 0;
          for (int64_t p = 0; p < n; ++p) {
            const double term = static_cast<double>(a[static_cast<std::size_t>(trans_a ? p * n + i : i * n + p)]) *
                                a[static_cast<std::size_t>(trans_b ? j * n + p : p * n + j)];
            sum += term;
            size += std::abs(term);
          }
          worst = std::max(worst, std::abs(sum - c[static_cast<std::size_t>(i * columns + j)]) / size);
        }
      CHECK(worst <= static_cast<double>(n + 3) * std::numeric_limits<T>::epsilon());
    }
  }
}

TEST_CASE_TEMPLATE("gemm: the same bits for any number of threads, on every core", T, float, double) {
  std::vector<std::string> cores{detail::blas_core()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) cores.push_back("Haswell");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) cores.push_back("SkylakeX");
#endif
  const std::string original = detail::blas_core();
  for (const std::string& core : cores) {
    if (core != original && !detail::switch_blas_core(core)) continue;
    for (const Extents& extents : {Extents{128, 512, 99},
                                   {32, 509, 331},
                                   {787, 130, 32},
                                   {201, 203, 97},
                                   {1000, 67, 70},
                                   {3, 5000, 211},
                                   {1, 1001, 701},
                                   {1001, 1, 701}})
      for (int flags = 0; flags < 4; ++flags) {
        const int64_t m = extents.m, n = extents.n, k = extents.k;
        const Case<T> s{(flags & 1) != 0, (flags & 2) != 0, m, n, k, flags == 3 ? 5 : 0, T(1), flags & 1 ? T(1) : T(0)};
        const auto a = random_values<T>(s.size_a(), 5), b = random_values<T>(s.size_b(), 6);
        const std::vector<T> before(static_cast<std::size_t>(s.size_c()), T(0.5));
        std::vector<T> one;
        for (const int count : {1, 2}) {
          const Threads scope(count);
          std::vector<T> c = before;
          detail::gemm(s.trans_a, s.trans_b, m, n, k, s.alpha, a.data(), s.lda(), b.data(), s.ldb(), s.beta, c.data(),
                       s.ldc());
          if (count == 1) {
            one = c;
          } else {
            INFO(core << " " << m << " x " << n << " x " << k << " flags " << flags << " threads " << count);
            CHECK(std::memcmp(c.data(), one.data(), c.size() * sizeof(T)) == 0);
          }
          if (core == original && flags == 3 && count == 2) CHECK(error(s, a.data(), b.data(), before, c) == 0);
        }
      }
  }
  if (detail::blas_core() != original) CHECK(detail::switch_blas_core(original));
}

TEST_CASE_TEMPLATE("gemm_batched_strided: agrees with one product an item", T, float, double) {
  for (const int count : {1, 2}) {
    const Threads scope(count);
    for (const int64_t batch : {0, 1, 3, 64})
      for (const auto& [m, n, k] : {Extents{4, 4, 4}, {3, 5, 7}, {20, 30, 10}, {1, 9, 40}, {2, 2, 0}, {16, 1, 16}})
        for (int flags = 0; flags < 16; ++flags) {
          const Case<T> s{(flags & 1) != 0, (flags & 2) != 0, m, n, k, 0, T(1.5), flags & 1 ? T(0.5) : T(0)};
          const int64_t stride_a = flags & 4 ? 0 : s.size_a(), stride_b = flags & 8 ? 0 : s.size_b();
          const auto a = random_values<T>(s.size_a() * std::max<int64_t>(batch, 1), 7);
          const auto b = random_values<T>(s.size_b() * std::max<int64_t>(batch, 1), 8);
          const std::vector<T> before = s.beta == 0 ? std::vector<T>(static_cast<std::size_t>(s.size_c() * batch),
                                                                     std::numeric_limits<T>::quiet_NaN())
                                                    : random_values<T>(s.size_c() * batch, 9);
          std::vector<T> c = before;
          detail::gemm_batched_strided(s.trans_a, s.trans_b, batch, m, n, k, s.alpha, a.data(), s.lda(), stride_a,
                                       b.data(), s.ldb(), stride_b, s.beta, c.data(), s.ldc(), s.size_c());
          for (int64_t item = 0; item < batch; ++item) {
            const auto slice = [&](const std::vector<T>& all) {
              return std::vector<T>(all.begin() + item * s.size_c(), all.begin() + (item + 1) * s.size_c());
            };
            CHECK(error(s, a.data() + item * stride_a, b.data() + item * stride_b, slice(before), slice(c)) == 0);
          }
        }
  }
}

TEST_CASE_TEMPLATE("gemv, ger, dot: agree with the sums, with strides", T, float, double) {
  const int64_t m = 37, n = 23, lda = 25, incx = 3, incy = 2;
  const auto a = random_values<T>(m * lda, 10), x = random_values<T>(incx * m, 11), y = random_values<T>(incy * m, 12);
  const auto at = [](int64_t i) { return static_cast<std::size_t>(i); };
  const double tolerance = 200 * std::numeric_limits<T>::epsilon();
  for (const bool trans : {false, true})
    for (const T beta : {T(0), T(1), T(0.5)}) {
      const int64_t length = trans ? n : m, depth = trans ? m : n;
      std::vector<T> out = y;
      if (beta == 0) std::fill(out.begin(), out.end(), std::numeric_limits<T>::quiet_NaN());
      detail::gemv(trans, m, n, T(2), a.data(), lda, x.data(), incx, beta, out.data(), incy);
      for (int64_t i = 0; i < length; ++i) {
        double sum = beta == 0 ? 0 : beta * y[at(i * incy)];
        for (int64_t p = 0; p < depth; ++p) sum += 2.0 * a[at(trans ? p * lda + i : i * lda + p)] * x[at(p * incx)];
        CHECK(std::abs(out[at(i * incy)] - sum) < tolerance);
      }
    }
  std::vector<T> outer = a;
  detail::ger(m, n, T(0.5), x.data(), incx, y.data(), incy, outer.data(), lda);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < lda; ++j) {
      const double expected = a[at(i * lda + j)] + (j < n ? 0.5 * x[at(i * incx)] * y[at(j * incy)] : 0.0);
      CHECK(std::abs(outer[at(i * lda + j)] - expected) < tolerance);
    }
  double sum = 0;
  for (int64_t i = 0; i < m; ++i) sum += static_cast<double>(x[at(i * incx)]) * y[at(i * incy)];
  CHECK(std::abs(detail::dot(m, x.data(), incx, y.data(), incy) - sum) < tolerance);
  CHECK(detail::dot<T>(0, nullptr, 1, nullptr, 1) == 0);
}

TEST_CASE_TEMPLATE("trsm, syrk: every side, triangle and transpose, without reading the other triangle", T, float,
                   double) {
  const auto at = [](int64_t i) { return static_cast<std::size_t>(i); };
  const int64_t m = 9, n = 13;
  for (int flags = 0; flags < 16; ++flags) {
    const bool right = flags & 1, lower = flags & 2, trans = flags & 4, unit = flags & 8;
    const int64_t size = right ? n : m, lda = size + 1;
    auto a = random_values<T>(size * lda, 13);
    std::vector<double> triangle(at(size * size), 0.0);
    for (int64_t i = 0; i < size; ++i)
      for (int64_t j = 0; j < lda; ++j) {
        T& value = a[at(i * lda + j)];
        value *= T(0.2);
        if (j == i) value = unit ? std::numeric_limits<T>::quiet_NaN() : T(2) + value;
        if (j >= size || (lower ? j > i : j < i)) value = std::numeric_limits<T>::quiet_NaN();
        if (j < size && (lower ? j <= i : j >= i))
          triangle[at(trans ? j * size + i : i * size + j)] = i == j && unit ? 1.0 : static_cast<double>(value);
      }
    const auto b = random_values<T>(m * n, 14);
    std::vector<T> x = b;
    detail::trsm(right, lower, trans, unit, m, n, T(0.5), a.data(), lda, x.data(), n);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < size; ++p)
          sum += right ? x[at(i * n + p)] * triangle[at(p * n + j)] : triangle[at(i * m + p)] * x[at(p * n + j)];
        CHECK(std::abs(sum - 0.5 * b[at(i * n + j)]) < 100 * std::numeric_limits<T>::epsilon());
      }
  }
  for (const bool lower : {false, true})
    for (const bool trans : {false, true})
      for (const int64_t k : {0, 6}) {
        const int64_t order = 7, lda = trans ? order : k;
        const auto a = random_values<T>(order * std::max<int64_t>(k, 1), 15);
        std::vector<T> c(at(order * order), std::numeric_limits<T>::quiet_NaN());
        detail::syrk(lower, trans, order, k, T(2), a.data(), lda, T(0), c.data(), order);
        for (int64_t i = 0; i < order; ++i)
          for (int64_t j = 0; j < order; ++j) {
            const bool kept = lower ? j > i : j < i;
            double sum = 0;
            for (int64_t p = 0; p < k; ++p)
              sum += 2.0 * a[at(trans ? p * lda + i : i * lda + p)] * a[at(trans ? p * lda + j : j * lda + p)];
            if (kept)
              CHECK(std::isnan(c[at(i * order + j)]));
            else
              CHECK(std::abs(c[at(i * order + j)] - sum) < 100 * std::numeric_limits<T>::epsilon());
          }
      }
}

TEST_CASE("gemm: extents beyond the BLAS' integers are refused") {
  const float a = 0;
  float c = 0;
  CHECK_THROWS_WITH_AS(detail::gemm(false, false, int64_t{1} << 32, 1, 1, 1.0f, &a, 1, &a, 1, 0.0f, &c, 1),
                       doctest::Contains("gemm: an extent or stride exceeds"), ShapeError);
}
