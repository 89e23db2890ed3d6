#include <tapestry/autodiff/ops/softmax.hpp>

#include <limits>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/axis_reduction.hpp>
#include <tapestry/autodiff/ops/broadcast_plan.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 8192;

template <class T>
class ExpDifference final : public Operation<T>, public SavedOperation {
 public:
  void attributes(Attributes&) override {}
  bool suits(const Shapes& in) override { return in.size() == 2; }
  std::string_view name() const override { return "exp_difference"; }
  Shape shape(const Shapes& in, int) const override { return broadcast(name(), in[0], in[1]); }
  std::uint32_t needs() const override { return Needs::output; }
  Linearity linearity() const override { return Linearity::elementwise; }
  void forward(Forward<T>& c) override {
    constexpr T inf = std::numeric_limits<T>::infinity();
    const auto a = c.input(0), b = c.input(1);
    const auto y = c.output();
    BroadcastPlan(a.shape, b.shape, y.shape)
        .for_each_run([&](std::int64_t from_a, std::size_t stride_a, std::int64_t from_b, std::size_t stride_b,
                          std::int64_t to, std::int64_t length) {
          const T* x = a.data + from_a;
          const T* z = b.data + from_b;
          for (std::int64_t i = 0; i < length; ++i, x += stride_a, z += stride_b)
            y[to + i] = *x == -inf ? -inf : *x == *z ? T(0) : *x - *z;
        });
    kernels<ElementwiseKernels<T>>().unary[static_cast<int>(Unary::exp)](y.data, y.data,
                                                                         static_cast<std::size_t>(y.size()));
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> slope = c.gradient() * c.output();
    if (c.wants(0)) c.add(0, slope);
    if (c.wants(1)) c.add(1, -slope);
  }
};

template <class T>
class LogSumExp final : public AxisReduction<T> {
 public:
  using AxisReduction<T>::AxisReduction;
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    const AxisView v = this->view(x.shape);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      kernels<ReduceKernels<T>>().logsumexp(x.data + o * v.axis * v.inner, part, c.output().data + o * v.inner);
    });
  }
  void backward(Backward<T>& c) override {
    this->backward_by(kernels<ReduceKernels<T>>().logsumexp_backward, c, grain);
  }
  void vjp(Vjp<T>& c) override { c.add(0, this->kept(c.gradient(), c.shape(0)) * weights(c.input(0), c.output())); }
  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    return {reshape(sum(c.tangent(0) * weights(c.input(0), c.output()), this->axes()), this->result())};
  }

 private:
  Var<T> weights(const Var<T>& x, const Var<T>& y) const { return exp_difference(x, this->kept(y, x.shape())); }
};

template <class T>
class Softmax final : public Operation<T>, public SavedOperation {
 public:
  explicit Softmax(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(axis_), a(logarithm_);
    Attributes::require(axis_ >= 0);
  }
  Softmax(int axis, bool logarithm) : axis_(axis), logarithm_(logarithm) {}
  std::string_view name() const override { return logarithm_ ? "log_softmax" : "softmax"; }
  Shape shape(const Shapes& in, int) const override {
    if (axis_ >= in[0].rank()) fail<ShapeError>(name(), "there is no axis ", axis_, " in shape ", in[0]);
    return in[0];
  }
  std::uint32_t needs() const override { return Needs::output; }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    const auto& table = kernels<ReduceKernels<T>>();
    const AxisView v = axis_view(x.shape, axis_, axis_ + 1);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      const std::size_t at = o * v.axis * v.inner;
      (logarithm_ ? table.log_softmax : table.softmax)(x.data + at, part, c.output().data + at);
    });
  }
  void backward(Backward<T>& c) override {
    const T* const g = c.gradient().data;
    const T* const y = c.output().data;
    const auto& table = kernels<ReduceKernels<T>>();
    const Target<T> out = c.target(0);
    const AxisView v = axis_view(out.shape, axis_, axis_ + 1);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      const std::size_t at = o * v.axis * v.inner;
      (logarithm_ ? table.log_softmax_backward : table.softmax_backward)(g + at, y + at, part, out.data + at,
                                                                         out.accumulate);
    });
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> g = c.gradient(), y = c.output();
    c.add(0, logarithm_ ? g - exp(y) * total(g) : y * (g - total(g * y)));
  }
  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    const Var<T> t = c.tangent(0), y = c.output();
    return {logarithm_ ? t - total(exp(y) * t) : y * (t - total(t * y))};
  }

 private:
  Var<T> total(const Var<T>& x) const { return sum(x, Axes{axis_}, true); }

  int axis_;
  bool logarithm_;
};

}  // namespace

void register_softmax() {
  register_operations<ExpDifference>("exp_difference");
  register_operations<LogSumExp>("logsumexp");
  register_operations<Softmax>("softmax", "log_softmax");
}

template <class T>
Var<T> exp_difference(const Var<T>& x, const Var<T>& y) {
  static OperationBase* const operation = new ExpDifference<T>;
  return apply_shared(operation, x, y);
}

}  // namespace detail

template <class T>
Var<T> logsumexp(const Var<T>& x, const Axes& axes, bool keep_dims) {
  return detail::reduce_axes<detail::LogSumExp<T>>("logsumexp", x, axes, keep_dims);
}

template <class T>
Var<T> softmax(const Var<T>& x, std::int64_t axis) {
  return record(std::make_unique<detail::Softmax<T>>(normalize_axis("softmax", axis, x.shape()), false), x);
}

template <class T>
Var<T> log_softmax(const Var<T>& x, std::int64_t axis) {
  return record(std::make_unique<detail::Softmax<T>>(normalize_axis("log_softmax", axis, x.shape()), true), x);
}

#define TAPESTRY_INSTANTIATE(T)                                         \
  template Var<T> detail::exp_difference(const Var<T>&, const Var<T>&); \
  template Var<T> logsumexp(const Var<T>&, const Axes&, bool);          \
  template Var<T> softmax(const Var<T>&, std::int64_t);                 \
  template Var<T> log_softmax(const Var<T>&, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
