#include <tapestry/autodiff/ops/cholesky.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/autodiff/kernels/substitution.hpp>
#include <tapestry/autodiff/lapack.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/solve.hpp>
#include <tapestry/autodiff/ops/triangular_inverse.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using detail::for_matrices;
using detail::gemm;
using detail::MatrixBatch;
using detail::Scratch;
using detail::square_batch;

constexpr Int block = 64;
constexpr Int most_by_blocks = 1024;

// L in place of the lower triangle of a: block columns of `block`, each by LAPACK on the diagonal, substitution below
// it, and products that take it from what is right of it. Returns the order of the first minor that is not positive, or
// 0.
template <class T>
int factor_by_blocks(Int n, T* a) {
  if (n <= block || n > most_by_blocks) return detail::potrf(n, a, n);
  const auto& transpose = detail::kernels<detail::LayoutKernels<T>>().transpose;
  const auto& substitution = detail::kernels<detail::SubstitutionKernels<T>>();
  const Scratch<T> scratch(static_cast<std::size_t>(n * block));
  for (Int i = 0; i < n; i += block) {
    const Int width = std::min(block, n - i), below = n - i - width;
    T* const diagonal = a + i * n + i;
    if (const int minor = detail::potrf(width, diagonal, n); minor != 0) return static_cast<int>(i) + minor;
    if (below == 0) break;
    T* const panel = diagonal + width * n;
    const auto rows = static_cast<std::size_t>(below), columns = static_cast<std::size_t>(width);
    const auto stride = static_cast<std::size_t>(n);
    transpose(panel, rows, columns, stride, scratch.data(), rows);
    substitution.forward(diagonal, stride, columns, scratch.data(), rows, rows);
    transpose(scratch.data(), columns, rows, rows, panel, stride);
    for (Int j = 0; j < below; j += block) {
      const Int height = std::min(block, below - j);
      gemm(false, false, height, j + height, width, T(-1), panel + j * n, n, scratch.data(), below, T(1),
           panel + j * n + width, n);
    }
  }
  // The products reach beyond the diagonal of their blocks.
  for (Int i = 0; i < n; ++i) std::fill(a + i * n + i + 1, a + i * n + std::min(n, (i / block + 1) * block), T(0));
  return 0;
}

// L in the lower triangle of out, zeros above.
template <class T>
void factor(std::string_view operation, const MatrixBatch& batch, const T* s, T* out) {
  const Int n = batch.rows;
  for_matrices(batch.count, n, [&](Int item) {
    T* l = out + item * n * n;
    for (Int i = 0; i < n; ++i) {
      std::copy_n(s + (item * n + i) * n, i + 1, l + i * n);
      std::fill(l + i * n + i + 1, l + (i + 1) * n, T(0));
    }
    int minor = factor_by_blocks(n, l);
    for (Int i = 0; i < n && minor == 0; ++i)
      if (!(l[i * (n + 1)] > T(0))) minor = static_cast<int>(i + 1);
    if (minor != 0)
      fail<NumericalError>(operation, detail::which_matrix(batch, item),
                           " is not positive definite: its leading minor of order ", minor);
  });
}

// The lower triangle of alpha a^T b for lower triangular a, where rows of b above the block's diagonal do not count
// (they meet zeros of a): block row by block row. What lies above the diagonal within the blocks is left over.
template <class T>
void lower_of_product(Int n, T alpha, const T* a, const T* b, T* c) {
  for (Int i = 0; i < n; i += block) {
    const Int rows = std::min(block, n - i);
    gemm(true, false, rows, i + rows, n - i, alpha, a + i * n + i, n, b + i * n, n, T(0), c + i * n, n);
  }
}

// Copies the lower triangle to the upper one.
template <class T>
void mirror(Int n, T* x) {
  constexpr Int tile = 32;
  const auto transpose = detail::kernels<detail::LayoutKernels<T>>().transpose;
  const auto stride = static_cast<std::size_t>(n);
  for (Int top = 0; top < n; top += tile) {
    const Int bottom = std::min(top + tile, n);
    transpose(x + top * n, static_cast<std::size_t>(bottom - top), static_cast<std::size_t>(top), stride, x + top,
              stride);
    for (Int i = top; i < bottom; ++i)
      for (Int j = i + 1; j < bottom; ++j) x[i * n + j] = x[j * n + i];
  }
}

// out (+)= the symmetric alpha a^T b, with a and b as above.
template <class T>
void symmetric_product(Int n, T alpha, const T* a, const T* b, T* out, bool accumulate) {
  const Scratch<T> scratch(accumulate ? static_cast<std::size_t>(n * n) : 0);
  T* result = accumulate ? scratch.data() : out;
  lower_of_product(n, alpha, a, b, result);
  mirror(n, result);
  if (accumulate)
    detail::kernels<detail::ElementwiseKernels<T>>().accumulate(result, out, static_cast<std::size_t>(n * n));
}

// Below the diagonal; what lies above does not count.
template <class T>
bool is_diagonal(Int n, const T* g) {
  // Two floats or one double at a time, without their signs.
  constexpr std::uint64_t magnitudes = sizeof(T) == 4 ? 0x7fffffff7fffffff : 0x7fffffffffffffff;
  constexpr Int step = 8 / Int(sizeof(T));
  for (Int i = 1; i < n; ++i) {
    const T* row = g + i * n;
    std::uint64_t bits = 0, word;
    Int j = 0;
    for (; j + step <= i; j += step) {
      std::memcpy(&word, row + j, sizeof word);
      bits |= word;
    }
    if ((bits & magnitudes) != 0 || (j < i && row[j] != T(0))) return false;
  }
  return true;
}

// L^-T sym(Phi(L^T G)) L^-1, through the inverse factor, where Phi takes the lower triangle with half the diagonal. G's
// upper triangle does not count. A diagonal G (log-determinants) needs one product only.
template <class T>
void cholesky_backward(Int n, const T* l, const T* g, T* out, bool accumulate) {
  const auto elements = static_cast<std::size_t>(n * n);
  const Scratch<T> inverse(elements), scaled(elements);
  std::copy_n(l, n * n, inverse.data());
  detail::invert_lower(n, inverse.data(), n);
  if (is_diagonal(n, g)) {
    const auto& table = detail::kernels<detail::ElementwiseKernels<T>>();
    for (Int i = 0; i < n; ++i) {
      const T factor = T(0.5) * l[i * (n + 1)] * g[i * (n + 1)];
      T* row = scaled.data() + i * n;
      table.scale(factor, inverse.data() + i * n, row, static_cast<std::size_t>(i + 1));
      // What the products read beyond the diagonal lies within its block.
      std::fill(row + i + 1, row + std::min(n, (i / block + 1) * block), T(0));
    }
  } else {
    const Scratch<T> phi(elements), lower_g(elements);
    for (Int i = 0; i < n; ++i) {
      std::copy_n(g + i * n, i + 1, lower_g.data() + i * n);
      std::fill(lower_g.data() + i * n + i + 1, lower_g.data() + (i + 1) * n, T(0));
    }
    symmetric_product(n, T(0.5), l, lower_g.data(), phi.data(), false);
    for (Int j = 0; j < n; j += block) {
      const Int columns = std::min(block, n - j);
      gemm(false, false, n, columns, n - j, T(1), phi.data() + j, n, inverse.data() + j * n + j, n, T(0),
           scaled.data() + j, n);
    }
  }
  symmetric_product(n, T(1), inverse.data(), scaled.data(), out, accumulate);
}

template <class T>
class Cholesky final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  std::string_view name() const override { return "cholesky"; }
  Shape shape(const Shapes& in, int) const override {
    square_batch("cholesky", in[0]);
    return in[0];
  }
  std::uint32_t needs() const override { return Needs::output; }

  void forward(Forward<T>& c) override {
    factor("cholesky", square_batch("cholesky", c.input(0).shape), c.input(0).data, c.output().data);
  }

  void backward(Backward<T>& c) override {
    const auto l = c.output(), g = c.gradient();
    const MatrixBatch batch = square_batch("cholesky", l.shape);
    const Target<T> out = c.target(0);
    for_matrices(batch.count, batch.rows, [&](Int i) {
      const Int at = i * batch.elements();
      cholesky_backward(batch.rows, l.data + at, g.data + at, out.data + at, out.accumulate);
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> l = c.output();
    const Var<T> g = detail::triangle(c.gradient(), true);
    // sym(Phi(x)): half of the lower triangle on both sides, and half of the diagonal.
    const Var<T> middle = detail::matrix_parts(matmul(l, g, {.transpose_a = true}), {0.5, 0.5, 0}, {0, 0, 0.5});
    const Var<T> left = triangular_solve(l, middle, {.transpose = true});
    c.add(0, triangular_solve(l, detail::adjoint(left), {.transpose = true}));
  }
};

// Its gradient is s^-1: Giles 2008, "Collected matrix derivative results".
template <class T>
class LogDetSpd final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  std::string_view name() const override { return "logdet_spd"; }
  Shape shape(const Shapes& in, int) const override {
    square_batch("logdet_spd", in[0]);
    return Shape(in[0].begin(), in[0].end() - 2);
  }
  std::uint32_t needs() const override { return Needs::input(0); }

  void forward(Forward<T>& c) override {
    const auto s = c.input(0);
    const MatrixBatch batch = square_batch("logdet_spd", s.shape);
    const Int n = batch.rows;
    factor_ = empty_tensor<T>(s.shape);
    factor("logdet_spd", batch, s.data, factor_.data());
    for (Int i = 0; i < batch.count; ++i) {
      double sum = 0;
      for (Int j = 0; j < n; ++j) sum += std::log(static_cast<double>(factor_.data()[(i * n + j) * n + j]));
      c.output()[i] = static_cast<T>(2 * sum);
    }
  }

  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    const MatrixBatch batch = square_batch("logdet_spd", c.input_shape(0));
    const Int n = batch.rows;
    const Target<T> out = c.target(0);
    for_matrices(batch.count, n, [&](Int item) {
      const auto elements = static_cast<std::size_t>(n * n);
      const Scratch<T> inverse(elements);
      std::copy_n(factor_.data() + item * n * n, n * n, inverse.data());
      detail::invert_lower(n, inverse.data(), n);
      symmetric_product(n, g[item], inverse.data(), inverse.data(), out.data + item * n * n, out.accumulate);
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> l = cholesky(c.input(0));
    const Var<T> inverse_factor = triangular_solve(l, detail::identity<T>(l.shape().back()));
    c.add(0, detail::as_column(detail::as_column(c.gradient())) *
                 matmul(inverse_factor, inverse_factor, {.transpose_a = true}));
  }

 private:
  Tensor<T> factor_;
};

}  // namespace

void detail::register_cholesky() {
  register_operations<Cholesky>("cholesky");
  register_operations<LogDetSpd>("logdet_spd");
}

template <class T>
Var<T> cholesky(const Var<T>& s) {
  return record(std::make_unique<Cholesky<T>>(), s);
}

template <class T>
Var<T> logdet_spd(const Var<T>& s) {
  return record(std::make_unique<LogDetSpd<T>>(), s);
}

#define TAPESTRY_INSTANTIATE(T)            \
  template Var<T> cholesky(const Var<T>&); \
  template Var<T> logdet_spd(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
