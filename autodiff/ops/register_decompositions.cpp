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
  return [=](std::uint64_t seed) {
    Tensor<double> out = uniform_example(shape, -1, 1)(seed);
    const std::int64_t n = shape.back();
    for (std::int64_t i = 0; i < shape.elements(); ++i)
      if (i / n % n == i % n) out.data()[i] += shift;
    return out;
  };
}

// Symmetric matrices with eigenvalues well apart.
ExampleInput spread_example(const Shape& shape) {
  return [=](std::uint64_t seed) {
    Tensor<double> out = uniform_example(shape, -0.3, 0.3)(seed);
    const std::int64_t n = shape.back();
    for (std::int64_t i = 0; i < shape.elements(); ++i)
      if (i / n % n == i % n) out.data()[i] += static_cast<double>(2 * (i % n) + 1);
    return out;
  };
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
  r.add("triangular_solve_upper_transposed", {dominant_example({3, 3}), uniform_example({2, 3, 2})},
        [](const auto& x) { return triangular_solve(x[0], x[1], {.upper = true, .transpose = true}); });
  r.add("solve", {dominant_example({2, 3, 3}), uniform_example({2, 3, 2})}, [](const auto& x) {
     return solve(x[0], x[1]);
   }).reference = [](const Values& x) { return solutions(x[0], x[1]); };
  r.add("solve_vector", {dominant_example({2, 3, 3}), uniform_example({3})},
        [](const auto& x) { return solve(x[0], x[1]); });
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
  r.add("eigh_values", {spread_example({2, 3, 3})}, [](const auto& x) { return eigh(symmetric_part(x[0])).values; });
  r.add("eigh_vectors", {spread_example({2, 3, 3})}, [](const auto& x) { return eigh(symmetric_part(x[0])).vectors; });
  for (const Shape& shape : {Shape{2, 3, 3}, Shape{4, 2}, Shape{2, 4}}) {
    const std::string suffix = to_string(shape);
    const ExampleInput input = [shape](std::uint64_t seed) {
      Tensor<double> out = uniform_example(shape, -0.3, 0.3)(seed);
      const std::int64_t n = shape.back(), m = shape[shape.rank() - 2];
      for (std::int64_t i = 0; i < shape.elements(); ++i)
        if (i / n % m == i % n) out.data()[i] += static_cast<double>(2 * (i % n) + 1);
      return out;
    };
    r.add("svd_u " + suffix, {input}, [](const auto& x) { return svd(x[0]).u; });
    r.add("svd_s " + suffix, {input}, [](const auto& x) { return svd(x[0]).s; });
    r.add("svd_vt " + suffix, {input}, [](const auto& x) { return svd(x[0]).vt; });
    r.add("qr_q " + suffix, {input}, [](const auto& x) { return qr(x[0]).q; });
    r.add("qr_r " + suffix, {input}, [](const auto& x) { return qr(x[0]).r; });
  }
  r.add("matrix_exp", {uniform_example({2, 3, 3}, -1, 1)}, [](const auto& x) { return matrix_exp(x[0]); }).reference =
      [](const Values& x) { return exp_by_series(x[0]); };
}

}  // namespace tapestry::detail
