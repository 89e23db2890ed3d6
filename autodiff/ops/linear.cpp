#include <tapestry/autodiff/ops/linear.hpp>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/affine.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/storage.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;

// The derivative of every activation follows from its value: the sum before it is not kept. Without a bias there are
// two inputs.
template <class T>
class Linear final : public Operation<T>, public SavedOperation, public detail::AffineOperation {
  using typename Operation<T>::Shapes;

 public:
  explicit Linear(Activation activation) : activation_(activation) {}
  explicit Linear(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(activation_);
    Attributes::require(activation_ >= Activation::none && activation_ <= Activation::softplus);
  }

  bool affine() const override { return true; }
  Activation activation() const override { return activation_; }

  std::string_view name() const override { return "linear"; }
  Shape shape(const Shapes& in, int) const override {
    if (in.size() < 2) fail<ShapeError>("linear", "takes two or three inputs");
    const Shape &x = in[0], &w = in[1];
    if (x.rank() < 1 || w.rank() != 2 || x.back() != w[0])
      fail<ShapeError>("linear", "inner dimensions differ: ", x, " x ", w);
    if (in.size() > 2 && in[2] != Shape{w[1]})
      fail<ShapeError>("linear", "a bias of shape ", in[2], " does not fit a weight ", w);
    Shape out = x;
    out[out.rank() - 1] = w[1];
    return out;
  }
  std::uint32_t needs() const override {
    return Needs::input(0) | Needs::input(1) | (activation_ == Activation::none ? Needs::nothing : Needs::output);
  }

  void forward(Forward<T>& c) override {
    const auto x = c.input(0), w = c.input(1);
    const T* bias = c.inputs() > 2 ? c.input(2).data : nullptr;
    const auto y = c.output();
    const Int in = w.shape[0], out = w.shape[1], rows = rows_in(y.shape);
    detail::gemm(false, false, rows, out, in, T(1), x.data, in, w.data, out, T(0), y.data, out);
    detail::add_bias_and_activate(activation_, rows, out, bias, y.data);
  }

  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    const Shape& w = c.input_shape(1);
    const Int in = w[0], out = w[1], rows = rows_in(g.shape);
    const bool inner = activation_ != Activation::none;
    const detail::Scratch<T> scratch(inner ? static_cast<std::size_t>(g.size()) : 0);
    const T* gz = inner ? scratch.data() : g.data;
    const bool bias = c.inputs() > 2 && c.wants(2);
    detail::before_activation(activation_, rows, out, g.data, inner ? c.output().data : nullptr, scratch.data(),
                              bias ? c.add_to(2) : nullptr);
    if (c.wants(0)) {
      const Target<T> to = c.target(0);
      detail::gemm(false, true, rows, in, out, T(1), gz, out, c.input(1).data, out, to.accumulate ? T(1) : T(0),
                   to.data, in);
    }
    if (c.wants(1)) {
      const Target<T> to = c.target(1);
      detail::gemm(true, false, in, out, rows, T(1), c.input(0).data, in, gz, out, to.accumulate ? T(1) : T(0), to.data,
                   out);
    }
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> gz = c.gradient() * slope(c.output());
    const Shape& w = c.shape(1);
    if (c.wants(0)) c.add(0, matmul(gz, c.input(1), {.transpose_b = true}));
    if (c.wants(1)) {
      const Int rows = rows_in(gz.shape());
      c.add(1, matmul(reshape(c.input(0), Shape{rows, w[0]}), reshape(gz, Shape{rows, w[1]}), {.transpose_a = true}));
    }
    if (c.inputs() > 2 && c.wants(2)) c.add(2, gz);
  }

  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    Var<T> sum;
    const auto add = [&](const Var<T>& term) { sum = sum.defined() ? sum + term : term; };
    if (c.has_tangent(0)) add(matmul(c.tangent(0), c.input(1)));
    if (c.has_tangent(1)) add(matmul(c.input(0), c.tangent(1)));
    if (c.inputs() > 2 && c.has_tangent(2)) {
      Shape shape = c.input(0).shape();
      shape[shape.rank() - 1] = c.input(1).shape()[1];
      add(broadcast_to(c.tangent(2), shape));
    }
    return {sum * slope(c.output())};
  }

 private:
  static Int rows_in(const Shape& y) {
    Int rows = 1;
    for (int i = 0; i + 1 < y.rank(); ++i) rows *= y[i];
    return rows;
  }
  Var<T> slope(const Var<T>& y) const {
    switch (activation_) {
      case Activation::relu:
        return sign(y);
      case Activation::sigmoid:
        return y * (T(1) - y);
      case Activation::tanh:
        return T(1) - square(y);
      case Activation::softplus:
        return -expm1(-y);
      default:
        return Var<T>(T(1));
    }
  }

  Activation activation_;
};

}  // namespace

void detail::register_linear() {
  register_operation<Linear<float>>("linear");
  register_operation<Linear<double>>("linear");
}

template <class T>
Var<T> linear(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, Activation activation) {
  return record(std::make_unique<Linear<T>>(activation), x, weight, bias);
}

template <class T>
Var<T> linear(const Var<T>& x, const Var<T>& weight, Activation activation) {
  return record(std::make_unique<Linear<T>>(activation), x, weight);
}

#define TAPESTRY_INSTANTIATE(T)                                                    \
  template Var<T> linear(const Var<T>&, const Var<T>&, const Var<T>&, Activation); \
  template Var<T> linear(const Var<T>&, const Var<T>&, Activation);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
