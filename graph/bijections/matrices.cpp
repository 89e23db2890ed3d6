#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/cholesky.hpp>
#include <tapestry/autodiff/ops/cumulative.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/graph/bijections.hpp>
#include <tapestry/graph/bijections/checks.hpp>
#include <tapestry/graph/bijections/last_axis.hpp>

namespace tapestry::bijections {
namespace {

/// The lower triangle of n x n matrices, row by row, with the diagonal or without.
struct Triangle {
  bool with_diagonal;

  std::int64_t count(std::int64_t n) const { return n * (n + (with_diagonal ? 1 : -1)) / 2; }

  /// n for a vector of a triangle's elements. @throws ShapeError
  std::int64_t rows(const std::string& operation, const Shape& packed) const {
    detail::check_vector(operation, packed);
    std::int64_t n = with_diagonal ? 0 : 1;
    while (count(n) < packed.back()) ++n;
    if (count(n) != packed.back())
      fail<ShapeError>(operation, "the last extent of ", packed, " is no n (n ", with_diagonal ? '+' : '-', " 1) / 2");
    return n;
  }

  Shape matrix_shape(const std::string& operation, const Shape& packed) const {
    const std::int64_t n = rows(operation, packed);
    Shape out = packed;
    out[out.rank() - 1] = n;
    out.push_back(n);
    return out;
  }
  Shape packed_shape(const std::string& operation, const Shape& matrix) const {
    const std::int64_t n = detail::square_batch(operation, matrix).rows;
    if (n == 0 && !with_diagonal) fail<ShapeError>(operation, "a matrix of shape ", matrix);
    Shape out = matrix;
    out.erase(out.rank() - 1);
    out[out.rank() - 1] = count(n);
    return out;
  }

  /// The matrix of a triangle's elements, zero elsewhere.
  template <class T>
  Var<T> unpack(const std::string& operation, const Var<T>& packed) const {
    const std::int64_t n = rows(operation, packed.shape());
    IndexTensor from = empty_tensor<std::int64_t>({n * n});
    std::int64_t k = 0;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        from.data()[i * n + j] = j < i || (with_diagonal && j == i) ? k++ : packed.shape().back();
    const Var<T> elements = take(detail::zero_after(packed), Indices(std::move(from)), -1);
    return reshape(elements, matrix_shape(operation, packed.shape()));
  }

  template <class T>
  Var<T> pack(const std::string& operation, const Var<T>& matrix) const {
    const Shape packed = packed_shape(operation, matrix.shape());
    const std::int64_t n = matrix.shape().back();
    IndexTensor from = empty_tensor<std::int64_t>({packed.back()});
    std::int64_t k = 0;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < i + (with_diagonal ? 1 : 0); ++j) from.data()[k++] = i * n + j;
    Shape flat = packed;
    flat[flat.rank() - 1] = n * n;
    return take(reshape(matrix, flat), Indices(std::move(from)), -1);
  }
};

template <class T>
Var<T> times_transposed(const Var<T>& l) {
  return matmul(l, l, {.transpose_b = true});
}

/// first, first - 1, ..., first - n + 1
template <class T>
Var<T> falling(std::int64_t n, std::int64_t first) {
  Tensor<T> out = empty_tensor<T>({n});
  for (std::int64_t i = 0; i < n; ++i) out.data()[i] = static_cast<T>(first - i);
  return Var<T>(std::move(out));
}

/// @throws NumericalError unless the matrices are lower triangular with a positive diagonal
template <class T>
void check_factor(const std::string& operation, const Var<T>& y) {
  const std::int64_t n = detail::square_batch(operation, y.shape()).rows;
  const T* const values = y.data();
  for (std::int64_t k = 0; k < y.size(); ++k) {
    const std::int64_t i = k / n % n, j = k % n;
    if (!std::isfinite(values[k]) || (j > i ? values[k] != 0 : j == i && !(values[k] > 0)))
      fail<NumericalError>(operation, "element ", k, ", ", values[k], ", is not that of a Cholesky factor");
  }
}

/// @throws NumericalError unless the matrices are symmetric
template <class T>
void check_symmetric(const std::string& operation, const Var<T>& y) {
  const std::int64_t n = detail::square_batch(operation, y.shape()).rows;
  const double tolerance = std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
  const T* const values = y.data();
  for (std::int64_t k = 0; k < y.size(); ++k) {
    const std::int64_t i = k / n % n, j = k % n;
    const double a = static_cast<double>(values[k]), b = static_cast<double>(values[k + (j - i) * (n - 1)]);
    if (!(std::fabs(a - b) <= tolerance * std::max(1.0, std::fabs(a))))
      fail<NumericalError>(operation, "elements ", k, " and ", k + (j - i) * (n - 1), ", ", a, " and ", b,
                           ", of a symmetric matrix");
  }
}

struct Factor {
  bool product;  ///< L L^T in place of L
  static constexpr Triangle triangle{true};

  std::string name() const { return product ? "covariance" : "cholesky_factor"; }
  Shape constrained_shape(const Shape& x) const { return triangle.matrix_shape(name(), x); }
  Shape unconstrained_shape(const Shape& y) const { return triangle.packed_shape(name(), y); }

  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    const Var<T> z = triangle.unpack(name(), x), logs = diagonal(z);
    const Var<T> l = tril(z, -1) + diag_embed(exp(logs));
    if (!product) {
      if (log_det) *log_det = sum(logs, {-1});
      return l;
    }
    // |d(L L^T) / dL| is 2^n times the product of L_jj^(n - j + 1), and dL_jj = L_jj dx_jj.
    if (log_det) {
      const std::int64_t n = l.shape().back();
      *log_det = sum(logs * falling<T>(n, n + 1), {-1}) + static_cast<T>(static_cast<double>(n) * std::numbers::ln2);
    }
    return times_transposed(l);
  }

  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    product ? check_symmetric(name(), y) : check_factor(name(), y);
    const Var<T> l = product ? cholesky(y) : y;
    return triangle.pack(name(), tril(l, -1) + diag_embed(log(diagonal(l))));
  }
};

struct Correlation {
  bool product;
  static constexpr Triangle triangle{false};

  std::string name() const { return product ? "correlation" : "cholesky_correlation"; }
  Shape constrained_shape(const Shape& x) const { return triangle.matrix_shape(name(), x); }
  Shape unconstrained_shape(const Shape& y) const { return triangle.packed_shape(name(), y); }

  template <class T>
  Var<T> forward(const Var<T>& x, Var<T>* log_det) const {
    const Var<T> z = triangle.unpack(name(), x);
    const std::int64_t n = z.shape().back();
    // log sqrt(1 - tanh(z)^2), 0 where z is; and the logarithm of the norm that is left before each column.
    const Var<T> shrink = tril(static_cast<T>(std::numbers::ln2) - z - softplus(z * T(-2)), -1);
    const Var<T> left = cumsum(shrink, -1) - shrink;
    const Var<T> l = (tanh(z) + detail::identity<T>(n)) * exp(left);
    // dL_ij = (1 - tanh^2) left_ij dx_ij, and |d(L L^T) / dL| is the product of L_jj^(n - j).
    if (log_det) {
      *log_det = sum(tril(shrink * T(2) + left, -1), {-2, -1});
      if (product) *log_det = *log_det + sum(diagonal(left) * falling<T>(n, n - 1), {-1});
    }
    return product ? times_transposed(l) : l;
  }

  template <class T>
  Var<T> inverse(const Var<T>& y) const {
    product ? check_symmetric(name(), y) : check_factor(name(), y);
    const Var<T> l = product ? cholesky(y) : y;
    check_rows(l);
    const Var<T> from_here = cumsum(square(l), -1, true);
    const Var<T> after = slice(detail::zero_after(from_here), -1, {1, l.shape().back() + 1});
    const Var<T> rest = triangle.pack(name(), from_here), z = triangle.pack(name(), l) / sqrt(rest);
    // atanh(z), with 1 - z^2 as the share of what is left before a column that is left after it.
    const Var<T> half = T(0.5) * (log(triangle.pack(name(), after)) - log(rest));
    const Var<T> zero(T(0));
    return where(greater_equal(z, zero), log1p(z) - half, half - log1p(-z));
  }

 private:
  template <class T>
  void check_rows(const Var<T>& l) const {
    const std::int64_t n = l.shape().back();
    const double tolerance = std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
    for (std::int64_t k = 0; k < l.size(); k += n) {
      double norm = 0;
      for (std::int64_t j = k; j < k + n; ++j)
        norm += static_cast<double>(l.data()[j]) * static_cast<double>(l.data()[j]);
      if (!(std::fabs(norm - 1) <= tolerance))
        fail<NumericalError>(name(), "row ", k / n, " has a variance of ", norm, ", not 1");
    }
  }
};

}  // namespace

Bijection cholesky_factor() {
  return Factor{false};
}
Bijection covariance() {
  return Factor{true};
}
Bijection cholesky_correlation() {
  return Correlation{false};
}
Bijection correlation() {
  return Correlation{true};
}

}  // namespace tapestry::bijections
