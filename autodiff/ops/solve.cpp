#include <tapestry/autodiff/ops/solve.hpp>

#include <algorithm>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/lapack.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/lu_factors.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using detail::for_matrices;
using detail::MatrixBatch;
using detail::square_batch;

// All solvers see matrices a and b with the same leading axes.
MatrixBatch right_sides(std::string_view operation, const Shape& a, const Shape& b) {
  const MatrixBatch matrices = square_batch(operation, a), sides = detail::matrix_batch(operation, b);
  if (sides.rows != matrices.rows) fail<ShapeError>(operation, a, " does not fit a right side ", b);
  return sides;
}

// What a file says: matrices and right sides with the same leading axes.
bool solvable(const detail::Shapes& in) {
  if (in.size() != 2 || in[0].rank() < 2 || in[1].rank() != in[0].rank()) return false;
  return std::equal(in[0].begin(), in[0].end() - 1, in[1].begin());
}

template <class T>
class TriangularSolve final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  explicit TriangularSolve(TriangularOptions options) : options_(options) {}
  explicit TriangularSolve(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(options_.upper), a(options_.transpose); }
  bool suits(const Shapes& in) override { return solvable(in); }

  std::string_view name() const override { return "triangular_solve"; }
  Shape shape(const Shapes& in, int) const override {
    right_sides(name(), in[0], in[1]);
    return in[1];
  }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::output; }

  void forward(Forward<T>& c) override {
    const auto a = c.input(0), b = c.input(1);
    const auto x = c.output();
    const MatrixBatch batch = right_sides(name(), a.shape, b.shape);
    const Int n = batch.rows;
    for (Int i = 0; i < batch.count; ++i)
      for (Int j = 0; j < n; ++j)
        if (a[(i * n + j) * n + j] == T(0))
          fail<NumericalError>(name(), detail::which_matrix({batch.count, n, n}, i), " is singular: element ", j,
                               " of its diagonal is zero");
    std::copy_n(b.data, b.size(), x.data);
    solve_all(batch, a.data, x.data, options_.transpose);
  }

  void backward(Backward<T>& c) override {
    const auto a = c.input(0), x = c.output(), g = c.gradient();
    const MatrixBatch batch = right_sides(name(), a.shape, g.shape);
    const Int n = batch.rows, k = batch.columns;
    const detail::Scratch<T> scratch(static_cast<std::size_t>(g.size()));
    std::copy_n(g.data, g.size(), scratch.data());
    solve_all(batch, a.data, scratch.data(), !options_.transpose);
    if (c.wants(1)) {
      const Target<T> out = c.target(1);
      for (Int i = 0; i < out.size(); ++i)
        out.data[i] = out.accumulate ? out.data[i] + scratch.data()[i] : scratch.data()[i];
    }
    if (!c.wants(0)) return;
    T* out = c.add_to(0);
    const T* left = options_.transpose ? x.data : scratch.data();
    const T* right = options_.transpose ? scratch.data() : x.data;
    for_matrices(batch.count, n, [&](Int i) {
      const detail::Scratch<T> full(static_cast<std::size_t>(n * n));
      detail::gemm(false, true, n, n, k, T(-1), left + i * n * k, k, right + i * n * k, k, T(0), full.data(), n);
      for (Int row = 0; row < n; ++row)
        for (Int j = options_.upper ? row : 0; j < (options_.upper ? n : row + 1); ++j)
          out[(i * n + row) * n + j] += full.data()[row * n + j];
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> a = c.input(0), x = c.output();
    TriangularOptions other = options_;
    other.transpose = !options_.transpose;
    const Var<T> gb = triangular_solve(a, c.gradient(), other);
    if (c.wants(1)) c.add(1, gb);
    if (c.wants(0)) {
      const Var<T> full =
          options_.transpose ? matmul(x, gb, {.transpose_b = true}) : matmul(gb, x, {.transpose_b = true});
      c.add(0, detail::triangle(-full, !options_.upper));
    }
  }

 private:
  void solve_all(const MatrixBatch& batch, const T* a, T* x, bool transpose) const {
    const Int n = batch.rows, k = batch.columns;
    for_matrices(batch.count, n, [&](Int i) {
      detail::trsm(false, !options_.upper, transpose, false, n, k, T(1), a + i * n * n, n, x + i * n * k, k);
    });
  }

  TriangularOptions options_;
};

template <class T>
Var<T> solve_with(const Var<T>& a, const Var<T>& b, bool transpose);

template <class T>
class Solve final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  explicit Solve(bool transpose) : transpose_(transpose) {}
  explicit Solve(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(transpose_); }
  bool suits(const Shapes& in) override { return solvable(in); }

  std::string_view name() const override { return "solve"; }
  Shape shape(const Shapes& in, int) const override {
    right_sides("solve", in[0], in[1]);
    return in[1];
  }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::output; }

  void forward(Forward<T>& c) override {
    const auto a = c.input(0), b = c.input(1);
    const auto x = c.output();
    const MatrixBatch batch = right_sides("solve", a.shape, b.shape);
    factors_.factor({batch.count, batch.rows, batch.rows}, a.data);
    factors_.check("solve");
    std::copy_n(b.data, b.size(), x.data);
    solve_all(batch, x.data, transpose_);
  }

  void backward(Backward<T>& c) override {
    const auto x = c.output(), g = c.gradient();
    const MatrixBatch batch = right_sides("solve", c.input_shape(0), g.shape);
    const Int n = batch.rows, k = batch.columns;
    const detail::Scratch<T> gb(static_cast<std::size_t>(g.size()));
    std::copy_n(g.data, g.size(), gb.data());
    solve_all(batch, gb.data(), !transpose_);
    if (c.wants(1)) {
      const Target<T> out = c.target(1);
      for (Int i = 0; i < out.size(); ++i) out.data[i] = out.accumulate ? out.data[i] + gb.data()[i] : gb.data()[i];
    }
    if (!c.wants(0)) return;
    const Target<T> out = c.target(0);
    detail::gemm_batched_strided(false, true, batch.count, n, n, k, T(-1), transpose_ ? x.data : gb.data(), k, n * k,
                                 transpose_ ? gb.data() : x.data, k, n * k, out.accumulate ? T(1) : T(0), out.data, n,
                                 n * n);
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> x = c.output(), gb = solve_with(c.input(0), c.gradient(), !transpose_);
    if (c.wants(1)) c.add(1, gb);
    if (c.wants(0))
      c.add(0, -(transpose_ ? matmul(x, gb, {.transpose_b = true}) : matmul(gb, x, {.transpose_b = true})));
  }

 private:
  void solve_all(const MatrixBatch& batch, T* x, bool transpose) const {
    const Int n = batch.rows, k = batch.columns;
    for_matrices(batch.count, n, [&](Int i) {
      detail::getrs(transpose, n, k, factors_.matrix(i), n, factors_.exchanges(i), x + i * n * k, k);
    });
  }

  bool transpose_ = false;
  detail::LuFactors<T> factors_;
};

template <class T>
Var<T> solve_with(const Var<T>& a, const Var<T>& b, bool transpose) {
  return record(std::make_unique<Solve<T>>(transpose), a, b);
}

template <class T>
class Inverse final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  std::string_view name() const override { return "inverse"; }
  Shape shape(const Shapes& in, int) const override {
    square_batch("inverse", in[0]);
    return in[0];
  }
  std::uint32_t needs() const override { return Needs::output; }

  void forward(Forward<T>& c) override {
    const auto a = c.input(0);
    const MatrixBatch batch = square_batch("inverse", a.shape);
    const Int n = batch.rows;
    detail::LuFactors<T> factors;
    factors.factor(batch, a.data);
    factors.check("inverse");
    for_matrices(batch.count, n, [&](Int i) { factors.invert(i, c.output().data + i * n * n); });
  }

  // -y^T g y^T: Giles 2008, "Collected matrix derivative results".
  void vjp(Vjp<T>& c) override {
    const Var<T> y = c.output();
    c.add(0, -matmul(matmul(y, c.gradient(), {.transpose_a = true}), y, {.transpose_b = true}));
  }
};

}  // namespace

void detail::register_solvers() {
  register_operations<TriangularSolve>("triangular_solve");
  register_operations<Solve>("solve");
  register_operations<Inverse>("inverse");
}

namespace {

// Gives a and b the same leading axes, and calls f with matrices.
template <class T, class F>
Var<T> with_right_sides(std::string_view operation, const Var<T>& a, const Var<T>& b, F f) {
  const MatrixBatch matrices = square_batch(operation, a.shape());
  if (b.rank() == 1) {
    if (b.size() != matrices.rows) fail<ShapeError>(operation, a.shape(), " does not fit a right side ", b.shape());
    const Var<T> x = with_right_sides(operation, a, reshape(b, Shape{b.size(), 1}), f);
    Shape shape = x.shape();
    shape.erase(shape.rank() - 1);
    return reshape(x, shape);
  }
  right_sides(operation, a.shape(), b.shape());
  const auto leading = [](const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); };
  const Shape batch = broadcast(operation, leading(a.shape()), leading(b.shape()));
  const auto fitted = [&](const Var<T>& x) {
    if (leading(x.shape()) == batch) return x;
    Shape shape = batch;
    for (const int axis : {x.rank() - 2, x.rank() - 1}) shape.push_back(x.shape()[axis]);
    return broadcast_to(x, shape);
  };
  return f(fitted(a), fitted(b));
}

}  // namespace

template <class T>
Var<T> triangular_solve(const Var<T>& a, const Var<T>& b, TriangularOptions options) {
  return with_right_sides("triangular_solve", a, b, [&](const Var<T>& x, const Var<T>& y) {
    return record(std::make_unique<TriangularSolve<T>>(options), x, y);
  });
}

template <class T>
Var<T> solve(const Var<T>& a, const Var<T>& b) {
  return with_right_sides("solve", a, b, [](const Var<T>& x, const Var<T>& y) { return solve_with(x, y, false); });
}

template <class T>
Var<T> inverse(const Var<T>& a) {
  return record(std::make_unique<Inverse<T>>(), a);
}

#define TAPESTRY_INSTANTIATE(T)                                                      \
  template Var<T> triangular_solve(const Var<T>&, const Var<T>&, TriangularOptions); \
  template Var<T> solve(const Var<T>&, const Var<T>&);                               \
  template Var<T> inverse(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
