#include <algorithm>
#include <cmath>
#include <numeric>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/cholesky.hpp>
#include <tapestry/autodiff/ops/decomposition.hpp>
#include <tapestry/autodiff/ops/determinant.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_exp.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/solve.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;

// Random matrices with `shift` added to the diagonal: far from singular.
ExampleInput dominant_example(const Shape& shape, double shift = 4) {
  return {shape, [=](const Shape& s, std::uint64_t seed) {
            Tensor<double> out = uniform_example(s, -1, 1)(seed);
            const std::int64_t n = s.rank() == 0 ? 1 : s.back();
            for (std::int64_t i = 0; i < s.elements(); ++i)
              if (i / n % n == i % n) out.data()[i] += shift;
            return out;
          }};
}

// Matrices with eigenvalues, or singular values, well apart.
ExampleInput spread_example(const Shape& shape) {
  return {shape, [](const Shape& s, std::uint64_t seed) {
            Tensor<double> out = uniform_example(s, -0.3, 0.3)(seed);
            const std::int64_t n = s.rank() < 2 ? 1 : s.back(), m = s.rank() < 2 ? 1 : s[s.rank() - 2];
            for (std::int64_t i = 0; i < s.elements(); ++i)
              if (i / n % m == i % n) out.data()[i] += static_cast<double>(2 * (i % n) + 1);
            return out;
          }};
}

// Solutions by Gauss-Jordan elimination with pivoting; the determinant beside.
struct Eliminated {
  std::vector<double> x;
  double determinant;
};
Eliminated eliminate(const double* matrix, std::size_t n, std::vector<double> b, std::size_t k) {
  std::vector<double> a(matrix, matrix + n * n);
  double determinant = 1;
  for (std::size_t p = 0; p < n; ++p) {
    std::size_t best = p;
    for (std::size_t i = p; i < n; ++i)
      if (std::abs(a[i * n + p]) > std::abs(a[best * n + p])) best = i;
    if (best != p) {
      determinant = -determinant;
      for (std::size_t j = 0; j < n; ++j) std::swap(a[p * n + j], a[best * n + j]);
      for (std::size_t j = 0; j < k; ++j) std::swap(b[p * k + j], b[best * k + j]);
    }
    determinant *= a[p * n + p];
    for (std::size_t i = 0; i < n; ++i) {
      if (i == p) continue;
      const double factor = a[i * n + p] / a[p * n + p];
      for (std::size_t j = p; j < n; ++j) a[i * n + j] -= factor * a[p * n + j];
      for (std::size_t j = 0; j < k; ++j) b[i * k + j] -= factor * b[p * k + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < k; ++j) b[i * k + j] /= a[i * n + i];
  return {std::move(b), determinant};
}

Tensor<double> solutions(const Tensor<double>& a, const Tensor<double>& b) {
  Tensor<double> out = b;
  const std::size_t n = a.shape(a.dimension() - 1), k = b.shape(b.dimension() - 1);
  for (std::size_t s = 0; s * n * n < a.size(); ++s) {
    const auto x =
        eliminate(a.data() + s * n * n, n, std::vector<double>(b.data() + s * n * k, b.data() + (s + 1) * n * k), k).x;
    std::copy(x.begin(), x.end(), out.data() + s * n * k);
  }
  return out;
}

Tensor<double> log_determinants(const Tensor<double>& a) {
  const std::size_t n = a.shape(a.dimension() - 1);
  Tensor<double> out = empty_tensor<double>({static_cast<std::int64_t>(a.size() / (n * n))});
  for (std::size_t s = 0; s < out.size(); ++s)
    out.data()[s] = std::log(std::abs(eliminate(a.data() + s * n * n, n, {}, 0).determinant));
  return out;
}

Tensor<double> cholesky_by_loops(const Tensor<double>& s) {
  Tensor<double> l = s;
  const std::size_t n = s.shape(s.dimension() - 1);
  for (std::size_t item = 0; item * n * n < s.size(); ++item) {
    double* m = l.data() + item * n * n;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        double value = m[i * n + j];
        for (std::size_t k = 0; k < std::min(i, j); ++k) value -= m[i * n + k] * m[j * n + k];
        m[i * n + j] = j > i ? 0 : j == i ? std::sqrt(value) : value / m[j * n + j];
      }
  }
  return l;
}

Tensor<double> exp_by_series(const Tensor<double>& a) {
  const std::size_t n = a.shape(a.dimension() - 1);
  Tensor<double> out = a;
  for (std::size_t s = 0; s * n * n < a.size(); ++s) {
    const double* m = a.data() + s * n * n;
    std::vector<double> term(n * n, 0.0), sum(n * n, 0.0);
    for (std::size_t i = 0; i < n; ++i) term[i * n + i] = sum[i * n + i] = 1;
    for (int order = 1; order < 60; ++order) {
      std::vector<double> next(n * n, 0.0);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          for (std::size_t k = 0; k < n; ++k) next[i * n + j] += term[i * n + k] * m[k * n + j] / order;
      term = next;
      for (std::size_t i = 0; i < n * n; ++i) sum[i] += term[i];
    }
    std::copy(sum.begin(), sum.end(), out.data() + s * n * n);
  }
  return out;
}

// Calls f(matrix) for each m x n matrix of a tensor.
template <class F>
void for_each_matrix(const Tensor<double>& a, F f) {
  const std::size_t n = a.shape(a.dimension() - 1), m = a.shape(a.dimension() - 2);
  for (std::size_t at = 0; at < a.size(); at += m * n) f(a.data() + at, m, n);
}

// Eigenvalues of a symmetric matrix in ascending order, by Jacobi's rotations.
std::vector<double> eigenvalues(std::vector<double> a, std::size_t n) {
  for (int sweep = 0; sweep < 50; ++sweep)
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        const double angle = 0.5 * std::atan2(2 * a[p * n + q], a[q * n + q] - a[p * n + p]);
        const double c = std::cos(angle), s = std::sin(angle);
        for (const bool rows : {true, false})
          for (std::size_t k = 0; k < n; ++k) {
            double &x = rows ? a[p * n + k] : a[k * n + p], &y = rows ? a[q * n + k] : a[k * n + q];
            const double old = x;
            x = c * old - s * y;
            y = s * old + c * y;
          }
      }
  std::vector<double> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(a[i * n + i]);
  std::sort(out.begin(), out.end());
  return out;
}

Tensor<double> symmetric_eigenvalues(const Tensor<double>& a) {
  Tensor<double> out = empty_tensor<double>({static_cast<std::int64_t>(a.shape(0)), 3});
  double* to = out.data();
  for_each_matrix(a, [&](const double* x, std::size_t, std::size_t n) {
    std::vector<double> s(n * n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) s[i * n + j] = 0.5 * (x[i * n + j] + x[j * n + i]);
    for (const double value : eigenvalues(s, n)) *to++ = value;
  });
  return out;
}

Tensor<double> singular_values(const Tensor<double>& a) {
  Shape shape = shape_of(a);
  const int rank = shape.rank();
  const std::int64_t count = std::min(shape[rank - 2], shape[rank - 1]);
  shape.erase(rank - 1);
  shape[rank - 2] = count;
  Tensor<double> out = empty_tensor<double>(shape);
  double* to = out.data();
  for_each_matrix(a, [&](const double* x, std::size_t m, std::size_t n) {
    std::vector<double> squares(n * n, 0.0);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t k = 0; k < m; ++k) squares[i * n + j] += x[k * n + i] * x[k * n + j];
    const std::vector<double> values = eigenvalues(squares, n);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) *to++ = std::sqrt(values[n - 1 - i]);
  });
  return out;
}

// Both factors of a = q r by Gram and Schmidt, twice for accuracy.
Tensor<double> orthogonal_factor(const Tensor<double>& a, bool triangle) {
  Shape shape = shape_of(a);
  const int rank = shape.rank();
  const auto k = static_cast<std::size_t>(std::min(shape[rank - 2], shape[rank - 1]));
  shape[triangle ? rank - 2 : rank - 1] = static_cast<std::int64_t>(k);
  Tensor<double> out = empty_tensor<double>(shape);
  double* to = out.data();
  for_each_matrix(a, [&](const double* x, std::size_t m, std::size_t n) {
    std::vector<std::vector<double>> q;
    for (std::size_t j = 0; j < k; ++j) {
      std::vector<double> v(m);
      for (std::size_t i = 0; i < m; ++i) v[i] = x[i * n + j];
      for (int pass = 0; pass < 2; ++pass)
        for (const std::vector<double>& u : q) {
          const double along = std::inner_product(u.begin(), u.end(), v.begin(), 0.0);
          for (std::size_t i = 0; i < m; ++i) v[i] -= along * u[i];
        }
      const double length = std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
      for (double& value : v) value /= length;
      q.push_back(std::move(v));
    }
    if (triangle) {
      for (std::size_t i = 0; i < k; ++i)
        for (std::size_t j = 0; j < n; ++j, ++to) {
          *to = 0;
          for (std::size_t l = 0; i <= j && l < m; ++l) *to += q[i][l] * x[l * n + j];
        }
    } else {
      for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < k; ++j) *to++ = q[j][i];
    }
  });
  return out;
}

constexpr const char* signs_open = "unique up to signs only: decomposition_test puts the matrix together again";

}  // namespace

void register_decompositions(Registry& r) {
  r.add("cholesky", {positive_definite_example({2, 4, 4})}, [](const auto& x) {
     return cholesky(symmetric_part(x[0]));
   }).reference = [](const Values& x) { return cholesky_by_loops(x[0]); };
  r.add("logdet_spd", {positive_definite_example({2, 4, 4})}, [](const auto& x) {
     return logdet_spd(symmetric_part(x[0]));
   }).reference = [](const Values& x) { return log_determinants(x[0]); };
  r.add("triangular_solve", {dominant_example({2, 3, 3}), uniform_example({2, 3, 2})}, [](const auto& x) {
     return triangular_solve(x[0], x[1]);
   }).reference = [](Values x) {
    for (std::size_t i = 0; i < x[0].size(); ++i)
      if (i % 3 > i / 3 % 3) x[0].data()[i] = 0;
    return solutions(x[0], x[1]);
  };
  r.add("triangular_solve_upper_transposed", {dominant_example({3, 3}), uniform_example({2, 3, 2})}, [](const auto& x) {
     return triangular_solve(x[0], x[1], {.upper = true, .transpose = true});
   }).reference = [](const Values& x) {
    Tensor<double> lower = empty_tensor<double>({2, 3, 3});
    for (std::size_t i = 0; i < 18; ++i) lower.data()[i] = i % 3 > i / 3 % 3 ? 0 : x[0](i % 3, i / 3 % 3);
    return solutions(lower, x[1]);
  };
  r.add("solve", {dominant_example({2, 3, 3}), uniform_example({2, 3, 2})}, [](const auto& x) {
     return solve(x[0], x[1]);
   }).reference = [](const Values& x) { return solutions(x[0], x[1]); };
  r.add("solve_vector", {dominant_example({2, 3, 3}), uniform_example({3})}, [](const auto& x) {
     return solve(x[0], x[1]);
   }).reference = [](const Values& x) {
    Tensor<double> columns = empty_tensor<double>({2, 3, 1});
    for (std::size_t i = 0; i < 6; ++i) columns.data()[i] = x[1](i % 3);
    columns = solutions(x[0], columns);
    columns.reshape({2, 3});
    return columns;
  };
  r.add("inverse", {dominant_example({2, 3, 3})}, [](const auto& x) { return inverse(x[0]); }).reference =
      [](const Values& x) {
        Tensor<double> identities = x[0];
        for (std::size_t i = 0; i < x[0].size(); ++i) identities.data()[i] = i % 3 == i / 3 % 3 ? 1 : 0;
        return solutions(x[0], identities);
      };
  r.add("logdet", {dominant_example({2, 3, 3})}, [](const auto& x) { return logdet(x[0]); }).reference =
      [](const Values& x) { return log_determinants(x[0]); };
  r.add("slogdet", {dominant_example({2, 3, 3}, -4)}, [](const auto& x) { return slogdet(x[0]).logabsdet; }).reference =
      [](const Values& x) { return log_determinants(x[0]); };
  r.add("eigh_values", {spread_example({2, 3, 3})}, [](const auto& x) {
     return eigh(symmetric_part(x[0])).values;
   }).reference = [](const Values& x) { return symmetric_eigenvalues(x[0]); };
  r.add("eigh_vectors", {spread_example({2, 3, 3})}, [](const auto& x) {
     return eigh(symmetric_part(x[0])).vectors;
   }).no_reference = signs_open;
  for (const Shape& shape : {Shape{2, 3, 3}, Shape{4, 2}, Shape{2, 4}}) {
    const std::string suffix = " " + to_string(shape);
    const ExampleInput input = spread_example(shape);
    r.add("svd_u" + suffix, {input}, [](const auto& x) { return svd(x[0]).u; }).no_reference = signs_open;
    r.add("svd_s" + suffix, {input}, [](const auto& x) { return svd(x[0]).s; }).reference = [](const Values& x) {
      return singular_values(x[0]);
    };
    r.add("svd_vt" + suffix, {input}, [](const auto& x) { return svd(x[0]).vt; }).no_reference = signs_open;
    r.add("qr_q" + suffix, {input}, [](const auto& x) { return qr(x[0]).q; }).reference = [](const Values& x) {
      return orthogonal_factor(x[0], false);
    };
    r.add("qr_r" + suffix, {input}, [](const auto& x) { return qr(x[0]).r; }).reference = [](const Values& x) {
      return orthogonal_factor(x[0], true);
    };
  }
  r.add("matrix_exp", {uniform_example({2, 3, 3}, -1, 1)}, [](const auto& x) { return matrix_exp(x[0]); }).reference =
      [](const Values& x) { return exp_by_series(x[0]); };
}

}  // namespace tapestry::detail
