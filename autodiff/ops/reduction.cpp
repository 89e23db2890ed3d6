#include <tapestry/autodiff/ops/reduction.hpp>

#include <algorithm>
#include <array>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry {
namespace detail {
namespace {

struct MergedAxis {
  std::int64_t extent;
  bool summed;
};

// The axes of x, neighbours of a kind merged, outermost first.
std::vector<MergedAxis> merge(const Shape& x, const Shape& out) {
  std::vector<MergedAxis> axes;
  const int missing = x.rank() - out.rank();
  for (int i = 0; i < x.rank(); ++i) {
    if (x[i] == 1) continue;
    const bool summed = i < missing || out[i - missing] == 1;
    if (!axes.empty() && axes.back().summed == summed)
      axes.back().extent *= x[i];
    else
      axes.push_back({x[i], summed});
  }
  return axes;
}

template <class T>
void sum_axes(const T* x, std::span<const MergedAxis> axes, std::int64_t x_elements, T* out,
              std::int64_t out_elements) {
  const auto& table = kernels<ElementwiseKernels<T>>();
  if (axes.empty()) {
    *out += *x;
    return;
  }
  if (axes.size() == 1) {
    if (axes[0].summed)
      *out += table.sum(x, static_cast<std::size_t>(axes[0].extent));
    else
      table.accumulate(x, out, static_cast<std::size_t>(axes[0].extent));
    return;
  }
  const std::int64_t step = x_elements / axes[0].extent;
  const std::int64_t out_step = axes[0].summed ? 0 : out_elements / axes[0].extent;
  for (std::int64_t i = 0; i < axes[0].extent; ++i)
    sum_axes(x + i * step, axes.subspan(1), step, out + i * out_step, axes[0].summed ? out_elements : out_step);
}

}  // namespace

template <class T>
void sum_to(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate) {
  if (!accumulate) std::fill_n(out, out_shape.elements(), T(0));
  if (x_shape.elements() == 0) return;
  sum_axes<T>(x, merge(x_shape, out_shape), x_shape.elements(), out, out_shape.elements());
}

template void sum_to(const float*, const Shape&, float*, const Shape&, bool);
template void sum_to(const double*, const Shape&, double*, const Shape&, bool);

namespace {

template <class T>
class Sum final : public Operation<T> {
 public:
  explicit Sum(std::array<bool, Shape::max_rank> summed, bool keep_dims) : summed_(summed), keep_dims_(keep_dims) {}
  std::string_view name() const override { return "sum"; }
  Shape shape(const Shapes& in, int) const override { return reduced_shape(in[0], summed_, keep_dims_); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    sum_to(x.data, x.shape, c.output().data, reduced_shape(x.shape, summed_, true), false);
  }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    broadcast_copy(c.gradient().data, reduced_shape(out.shape, summed_, true), out.data, out.shape, out.accumulate);
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> kept = reshape(c.gradient(), reduced_shape(c.shape(0), summed_, true));
    c.add(0, broadcast_to(kept, c.shape(0)));
  }

 private:
  std::array<bool, Shape::max_rank> summed_;
  bool keep_dims_;
};

template <class T>
class SumTo final : public Operation<T> {
 public:
  explicit SumTo(const Shape& target) : target_(target) {}
  std::string_view name() const override { return "sum_to"; }
  Shape shape(const Shapes& in, int) const override {
    if (broadcast("sum_to", in[0], target_) != in[0])
      fail<ShapeError>("sum_to", target_, " does not broadcast to ", in[0]);
    return target_;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    sum_to(x.data, x.shape, c.output().data, target_, false);
  }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    broadcast_copy(c.gradient().data, target_, out.data, out.shape, out.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, broadcast_to(c.gradient(), c.shape(0))); }

 private:
  Shape target_;
};

}  // namespace
}  // namespace detail

template <class T>
Var<T> sum(const Var<T>& x, const Axes& axes, bool keep_dims) {
  const auto mask = axis_mask("sum", axes, x.rank());
  return record(std::make_unique<detail::Sum<T>>(mask, keep_dims), x);
}

template <class T>
Var<T> mean(const Var<T>& x, const Axes& axes, bool keep_dims) {
  const auto mask = axis_mask("mean", axes, x.rank());
  std::int64_t count = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (mask[static_cast<std::size_t>(i)]) count *= x.shape()[i];
  if (count == 0) fail<ShapeError>("mean", "of no elements; shape ", x.shape());
  return sum(x, axes, keep_dims) * (T(1) / static_cast<T>(count));
}

template <class T>
Var<T> sum_to(const Var<T>& x, const Shape& shape) {
  return record(std::make_unique<detail::SumTo<T>>(shape), x);
}

#define TAPESTRY_INSTANTIATE(T)                           \
  template Var<T> sum(const Var<T>&, const Axes&, bool);  \
  template Var<T> mean(const Var<T>&, const Axes&, bool); \
  template Var<T> sum_to(const Var<T>&, const Shape&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
