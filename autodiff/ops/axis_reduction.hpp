#pragma once

#include <numeric>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/axis_split.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry::detail {

/// Base of reductions over axes that lie side by side, [begin, end).
template <class T>
class AxisReduction : public Operation<T>, public SavedOperation {
 public:
  AxisReduction(std::string_view name, int begin, int end, const Shape& result)
      : name_(name), begin_(begin), end_(end), result_(result) {}
  AxisReduction(Attributes& a, std::string_view name) : name_(name) { AxisReduction::attributes(a); }
  void attributes(Attributes& a) final {
    a(begin_), a(end_), a(result_);
    Attributes::require(begin_ >= 0 && begin_ <= end_);
  }
  bool suits(const detail::Shapes& in) override {
    if (end_ > in[0].rank()) return false;
    const AxisView v = view(in[0]);
    return static_cast<std::int64_t>(v.outer * v.inner) == result_.elements();
  }
  std::string_view name() const override { return name_; }
  Shape shape(const detail::Shapes&, int) const override { return result_; }

 protected:
  AxisView view(const Shape& x) const { return axis_view(x, begin_, end_); }
  /// A result with axes of extent 1, that broadcasts to the input.
  Var<T> kept(const Var<T>& y, Shape x) const {
    for (int i = begin_; i < end_; ++i) x[i] = 1;
    return reshape(y, x);
  }
  Axes axes() const {
    Axes axes(static_cast<std::size_t>(end_ - begin_));
    std::iota(axes.begin(), axes.end(), begin_);
    return axes;
  }
  const Shape& result() const { return result_; }
  /// backward() by a kernel of the result's gradient, the input and the result.
  template <class Kernel>
  void backward_by(Kernel kernel, Backward<T>& c, std::int64_t grain) const {
    const T* const g = c.gradient().data;
    const T* const x = c.input(0).data;
    const T* const y = c.output().data;
    const Target<T> out = c.target(0);
    const AxisView v = view(out.shape);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      const std::size_t to = o * v.axis * v.inner, at = o * v.inner;
      kernel(g + at, x + to, y + at, part, out.data + to, out.accumulate);
    });
  }

 private:
  std::string_view name_;
  int begin_ = 0, end_ = 0;
  Shape result_;
};

/// Records an AxisReduction over any axes: where they do not lie side by side, of x with these axes moved to the end.
template <class Op, class T, class... Arguments>
Var<T> reduce_axes(std::string_view name, const Var<T>& x, const Axes& axes, bool keep_dims, Arguments... arguments) {
  const auto mask = axis_mask(name, axes, x.shape());
  const Shape result = reduced_shape(x.shape(), mask, keep_dims);
  Axes order;
  int begin = 0, end = 0;
  bool apart = false;
  for (int i = 0; i < x.rank(); ++i) {
    if (!mask[static_cast<std::size_t>(i)]) {
      order.push_back(i);
      continue;
    }
    if (end == 0) begin = end = i;
    for (; end < i; ++end) apart |= !mask[static_cast<std::size_t>(end)] && x.shape()[end] != 1;
    end = i + 1;
  }
  if (!apart) return record(std::make_unique<Op>(name, begin, end, result, arguments...), x);
  const auto kept = static_cast<int>(order.size());
  for (int i = 0; i < x.rank(); ++i)
    if (mask[static_cast<std::size_t>(i)]) order.push_back(i);
  return record(std::make_unique<Op>(name, kept, x.rank(), result, arguments...), transpose(x, order));
}

}  // namespace tapestry::detail
