#include <tapestry/autodiff/ops/cumulative.hpp>

#include <limits>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/axis_reduction.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 8192;

// x moved one place along an axis, to higher positions or to lower ones; `fill` comes in.
template <class T>
Var<T> moved(const Var<T>& x, int axis, bool up, T fill) {
  const std::int64_t n = x.shape()[axis];
  if (n == 0) return x;
  std::vector<std::pair<std::int64_t, std::int64_t>> widths(x.shape().size());
  widths[static_cast<std::size_t>(axis)] = up ? std::pair{1, 0} : std::pair{0, 1};
  return pad(slice(x, axis, up ? Slice{0, n - 1} : Slice{1, n}), widths, fill);
}

// Base of operations along an axis that keep the shape.
template <class T>
class Scan : public Operation<T>, public SavedOperation {
 public:
  Scan(std::string_view name, int axis) : name_(name), axis_(axis) {}
  void attributes(Attributes& a) override {
    a(axis_);
    Attributes::require(axis_ >= 0);
  }
  bool suits(const detail::Shapes& in) override { return axis_ < in[0].rank(); }
  std::string_view name() const override { return name_; }
  Shape shape(const detail::Shapes& in, int) const override { return in[0]; }

 protected:
  int axis() const { return axis_; }
  template <class F>
  void for_parts(const Shape& shape, F f) const {
    const AxisView v = axis_view(shape, axis_, axis_ + 1);
    for_outer(v, grain, [&](std::size_t o, AxisView part) { f(o * v.axis * v.inner, part); });
  }

 private:
  std::string_view name_;
  int axis_;
};

template <class T>
class CumulativeSum final : public Scan<T> {
 public:
  explicit CumulativeSum(int axis = 0, bool reverse = false) : Scan<T>("cumsum", axis), reverse_(reverse) {}
  void attributes(Attributes& a) override { Scan<T>::attributes(a), a(reverse_); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    this->for_parts(c.output().shape, [&](std::size_t at, AxisView part) {
      kernels<ReduceKernels<T>>().cumsum(c.input(0).data + at, part, c.output().data + at, reverse_);
    });
  }
  void backward(Backward<T>& c) override {
    const T* const g = c.gradient().data;
    const Target<T> out = c.target(0);
    const Scratch<T> sums(out.accumulate ? static_cast<std::size_t>(out.size()) : 0);
    T* const to = out.accumulate ? sums.data() : out.data;
    this->for_parts(out.shape, [&](std::size_t at, AxisView part) {
      kernels<ReduceKernels<T>>().cumsum(g + at, part, to + at, !reverse_);
    });
    if (!out.accumulate) return;
    kernels<ElementwiseKernels<T>>().accumulate(to, out.data, static_cast<std::size_t>(out.size()));
  }
  void vjp(Vjp<T>& c) override { c.add(0, cumsum(c.gradient(), this->axis(), !reverse_)); }

 private:
  bool reverse_;
};

template <class T>
class CumulativeProduct final : public Scan<T> {
 public:
  explicit CumulativeProduct(int axis = 0) : Scan<T>("cumprod", axis) {}
  void forward(Forward<T>& c) override {
    this->for_parts(c.output().shape, [&](std::size_t at, AxisView part) {
      kernels<ReduceKernels<T>>().cumprod(c.input(0).data + at, part, c.output().data + at);
    });
  }
  void backward(Backward<T>& c) override {
    const T* const g = c.gradient().data;
    const T* const x = c.input(0).data;
    const Target<T> out = c.target(0);
    this->for_parts(out.shape, [&](std::size_t at, AxisView part) {
      kernels<ReduceKernels<T>>().cumprod_backward(g + at, x + at, part, out.data + at, out.accumulate);
    });
  }
  // What follows an element is summed up from the end, what precedes it is the output before it: nothing is divided.
  void vjp(Vjp<T>& c) override {
    const int axis = this->axis();
    const Var<T> after = linear_recurrence(moved(c.input(0), axis, false, T(0)), c.gradient(), axis, true);
    c.add(0, after * moved(c.output(), axis, true, T(1)));
  }
};

template <class T>
class LogCumulativeSumExp final : public Scan<T> {
 public:
  explicit LogCumulativeSumExp(int axis = 0) : Scan<T>("logcumsumexp", axis) {}
  void forward(Forward<T>& c) override {
    this->for_parts(c.output().shape, [&](std::size_t at, AxisView part) {
      kernels<ReduceKernels<T>>().logcumsumexp(c.input(0).data + at, part, c.output().data + at);
    });
  }
  void backward(Backward<T>& c) override {
    const T* const g = c.gradient().data;
    const T* const x = c.input(0).data;
    const T* const y = c.output().data;
    const Target<T> out = c.target(0);
    this->for_parts(out.shape, [&](std::size_t at, AxisView part) {
      kernels<ReduceKernels<T>>().logcumsumexp_backward(g + at, x + at, y + at, part, out.data + at, out.accumulate);
    });
  }
  void vjp(Vjp<T>& c) override {
    const int axis = this->axis();
    const Var<T> y = c.output(), next = moved(y, axis, false, std::numeric_limits<T>::infinity());
    const Var<T> after = linear_recurrence(exp_difference(y, next), c.gradient(), axis, true);
    c.add(0, after * exp_difference(c.input(0), y));
  }
};

template <class T>
class LinearRecurrence final : public Scan<T> {
 public:
  explicit LinearRecurrence(int axis = 0, bool reverse = false)
      : Scan<T>("linear_recurrence", axis), reverse_(reverse) {}
  void attributes(Attributes& a) override { Scan<T>::attributes(a), a(reverse_); }
  bool suits(const detail::Shapes& in) override { return in.size() == 2 && in[0] == in[1] && Scan<T>::suits(in); }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::output; }
  void forward(Forward<T>& c) override {
    const auto y = c.output();
    run(c.input(0).data, c.input(1).data, y.data, y.shape, reverse_, false);
  }
  void backward(Backward<T>& c) override {
    const auto g = c.gradient(), y = c.output();
    const Scratch<T> r(static_cast<std::size_t>(g.size()));
    run(c.input(0).data, g.data, r.data(), g.shape, !reverse_, true);
    if (c.wants(1)) {
      const Target<T> out = c.target(1);
      for (std::int64_t i = 0; i < g.size(); ++i) {
        const auto k = static_cast<std::size_t>(i);
        out.data[i] = out.accumulate ? out.data[i] + r[k] : r[k];
      }
    }
    if (!c.wants(0)) return;
    const Target<T> out = c.target(0);
    const AxisView v = axis_view(g.shape, this->axis(), this->axis() + 1);
    for (std::size_t o = 0; o < v.outer; ++o)
      for (std::size_t a = 0; a < v.axis; ++a) {
        const std::size_t at = (o * v.axis + a) * v.inner;
        const bool first = a == (reverse_ ? v.axis - 1 : 0);
        const std::size_t before = reverse_ ? at + v.inner : at - v.inner;
        for (std::size_t i = 0; i < v.inner; ++i) {
          const T d = first ? T(0) : r[at + i] * y.data[before + i];
          out.data[at + i] = out.accumulate ? out.data[at + i] + d : d;
        }
      }
  }
  void vjp(Vjp<T>& c) override {
    const int axis = this->axis();
    const Var<T> r = linear_recurrence(moved(c.input(0), axis, reverse_, T(0)), c.gradient(), axis, !reverse_);
    if (c.wants(0)) c.add(0, r * moved(c.output(), axis, !reverse_, T(0)));
    if (c.wants(1)) c.add(1, r);
  }

 private:
  // With `late`, the factor of the step before is used: that of the transposed recurrence.
  void run(const T* a, const T* b, T* y, const Shape& shape, bool reverse, bool late) const {
    this->for_parts(shape, [&](std::size_t start, AxisView v) {
      for (std::size_t o = 0; o < v.outer; ++o)
        for (std::size_t step = 0; step < v.axis; ++step) {
          const std::size_t at = start + (o * v.axis + (reverse ? v.axis - 1 - step : step)) * v.inner;
          const std::size_t before = reverse ? at + v.inner : at - v.inner;
          const std::size_t factor = late ? before : at;
          for (std::size_t i = 0; i < v.inner; ++i)
            y[at + i] = step == 0 ? b[at + i] : a[factor + i] * y[before + i] + b[at + i];
        }
    });
  }

  bool reverse_;
};

template <class T>
class Product final : public AxisReduction<T> {
 public:
  using AxisReduction<T>::AxisReduction;
  std::uint32_t needs() const override { return Needs::input(0); }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    const AxisView v = this->view(x.shape);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      kernels<ReduceKernels<T>>().product(x.data + o * v.axis * v.inner, part, c.output().data + o * v.inner);
    });
  }
  void backward(Backward<T>& c) override {
    const T* const g = c.gradient().data;
    const T* const x = c.input(0).data;
    const Target<T> out = c.target(0);
    const AxisView v = this->view(out.shape);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      const std::size_t at = o * v.axis * v.inner;
      kernels<ReduceKernels<T>>().product_backward(g + o * v.inner, x + at, part, out.data + at, out.accumulate);
    });
  }
  // The product of the others: of those before times those after.
  void vjp(Vjp<T>& c) override {
    const AxisView v = this->view(c.shape(0));
    const Shape rows{static_cast<std::int64_t>(v.outer), static_cast<std::int64_t>(v.axis),
                     static_cast<std::int64_t>(v.inner)};
    const Var<T> x = reshape(c.input(0), rows);
    const Var<T> before = moved(cumprod(x, 1), 1, true, T(1));
    const Var<T> after = flip(moved(cumprod(flip(x, {1}), 1), 1, true, T(1)), {1});
    c.add(0, this->kept(c.gradient(), c.shape(0)) * reshape(before * after, c.shape(0)));
  }
};

}  // namespace

void register_cumulative() {
  register_operations<CumulativeSum>("cumsum");
  register_operations<CumulativeProduct>("cumprod");
  register_operations<LogCumulativeSumExp>("logcumsumexp");
  register_operations<LinearRecurrence>("linear_recurrence");
  register_operations<Product>("prod");
}

}  // namespace detail

template <class T>
Var<T> cumsum(const Var<T>& x, std::int64_t axis, bool reverse) {
  return record(std::make_unique<detail::CumulativeSum<T>>(normalize_axis("cumsum", axis, x.shape()), reverse), x);
}

template <class T>
Var<T> cumprod(const Var<T>& x, std::int64_t axis) {
  return record(std::make_unique<detail::CumulativeProduct<T>>(normalize_axis("cumprod", axis, x.shape())), x);
}

template <class T>
Var<T> logcumsumexp(const Var<T>& x, std::int64_t axis) {
  return record(std::make_unique<detail::LogCumulativeSumExp<T>>(normalize_axis("logcumsumexp", axis, x.shape())), x);
}

template <class T>
Var<T> linear_recurrence(const Var<T>& a, const Var<T>& b, std::int64_t axis, bool reverse) {
  const Shape common = broadcast("linear_recurrence", a.shape(), b.shape());
  const int along = normalize_axis("linear_recurrence", axis, common);
  return record(std::make_unique<detail::LinearRecurrence<T>>(along, reverse),
                a.shape() == common ? a : broadcast_to(a, common), b.shape() == common ? b : broadcast_to(b, common));
}

template <class T>
Var<T> prod(const Var<T>& x, const Axes& axes, bool keep_dims) {
  return detail::reduce_axes<detail::Product<T>>("prod", x, axes, keep_dims);
}

#define TAPESTRY_INSTANTIATE(T)                                                        \
  template Var<T> cumsum(const Var<T>&, std::int64_t, bool);                           \
  template Var<T> cumprod(const Var<T>&, std::int64_t);                                \
  template Var<T> logcumsumexp(const Var<T>&, std::int64_t);                           \
  template Var<T> linear_recurrence(const Var<T>&, const Var<T>&, std::int64_t, bool); \
  template Var<T> prod(const Var<T>&, const Axes&, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
