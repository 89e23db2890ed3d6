#include <tapestry/autodiff/ops/decomposition.hpp>

#include <array>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/lapack.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/solve.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using detail::as_column;
using detail::as_row;
using detail::for_matrices;
using detail::matrix_batch;
using detail::MatrixBatch;
using detail::square_batch;

Shape with_last(const Shape& shape, std::initializer_list<Int> last) {
  Shape out(shape.begin(), shape.end() - 2);
  for (const Int extent : last) out.push_back(extent);
  return out;
}

// 1 / (x_j - x_i) at (i, j) for sorted x, and 0 where these coincide. A difference within the tolerance counts as none.
template <class T>
Var<T> inverse_differences(const Var<T>& x) {
  const Var<T> difference = as_row(x) - as_column(x);
  if (x.size() == 0) return difference;
  const Int n = x.shape().back();
  const T tolerance = static_cast<T>(n) * std::numeric_limits<T>::epsilon();
  const Var<T> size = abs(x.detach()), largest = maximum(slice(size, -1, {0, 1}), slice(size, -1, {n - 1, n}));
  const Var<T> same = less_equal(abs(difference.detach()), as_column(largest) * tolerance), different = T(1) - same;
  return different / (difference * different + same);
}

template <class T>
class Eigh final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  std::string_view name() const override { return "eigh"; }
  int outputs() const override { return 2; }
  Shape shape(const Shapes& in, int output) const override {
    square_batch("eigh", in[0]);
    return output == 0 ? Shape(in[0].begin(), in[0].end() - 1) : in[0];
  }
  std::uint32_t needs() const override { return Needs::output; }

  void forward(Forward<T>& c) override {
    const MatrixBatch batch = square_batch("eigh", c.input(0).shape);
    const Int n = batch.rows;
    for_matrices(batch.count, n, [&](Int item) {
      T* v = c.output(1).data + item * n * n;
      std::copy_n(c.input(0).data + item * n * n, n * n, v);
      // LAPACK would not notice.
      if (!std::all_of(v, v + n * n, [](T x) { return std::isfinite(x); }))
        fail<NumericalError>("eigh", detail::which_matrix(batch, item), " is not finite");
      if (detail::syevd(n, v, n, c.output(0).data + item * n) != 0)
        fail<NumericalError>("eigh", "no convergence for ", detail::which_matrix(batch, item));
      // Eigenvectors are unique up to their sign: the largest element is positive.
      for (Int j = 0; j < n; ++j) {
        Int largest = 0;
        for (Int i = 1; i < n; ++i)
          if (std::abs(v[i * n + j]) > std::abs(v[largest * n + j])) largest = i;
        if (v[largest * n + j] < T(0))
          for (Int i = 0; i < n; ++i) v[i * n + j] = -v[i * n + j];
      }
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> w = c.output(0), v = c.output(1);
    Var<T> g;
    if (c.has_gradient(0)) g = matmul(v * as_row(c.gradient(0)), v, {.transpose_b = true});
    if (c.has_gradient(1)) {
      const Var<T> rotation = inverse_differences(w) * matmul(v, c.gradient(1), {.transpose_a = true});
      const Var<T> term = matmul(matmul(v, rotation), v, {.transpose_b = true});
      g = g.defined() ? g + term : term;
    }
    if (g.defined()) c.add(0, detail::symmetric_part(g));
  }
};

template <class T>
class SvdOperation final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  std::string_view name() const override { return "svd"; }
  int outputs() const override { return 3; }
  Shape shape(const Shapes& in, int output) const override {
    const MatrixBatch batch = matrix_batch("svd", in[0]);
    const Int k = std::min(batch.rows, batch.columns);
    if (output == 0) return with_last(in[0], {batch.rows, k});
    return output == 1 ? with_last(in[0], {k}) : with_last(in[0], {k, batch.columns});
  }
  std::uint32_t needs() const override { return Needs::output; }

  void forward(Forward<T>& c) override {
    const MatrixBatch batch = matrix_batch("svd", c.input(0).shape);
    const Int m = batch.rows, n = batch.columns, k = std::min(m, n);
    for_matrices(batch.count, std::max(m, n), [&](Int item) {
      const detail::Scratch<T> a(static_cast<std::size_t>(m * n));
      std::copy_n(c.input(0).data + item * m * n, m * n, a.data());
      T *u = c.output(0).data + item * m * k, *s = c.output(1).data + item * k, *vt = c.output(2).data + item * k * n;
      if (const int info = detail::gesdd(false, m, n, a.data(), n, s, u, k, vt, n); info != 0)
        fail<NumericalError>("svd", info < 0 ? "not a number in " : "no convergence for ",
                             detail::which_matrix(batch, item));
      // Pairs of vectors are unique up to their sign: the largest element of the left one is positive.
      for (Int j = 0; j < k; ++j) {
        Int largest = 0;
        for (Int i = 1; i < m; ++i)
          if (std::abs(u[i * k + j]) > std::abs(u[largest * k + j])) largest = i;
        if (!(u[largest * k + j] < T(0))) continue;
        for (Int i = 0; i < m; ++i) u[i * k + j] = -u[i * k + j];
        for (Int i = 0; i < n; ++i) vt[j * n + i] = -vt[j * n + i];
      }
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> u = c.output(0), s = c.output(1), vt = c.output(2);
    const MatrixBatch batch = matrix_batch("svd", c.shape(0));
    const Int k = std::min(batch.rows, batch.columns);
    Var<T> middle, outside;  // gradient = u middle vt + outside
    const auto add = [](Var<T>& sum, const Var<T>& term) { sum = sum.defined() ? sum + term : term; };
    if (c.has_gradient(1)) add(middle, detail::identity<T>(k) * as_row(c.gradient(1)));
    if (c.has_gradient(0) || c.has_gradient(2)) {
      const Var<T> f = inverse_differences(square(s));
      if (c.has_gradient(0)) {
        const Var<T> g = c.gradient(0), turn = matmul(u, g, {.transpose_a = true});
        add(middle, f * (turn - detail::adjoint(turn)) * as_row(s));
        if (batch.rows > k) add(outside, matmul((g - matmul(u, turn)) / as_row(s), vt));
      }
      if (c.has_gradient(2)) {
        const Var<T> g = c.gradient(2), turn = matmul(vt, g, {.transpose_b = true});
        add(middle, as_column(s) * f * (turn - detail::adjoint(turn)));
        if (batch.columns > k) add(outside, matmul(u, (g - matmul(detail::adjoint(turn), vt)) / as_column(s)));
      }
    }
    if (middle.defined()) c.add(0, matmul(matmul(u, middle), vt));
    if (outside.defined()) c.add(0, outside);
  }
};

// For m >= n.
template <class T>
class QrOperation final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  bool suits(const Shapes& in) override { return in[0].rank() >= 2 && in[0][in[0].rank() - 2] >= in[0].back(); }
  std::string_view name() const override { return "qr"; }
  int outputs() const override { return 2; }
  Shape shape(const Shapes& in, int output) const override {
    return output == 0 ? in[0] : with_last(in[0], {in[0].back(), in[0].back()});
  }
  std::uint32_t needs() const override { return Needs::output; }

  void forward(Forward<T>& c) override {
    const MatrixBatch batch = matrix_batch("qr", c.input(0).shape);
    const Int m = batch.rows, n = batch.columns;
    for_matrices(batch.count, m, [&](Int item) {
      T *q = c.output(0).data + item * m * n, *r = c.output(1).data + item * n * n;
      std::copy_n(c.input(0).data + item * m * n, m * n, q);
      const detail::Scratch<T> tau(static_cast<std::size_t>(n));
      detail::geqrf(m, n, q, n, tau.data());
      for (Int i = 0; i < n; ++i)
        for (Int j = 0; j < n; ++j) r[i * n + j] = j >= i ? q[i * n + j] : T(0);
      detail::orgqr(m, n, n, q, n, tau.data());
      for (Int j = 0; j < n; ++j) {
        if (!(r[j * n + j] < T(0))) continue;
        for (Int i = j; i < n; ++i) r[j * n + i] = -r[j * n + i];
        for (Int i = 0; i < m; ++i) q[i * n + j] = -q[i * n + j];
      }
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> q = c.output(0), r = c.output(1);
    Var<T> middle;
    if (c.has_gradient(1)) middle = matmul(r, c.gradient(1), {.transpose_b = true});
    if (c.has_gradient(0)) {
      const Var<T> turn = matmul(c.gradient(0), q, {.transpose_a = true});
      middle = middle.defined() ? middle - turn : -turn;
    }
    if (!middle.defined()) return;
    Var<T> left = matmul(q, detail::matrix_parts(middle, {1, 1, 0}, {0, 0, 1}));
    if (c.has_gradient(0)) left = left + c.gradient(0);
    // left r^-T
    c.add(0, detail::adjoint(triangular_solve(r, detail::adjoint(left), {.upper = true})));
  }
};

}  // namespace

void detail::register_decomposition() {
  register_operations<Eigh>("eigh");
  register_operations<SvdOperation>("svd");
  register_operations<QrOperation>("qr");
}

template <class T>
Eigen<T> eigh(const Var<T>& a) {
  const std::array<Var<T>, 1> inputs{a};
  auto out = apply_all<T>(std::make_unique<Eigh<T>>(), inputs);
  return {out[0], out[1]};
}

template <class T>
Svd<T> svd(const Var<T>& a) {
  const std::array<Var<T>, 1> inputs{a};
  auto out = apply_all<T>(std::make_unique<SvdOperation<T>>(), inputs);
  return {out[0], out[1], out[2]};
}

template <class T>
Qr<T> qr(const Var<T>& a) {
  const MatrixBatch batch = matrix_batch("qr", a.shape());
  const Int m = batch.rows, n = batch.columns;
  if (n > m) {
    Tensor<T> first = empty_tensor<T>({n, m});
    for (Int i = 0; i < n * m; ++i) first.data()[i] = i / m == i % m ? T(1) : T(0);
    const Var<T> q = qr(matmul(a, Var<T>(std::move(first)))).q;
    return {q, detail::triangle(matmul(q, a, {.transpose_a = true}), false)};
  }
  const std::array<Var<T>, 1> inputs{a};
  auto out = apply_all<T>(std::make_unique<QrOperation<T>>(), inputs);
  return {out[0], out[1]};
}

#define TAPESTRY_INSTANTIATE(T)          \
  template Eigen<T> eigh(const Var<T>&); \
  template Svd<T> svd(const Var<T>&);    \
  template Qr<T> qr(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
