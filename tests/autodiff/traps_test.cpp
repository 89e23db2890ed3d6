#include <cmath>
#include <limits>

#include <doctest/doctest.h>
#include <xtensor/xmath.hpp>
#include <xtensor/xview.hpp>

#include <tapestry/autodiff/autodiff.hpp>

#include "ops/compare.hpp"

// The public headers bring in neither of two that exclude each other, and none of xtensor's switches, with which the
// types and the speed of a user's own arrays would change.
#if defined(CBLAS_H) || defined(XLINALG_HPP) || defined(XBLAS_HPP)
#error "the public headers include a BLAS' ones"
#endif
#if defined(XTENSOR_USE_XSIMD) || defined(XTENSOR_USE_OPENMP) || defined(XTENSOR_USE_TBB)
#error "the public headers set xtensor's switches"
#endif

// What xtensor, xsimd and OpenBLAS get wrong when they are used the obvious way (docs/architecture.md), and must be
// right here.

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

V product_by_loops(const V& a, const V& b) {
  Tensor<double> out = empty_tensor<double>({a.shape()[0], b.shape()[1]});
  for (std::int64_t i = 0; i < a.shape()[0]; ++i)
    for (std::int64_t j = 0; j < b.shape()[1]; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < a.shape()[1]; ++k) sum += a.value()(i, k) * b.value()(k, j);
      out(i, j) = sum;
    }
  return V(std::move(out));
}

template <class T>
T last_of(const Var<T>& y) {
  return y.data()[y.size() - 1];
}

// In every place of a vector: alone, in the middle, and in the rest of a long array.
template <class T, class F>
void check_value(F f, T x, T right, int ulps) {
  for (const std::int64_t n : {1, 3, 16, 37}) {
    const T y = last_of(f(Var<T>::filled({n}, x)));
    if (std::isinf(right) || right == 0)
      CHECK(y == right);
    else
      CHECK(std::abs(y - right) <= T(ulps) * std::numeric_limits<T>::epsilon() * std::abs(right));
  }
}

}  // namespace

TEST_CASE("traps: the array type does not depend on compiler flags, and is aligned for every instruction set") {
  CHECK(std::is_same_v<Tensor<double>::storage_type, xt::uvector<double, detail::PoolAllocator<double>>>);
  CHECK(std::is_same_v<Tensor<float>::storage_type, xt::uvector<float, detail::PoolAllocator<float>>>);
  for (const std::size_t n : {1, 3, 17, 1000, 100000})
    CHECK(reinterpret_cast<std::uintptr_t>(Tensor<float>(std::vector<std::size_t>{n}).data()) % 64 == 0);
}

TEST_CASE("traps: products of operands that start at the same address") {
  // A product that takes equal pointers for equal operands gives M M^T.
  const V m(normal_values({6, 4}, 1)), turned = reshape(m, {4, 6});
  REQUIRE(m.data() == turned.data());
  check_close(matmul(m, turned), product_by_loops(m, turned), 1e-13);
  check_close(matmul(turned, m), product_by_loops(turned, m), 1e-13);
  check_close(matmul(m, m, {.transpose_b = true}), product_by_loops(m, transpose(m)), 1e-13);
  check_close(einsum("ij,jk->ik", m, turned), product_by_loops(m, turned), 1e-13);
  check_close(linear(m, turned, V::zeros({6})), product_by_loops(m, turned), 1e-13);
  const V square(normal_values({5, 5}, 2)), part = slice(square, {Slice{}, Slice{0, 2}});
  check_close(matmul(square, part), product_by_loops(square, part), 1e-13);
  check_gradients(
      [](const Vars& x) {
        const V t = reshape(x[0], {4, 6});
        return tanh(matmul(x[0], t)) * sum(matmul(t, x[0]));
      },
      {m * 0.3}, {.order = 2});
}

TEST_CASE("traps: a sum that keeps its axes, broadcast in an expression") {
  for (const Shape& shape : {Shape{3, 5}, Shape{1, 7}, Shape{7, 1}, Shape{257, 33}}) {
    const Tensor<double> a = normal_values(shape, 4);
    const V y = V(a) / sum(V(a), {1}, true), z = V(a) - mean(V(a), {0}, true);
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      double row = 0;
      for (std::int64_t j = 0; j < shape[1]; ++j) row += a(i, j);
      for (std::int64_t j = 0; j < shape[1]; ++j)
        CHECK(y.value()(i, j) == doctest::Approx(a(i, j) / row).epsilon(1e-12));
    }
    for (std::int64_t j = 0; j < shape[1]; ++j) {
      double column = 0;
      for (std::int64_t i = 0; i < shape[0]; ++i) column += a(i, j) / static_cast<double>(shape[0]);
      for (std::int64_t i = 0; i < shape[0]; ++i)
        CHECK(z.value()(i, j) == doctest::Approx(a(i, j) - column).epsilon(1e-12).scale(1));
    }
  }
}

TEST_CASE("traps: values keep their address when they are assigned to, and outlive their variable while viewed") {
  V x(normal_values({4, 3}, 1), true);
  const double* address = x.data();
  const Tensor<double> before = x.tensor();
  x.assign(normal_values({4, 3}, 2));
  CHECK(x.data() == address);
  auto view = x.mutable_value();
  const Tensor<double> assigned = x.tensor();
  // The right side reads what the left side writes.
  view = 2.0 * view + xt::view(before, xt::all(), xt::range(0, 3));
  CHECK(x.data() == address);
  CHECK(view.data() == address);
  CHECK(x.tensor() == Tensor<double>(2.0 * assigned + before));
  const Tensor<double> last = x.tensor();
  const auto kept = x.value();
  x = V();
  V other(normal_values({4, 3}, 3));
  CHECK(Tensor<double>(kept) == last);
}

TEST_CASE("traps: strided and transposed xtensor expressions become variables") {
  const xt::xarray<double> a = normal_values({5, 6}, 1);
  const V columns(xt::view(a, xt::all(), xt::range(1, 6, 2))), turned(xt::transpose(a));
  REQUIRE(columns.shape() == Shape{5, 3});
  for (std::size_t i = 0; i < 5; ++i)
    for (std::size_t j = 0; j < 3; ++j) CHECK(columns.value()(i, j) == a(i, 1 + 2 * j));
  check_close(matmul(turned, columns), product_by_loops(turned, columns), 1e-13);
}

TEST_CASE("traps: logarithms of denormals") {
  const auto f = [](const auto& x) { return log(x); };
  check_value<double>(f, 5e-324, std::log(5e-324), 1);
  check_value<double>(f, 1e-310, std::log(1e-310), 1);
  check_value<float>(f, 1e-45f, std::log(1e-45f), 1);
  check_value<float>(f, 1e-40f, std::log(1e-40f), 1);
}

TEST_CASE("traps: exponentials up to the largest number") {
  const auto f = [](const auto& x) { return exp(x); };
  for (const double x : {709.7, 709.78, -744.0, -745.0}) check_value<double>(f, x, std::exp(x), 1);
  for (const float x : {88.5f, 88.72f, -100.f}) check_value<float>(f, x, std::exp(x), 1);
  check_value<double>(f, 709.79, std::numeric_limits<double>::infinity(), 0);
  check_value<float>(f, 88.73f, std::numeric_limits<float>::infinity(), 0);
}

TEST_CASE("traps: erf to 4 ulp") {
  for (double x = -5; x < 5; x += 0.0371) {
    check_value<double>([](const auto& v) { return erf(v); }, x, std::erf(x), 4);
    check_value<float>([](const auto& v) { return erf(v); }, static_cast<float>(x), std::erf(static_cast<float>(x)), 4);
  }
}

TEST_CASE("traps: lgamma near its zeros") {
  const auto f = [](const auto& x) { return lgamma(x); };
  check_value<double>(f, 1, 0, 0);
  check_value<double>(f, 2, 0, 0);
  for (const int power : {-2, -5, -10, -20, -30, -45, -51})
    for (const double zero : {1.0, 2.0})
      for (const int sign : {-1, 1}) {
        const double x = zero + sign * std::pow(2.0, power);
        check_value<double>(f, x, static_cast<double>(std::lgamma(static_cast<long double>(x))), 1);
        const float y = static_cast<float>(x);
        if (power > -23) check_value<float>(f, y, static_cast<float>(std::lgamma(static_cast<long double>(y))), 1);
      }
}
