#include <tapestry/autodiff/ops/reduction.hpp>

#include <array>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

template <class T>
class Sum final : public Operation<T>, public SavedOperation, public SummingOperation {
 public:
  explicit Sum(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(summed_), a(keep_dims_); }
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
    if (c.gradient().size() == 1) return c.add_uniform(0, c.gradient()[0]);
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
class SumTo final : public Operation<T>, public SavedOperation {
 public:
  explicit SumTo(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(target_); }
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

void register_reductions() {
  register_operation<Sum<float>>("sum");
  register_operation<Sum<double>>("sum");
  register_operation<SumTo<float>>("sum_to");
  register_operation<SumTo<double>>("sum_to");
}

}  // namespace detail

template <class T>
Var<T> sum(const Var<T>& x, const Axes& axes, bool keep_dims) {
  const auto mask = axis_mask("sum", axes, x.shape());
  return record(std::make_unique<detail::Sum<T>>(mask, keep_dims), x);
}

template <class T>
Var<T> mean(const Var<T>& x, const Axes& axes, bool keep_dims) {
  const auto mask = axis_mask("mean", axes, x.shape());
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
