#include <tapestry/autodiff/ops/matmul.hpp>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/batched_product.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using detail::multiply_batch;
using detail::product_axes;
using detail::ProductSize;

Shape batch_of(const Shape& matrices) {
  return Shape(matrices.begin(), matrices.end() - 2);
}

Shape matrices(Shape batch, std::int64_t rows, std::int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

// The products of two arrays of rank >= 2, summed over some axes of the batch where `result` is given.
template <class T>
class MatMul final : public Operation<T>, public SavedOperation, public detail::AffineOperation {
  using typename Operation<T>::Shapes;

 public:
  MatMul(bool trans_a, bool trans_b) : trans_a_(trans_a), trans_b_(trans_b) {}
  MatMul(bool trans_a, bool trans_b, const Shape& result)
      : trans_a_(trans_a), trans_b_(trans_b), summed_(true), result_(result) {}

  explicit MatMul(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(trans_a_), a(trans_b_), a(summed_), a(result_); }

  bool affine() const override { return !trans_a_ && !trans_b_ && !summed_; }

  std::string_view name() const override { return "matmul"; }
  Shape shape(const Shapes& in, int) const override {
    if (in.size() != 2 || in[0].rank() < 2 || in[1].rank() < 2 || (summed_ && result_.rank() < 2) ||
        in[0][in[0].rank() - (trans_a_ ? 2 : 1)] != in[1][in[1].rank() - (trans_b_ ? 1 : 2)])
      fail<ShapeError>("matmul", in[0], " does not fit");
    const Shape batch = broadcast("matmul", batch_of(in[0]), batch_of(in[1]));
    const ProductSize s = size(in[0], in[1]);
    return matrices(summed_ ? batch_of(result_) : batch, s.m, s.n);
  }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::input(1); }
  Linearity linearity() const override { return Linearity::multilinear; }

  void forward(Forward<T>& c) override {
    const auto a = c.input(0), b = c.input(1);
    const auto y = c.output();
    multiply_batch(product_axes(batch(a.shape, b.shape), a.shape, b.shape, y.shape), size(a.shape, b.shape), a.data,
                   b.data, y.data, false);
  }

  void backward(Backward<T>& c) override {
    const Shape &a = c.input_shape(0), &b = c.input_shape(1);
    const auto g = c.gradient();
    const Shape all = batch(a, b);
    const ProductSize s = size(a, b);
    if (c.wants(0)) {
      const Target<T> out = c.target(0);
      const T* other = c.input(1).data;
      if (trans_a_)
        multiply_batch(product_axes(all, b, g.shape, a), {trans_b_, true, s.k, s.m, s.n}, other, g.data, out.data,
                       out.accumulate);
      else
        multiply_batch(product_axes(all, g.shape, b, a), {false, !trans_b_, s.m, s.k, s.n}, g.data, other, out.data,
                       out.accumulate);
    }
    if (c.wants(1)) {
      const Target<T> out = c.target(1);
      const T* other = c.input(0).data;
      if (trans_b_)
        multiply_batch(product_axes(all, g.shape, a, b), {true, trans_a_, s.n, s.k, s.m}, g.data, other, out.data,
                       out.accumulate);
      else
        multiply_batch(product_axes(all, a, g.shape, b), {!trans_a_, false, s.k, s.n, s.m}, other, g.data, out.data,
                       out.accumulate);
    }
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> g = c.gradient();
    if (c.wants(0))
      c.add(0, trans_a_ ? product_for(c.shape(0), c.input(1), g, trans_b_, true)
                        : product_for(c.shape(0), g, c.input(1), false, !trans_b_));
    if (c.wants(1))
      c.add(1, trans_b_ ? product_for(c.shape(1), g, c.input(0), true, trans_a_)
                        : product_for(c.shape(1), c.input(0), g, !trans_a_, false));
  }

 private:
  static Shape batch(const Shape& a, const Shape& b) { return broadcast("matmul", batch_of(a), batch_of(b)); }
  ProductSize size(const Shape& a, const Shape& b) const {
    const std::int64_t rows = a[a.rank() - 2], columns = a.back();
    return {trans_a_, trans_b_, trans_a_ ? columns : rows, trans_b_ ? b[b.rank() - 2] : b.back(),
            trans_a_ ? rows : columns};
  }

  // op(a) op(b), summed over the axes of the batch that `target` does not have, and repeated along those that only
  // `target` has.
  static Var<T> product_for(const Shape& target, const Var<T>& a, const Var<T>& b, bool trans_a, bool trans_b) {
    const Shape all = batch(a.shape(), b.shape());
    Shape result = target;
    const int missing = all.rank() + 2 - target.rank();
    for (int i = 0; i < target.rank() - 2; ++i)
      if (i + missing < 0 || all[i + missing] == 1) result[i] = 1;
    const Var<T> product = record(std::make_unique<MatMul>(trans_a, trans_b, result), a, b);
    return result == target ? product : broadcast_to(product, target);
  }

  bool trans_a_, trans_b_;
  bool summed_ = false;
  Shape result_;
};

template <class T>
void check(const Var<T>& a, const Var<T>& b, MatmulOptions options) {
  const Shape &x = a.shape(), &y = b.shape();
  const auto refuse = [&](std::string_view why) {
    fail<ShapeError>("matmul", why, ": ", x, options.transpose_a ? "^T x " : " x ", y, options.transpose_b ? "^T" : "");
  };
  if (x.rank() == 0 || y.rank() == 0) refuse("an operand has no axis");
  const std::int64_t inner_a = x.rank() > 1 && options.transpose_a ? x[x.rank() - 2] : x.back();
  const std::int64_t inner_b = y.rank() > 1 && !options.transpose_b ? y[y.rank() - 2] : y.back();
  if (inner_a != inner_b) refuse("inner dimensions differ");
  for (int i = x.rank() - 3, j = y.rank() - 3; i >= 0 && j >= 0; --i, --j)
    if (x[i] != y[j] && x[i] != 1 && y[j] != 1) refuse("leading axes do not broadcast");
}

}  // namespace

void detail::register_products() {
  register_operation<MatMul<float>>("matmul");
  register_operation<MatMul<double>>("matmul");
}

template <class T>
Var<T> matmul(const Var<T>& a, const Var<T>& b, MatmulOptions options) {
  check(a, b, options);
  const bool row = a.rank() == 1, column = b.rank() == 1;
  auto operation = std::make_unique<MatMul<T>>(options.transpose_a && !row, options.transpose_b && !column);
  if (!row && !column) return record(std::move(operation), a, b);
  const Var<T> product = record(std::move(operation), row ? reshape(a, Shape{1, a.size()}) : a,
                                column ? reshape(b, Shape{b.size(), 1}) : b);
  Shape shape = product.shape();
  if (column) shape.erase(shape.rank() - 1);
  if (row) shape.erase(shape.rank() - (column ? 1 : 2));
  return reshape(product, shape);
}

template <class T>
Var<T> dot(const Var<T>& a, const Var<T>& b) {
  if (a.rank() != 1 || a.shape() != b.shape())
    fail<ShapeError>("dot", "two vectors of one length are needed, not ", a.shape(), " and ", b.shape());
  return matmul(a, b);
}

template <class T>
Var<T> outer(const Var<T>& a, const Var<T>& b) {
  return matmul(reshape(a, Shape{a.size(), 1}), reshape(b, Shape{1, b.size()}));
}

#define TAPESTRY_INSTANTIATE(T)                                        \
  template Var<T> matmul(const Var<T>&, const Var<T>&, MatmulOptions); \
  template Var<T> dot(const Var<T>&, const Var<T>&);                   \
  template Var<T> outer(const Var<T>&, const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
