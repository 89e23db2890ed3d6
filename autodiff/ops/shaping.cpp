#include <tapestry/autodiff/ops/shaping.hpp>

#include <algorithm>
#include <cstring>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/broadcast_plan.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>

namespace tapestry {
namespace detail {

template <class T>
void broadcast_copy(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate) {
  const auto& table = kernels<ElementwiseKernels<T>>();
  const auto add = table.binary[static_cast<int>(Binary::add)];
  const BroadcastPlan plan(x_shape, out_shape, out_shape);
  plan.for_each_run(
      [&](std::int64_t from, std::size_t stride, std::int64_t, std::size_t, std::int64_t to, std::int64_t n) {
        const auto length = static_cast<std::size_t>(n);
        if (accumulate)
          add(x + from, stride, out + to, 1, out + to, length);
        else if (stride == 0)
          table.fill(x[from], out + to, length);
        else
          std::memcpy(out + to, x + from, length * sizeof(T));
      });
}

template void broadcast_copy(const float*, const Shape&, float*, const Shape&, bool);
template void broadcast_copy(const double*, const Shape&, double*, const Shape&, bool);

namespace {

template <class T>
class Reshape final : public Operation<T> {
 public:
  explicit Reshape(const Shape& target) : target_(target) {}
  std::string_view name() const override { return "reshape"; }
  Shape shape(const Shapes& in, int) const override {
    if (in[0].elements() != target_.elements())
      fail<ShapeError>("reshape", "shape ", in[0], " has ", in[0].elements(), " elements, ", target_, " has ",
                       target_.elements());
    return target_;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  bool shares_input() const override { return true; }
  void forward(Forward<T>& c) override { std::copy_n(c.input(0).data, c.output().size(), c.output().data); }
  void backward(Backward<T>& c) override { c.pass(0); }
  void vjp(Vjp<T>& c) override { c.add(0, reshape(c.gradient(), c.shape(0))); }

 private:
  Shape target_;
};

template <class T>
class BroadcastTo final : public Operation<T> {
 public:
  explicit BroadcastTo(const Shape& target) : target_(target) {}
  std::string_view name() const override { return "broadcast_to"; }
  Shape shape(const Shapes& in, int) const override {
    if (broadcast("broadcast_to", in[0], target_) != target_)
      fail<ShapeError>("broadcast_to", in[0], " does not broadcast to ", target_);
    return target_;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    broadcast_copy(c.input(0).data, c.input(0).shape, c.output().data, target_, false);
  }
  void backward(Backward<T>& c) override { c.pass_reduced(0); }
  void vjp(Vjp<T>& c) override { c.add(0, sum_to(c.gradient(), c.shape(0))); }

 private:
  Shape target_;
};

}  // namespace
}  // namespace detail

template <class T>
Var<T> reshape(const Var<T>& x, const Shape& shape) {
  return record(std::make_unique<detail::Reshape<T>>(shape), x);
}

template <class T>
Var<T> reshape(const Var<T>& x, std::vector<std::int64_t> shape) {
  std::int64_t known = 1;
  std::int64_t* unknown = nullptr;
  for (std::int64_t& extent : shape) {
    if (extent != -1) {
      known *= extent;
    } else {
      if (unknown != nullptr) fail<ShapeError>("reshape", "more than one extent of -1");
      unknown = &extent;
    }
  }
  if (unknown != nullptr) {
    if (known == 0 || x.size() % known != 0)
      fail<ShapeError>("reshape", "no extent makes ", x.shape(), " fit beside ", known, " elements");
    *unknown = x.size() / known;
  }
  return reshape(x, Shape(shape.begin(), shape.end()));
}

template <class T>
Var<T> broadcast_to(const Var<T>& x, const Shape& shape) {
  return record(std::make_unique<detail::BroadcastTo<T>>(shape), x);
}

#define TAPESTRY_INSTANTIATE(T)                                      \
  template Var<T> reshape(const Var<T>&, const Shape&);              \
  template Var<T> reshape(const Var<T>&, std::vector<std::int64_t>); \
  template Var<T> broadcast_to(const Var<T>&, const Shape&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
