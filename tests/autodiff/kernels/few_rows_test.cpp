#include <tapestry/autodiff/kernels/few_rows.hpp>

#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;

namespace {

template <class T>
std::vector<T> values(std::size_t n, std::mt19937_64& random) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> x(n);
  for (T& e : x) e = T(uniform(random));
  return x;
}

// c (+)= a b with a's element (i, p) at a[i * row + p * column], b's (p, j) at b[p * ldb + j * step].
template <class T>
std::vector<double> reference(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t row,
                              std::int64_t column, const T* b, std::int64_t ldb, std::int64_t step, bool accumulate,
                              const std::vector<T>& c, std::int64_t ldc) {
  std::vector<double> out(c.begin(), c.end());
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = accumulate ? double(c[i * ldc + j]) : 0;
      for (std::int64_t p = 0; p < k; ++p) sum += double(a[i * row + p * column]) * double(b[p * ldb + j * step]);
      out[i * ldc + j] = sum;
    }
  return out;
}

template <class T>
double furthest(const std::vector<T>& x, const std::vector<double>& y) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(double(x[i]) - y[i]));
  return worst;
}

}  // namespace

TEST_CASE_TEMPLATE("few rows: the three products agree with sums, and touch nothing else", T, float, double) {
  std::mt19937_64 random(1);
  for (const auto& isa : tables<FewRowsKernels<T>>())
    for (const std::int64_t m : {1, 2, 3, 5, 7, 8, 11, 15, 16, 17})
      for (const auto& sizes :
           {std::pair<std::int64_t, std::int64_t>{1, 1}, {10, 33}, {37, 70}, {64, 3}, {49, 21}, {100, 18}, {5, 1030}})
        for (const bool accumulate : {false, true}) {
          const std::int64_t n = sizes.first, k = sizes.second;
          INFO(isa.name, " ", m, " x ", n, " x ", k, accumulate ? " added" : "");
          const double tolerance = 4 * double(k) * double(std::numeric_limits<T>::epsilon());
          const std::int64_t gap = 3;
          const auto a = values<T>(std::size_t(m * (k + gap)), random),
                     b = values<T>(std::size_t(k * (n + gap)), random);
          const auto before = values<T>(std::size_t(m * (n + gap)), random);
          auto c = before;
          isa.table->product(m, n, k, a.data(), k + gap, b.data(), n + gap, accumulate, c.data(), n + gap);
          CHECK(furthest(c, reference(m, n, k, a.data(), k + gap, 1, b.data(), n + gap, 1, accumulate, before,
                                      n + gap)) < tolerance);

          const auto rows = values<T>(std::size_t(n * (k + gap)), random);
          c = before;
          isa.table->product_transposed(m, n, k, a.data(), k + gap, rows.data(), k + gap, accumulate, c.data(),
                                        n + gap);
          CHECK(furthest(c, reference(m, n, k, a.data(), k + gap, 1, rows.data(), 1, k + gap, accumulate, before,
                                      n + gap)) < tolerance);

          // The few rows are k of this one, which is long.
          const auto x = values<T>(std::size_t(m * (k + gap)), random),
                     g = values<T>(std::size_t(m * (n + gap)), random);
          const auto long_before = values<T>(std::size_t(k * (n + gap)), random);
          c = long_before;
          isa.table->outer(k, n, m, x.data(), k + gap, g.data(), n + gap, accumulate, c.data(), n + gap);
          CHECK(furthest(c, reference(k, n, m, x.data(), 1, k + gap, g.data(), n + gap, 1, accumulate, long_before,
                                      n + gap)) < 4 * double(m) * double(std::numeric_limits<T>::epsilon()));
        }
}
