#include <tapestry/autodiff/lapack.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

using namespace tapestry;
using std::int64_t;

namespace {

std::size_t at(int64_t i) {
  return static_cast<std::size_t>(i);
}

// rows x columns elements with one element between rows, so that a wrong leading dimension shows.
template <class T>
struct Matrix {
  Matrix(int64_t m, int64_t n) : rows(m), columns(n), ld(n + 1), values(at(m * (n + 1)), T(99)) {}
  static Matrix random(int64_t m, int64_t n, unsigned seed) {
    Matrix a(m, n);
    std::mt19937 generator(seed);
    std::normal_distribution<T> normal;
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) a(i, j) = normal(generator);
    return a;
  }
  T& operator()(int64_t i, int64_t j) { return values[at(i * ld + j)]; }
  const T& operator()(int64_t i, int64_t j) const { return values[at(i * ld + j)]; }
  bool padding_kept() const {
    for (int64_t i = 0; i < rows; ++i)
      if ((*this)(i, columns) != T(99)) return false;
    return true;
  }
  Matrix transposed() const {
    Matrix out(columns, rows);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) out(j, i) = (*this)(i, j);
    return out;
  }

  int64_t rows, columns, ld;
  std::vector<T> values;
};

template <class T>
Matrix<T> operator*(const Matrix<T>& a, const Matrix<T>& b) {
  Matrix<T> c(a.rows, b.columns);
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < b.columns; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < a.columns; ++p) sum += static_cast<double>(a(i, p)) * b(p, j);
      c(i, j) = static_cast<T>(sum);
    }
  return c;
}

template <class T>
double distance(const Matrix<T>& a, const Matrix<T>& b) {
  double worst = 0;
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j) {
      const double difference = std::abs(static_cast<double>(a(i, j)) - b(i, j));
      worst = difference <= worst ? worst : difference;
    }
  return worst;
}

template <class T>
Matrix<T> identity(int64_t n) {
  Matrix<T> a(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) a(i, j) = T(i == j);
  return a;
}

template <class T>
Matrix<T> positive_definite(int64_t n, unsigned seed) {
  const Matrix<T> x = Matrix<T>::random(n, n, seed);
  Matrix<T> a = x * x.transposed();
  for (int64_t i = 0; i < n; ++i) a(i, i) += T(n);
  return a;
}

template <class T>
double tolerance(int64_t n) {
  return 50.0 * static_cast<double>(n * n + 1) * std::numeric_limits<T>::epsilon();
}

}  // namespace

TEST_CASE_TEMPLATE("lapack: Cholesky and the inverse from it", T, float, double) {
  for (const int64_t n : {0, 1, 2, 7, 40}) {
    const Matrix<T> a = positive_definite<T>(n, 1);
    Matrix<T> l = a;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) l(i, j) = std::numeric_limits<T>::quiet_NaN();
    CHECK(detail::potrf(n, l.values.data(), l.ld) == 0);
    CHECK(l.padding_kept());
    Matrix<T> factor = l;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) {
        CHECK(std::isnan(l(i, j)));
        factor(i, j) = 0;
      }
    CHECK(distance(factor * factor.transposed(), a) < tolerance<T>(n));
    Matrix<T> inverse_factor = factor;
    CHECK(detail::trtri(true, n, inverse_factor.values.data(), inverse_factor.ld) == 0);
    CHECK(distance(factor * inverse_factor, identity<T>(n)) < tolerance<T>(n));
    CHECK(detail::potri(n, l.values.data(), l.ld) == 0);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) l(i, j) = l(j, i);
    CHECK(distance(a * l, identity<T>(n)) < tolerance<T>(n));
  }
  Matrix<T> indefinite = positive_definite<T>(5, 2);
  indefinite(2, 2) = -1;
  CHECK(detail::potrf<T>(5, indefinite.values.data(), indefinite.ld) == 3);
}

TEST_CASE_TEMPLATE("lapack: LU factors solve, invert and give the determinant", T, float, double) {
  for (const int64_t n : {0, 1, 2, 3, 30}) {
    Matrix<T> a = Matrix<T>::random(n, n, 3);
    for (int64_t i = 0; i < n; ++i) a(i, (i + 1) % n) += T(2 * n);  // far from diagonal: it pivots
    Matrix<T> lu = a;
    std::vector<int> pivots(at(n));
    CHECK(detail::getrf(n, lu.values.data(), lu.ld, pivots.data()) == 0);
    CHECK(lu.padding_kept());
    for (const bool trans : {false, true})
      for (const int64_t columns : {0, 1, 4}) {
        const Matrix<T> b = Matrix<T>::random(n, columns, 4);
        Matrix<T> x = b;
        CHECK(detail::getrs(trans, n, columns, lu.values.data(), lu.ld, pivots.data(), x.values.data(), x.ld) == 0);
        CHECK(x.padding_kept());
        CHECK(distance((trans ? a.transposed() : a) * x, b) < tolerance<T>(n));
      }
    Matrix<T> inverse = lu;
    CHECK(detail::getri(n, inverse.values.data(), inverse.ld, pivots.data()) == 0);
    CHECK(inverse.padding_kept());
    CHECK(distance(a * inverse, identity<T>(n)) < tolerance<T>(n));
    if (n == 3) {
      double determinant = 1;
      for (int64_t i = 0; i < n; ++i) determinant *= (pivots[at(i)] == i + 1 ? 1.0 : -1.0) * lu(i, i);
      const double expected = a(0, 0) * (a(1, 1) * a(2, 2) - a(1, 2) * a(2, 1)) -
                              a(0, 1) * (a(1, 0) * a(2, 2) - a(1, 2) * a(2, 0)) +
                              a(0, 2) * (a(1, 0) * a(2, 1) - a(1, 1) * a(2, 0));
      CHECK(determinant == doctest::Approx(expected).epsilon(tolerance<T>(n)));
    }
  }
  std::vector<T> singular{1, 2, 2, 4}, vector{3, 4};
  std::vector<int> pivots(2);
  CHECK(detail::getrf<T>(2, singular.data(), 2, pivots.data()) == 2);
  std::vector<T> square{2, 1, 1, 3};
  CHECK(detail::getrf<T>(2, square.data(), 2, pivots.data()) == 0);
  CHECK(detail::getrs<T>(false, 2, 1, square.data(), 2, pivots.data(), vector.data(), 1) == 0);
  CHECK(vector[0] == doctest::Approx(1));
  CHECK(vector[1] == doctest::Approx(1));
}

TEST_CASE_TEMPLATE("lapack: eigenvalues and eigenvectors of symmetric matrices", T, float, double) {
  for (const int64_t n : {0, 1, 2, 25}) {
    Matrix<T> a = Matrix<T>::random(n, n, 5);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < i; ++j) a(j, i) = a(i, j);
    Matrix<T> vectors = a;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) vectors(i, j) = std::numeric_limits<T>::quiet_NaN();
    std::vector<T> values(at(n));
    CHECK(detail::syevd(n, vectors.values.data(), vectors.ld, values.data()) == 0);
    CHECK(vectors.padding_kept());
    CHECK(std::is_sorted(values.begin(), values.end()));
    Matrix<T> scaled = vectors;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) scaled(i, j) *= values[at(j)];
    CHECK(distance(a * vectors, scaled) < tolerance<T>(n));
    CHECK(distance(vectors.transposed() * vectors, identity<T>(n)) < tolerance<T>(n));
  }
}

TEST_CASE_TEMPLATE("lapack: singular values, thin and full", T, float, double) {
  for (const int64_t m : {0, 1, 5, 20})
    for (const int64_t n : {0, 1, 8, 20})
      for (const bool full : {false, true}) {
        const Matrix<T> a = Matrix<T>::random(m, n, 6);
        const int64_t k = std::min(m, n);
        Matrix<T> copy = a, u(m, full ? m : k), vt(full ? n : k, n);
        std::vector<T> s(at(k));
        CHECK(detail::gesdd(full, m, n, copy.values.data(), copy.ld, s.data(), u.values.data(), u.ld, vt.values.data(),
                            vt.ld) == 0);
        CHECK(u.padding_kept());
        CHECK(vt.padding_kept());
        CHECK(std::is_sorted(s.rbegin(), s.rend()));
        Matrix<T> us(m, k), right(k, n);
        for (int64_t j = 0; j < k; ++j) {
          for (int64_t i = 0; i < m; ++i) us(i, j) = u(i, j) * s[at(j)];
          for (int64_t i = 0; i < n; ++i) right(j, i) = vt(j, i);
        }
        CHECK(distance(us * right, a) < tolerance<T>(20));
        CHECK(distance(u.transposed() * u, identity<T>(u.columns)) < tolerance<T>(20));
        CHECK(distance(vt * vt.transposed(), identity<T>(vt.rows)) < tolerance<T>(20));
      }
}

TEST_CASE_TEMPLATE("lapack: QR of tall, square and wide matrices", T, float, double) {
  for (const int64_t m : {0, 1, 6, 21})
    for (const int64_t n : {0, 1, 6, 15, 30}) {
      const Matrix<T> a = Matrix<T>::random(m, n, 7);
      const int64_t k = std::min(m, n);
      Matrix<T> factors = a, q(m, k), r(k, n);
      std::vector<T> tau(at(k));
      CHECK(detail::geqrf(m, n, factors.values.data(), factors.ld, tau.data()) == 0);
      CHECK(factors.padding_kept());
      for (int64_t i = 0; i < k; ++i)
        for (int64_t j = 0; j < n; ++j) r(i, j) = j < i ? T(0) : factors(i, j);
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < k; ++j) q(i, j) = factors(i, j);
      CHECK(detail::orgqr(m, k, k, q.values.data(), q.ld, tau.data()) == 0);
      CHECK(q.padding_kept());
      CHECK(distance(q * r, a) < tolerance<T>(20));
      CHECK(distance(q.transposed() * q, identity<T>(k)) < tolerance<T>(20));
    }
}
