#include <tapestry/autodiff/ops/shaping.hpp>

#include <algorithm>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {

namespace {

template <class T>
class Reshape final : public Operation<T>, public SavedOperation {
 public:
  explicit Reshape(Attributes& a) { a(target_); }
  void attributes(Attributes& a) override { a(target_); }
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
class BroadcastTo final : public Operation<T>, public SavedOperation {
 public:
  explicit BroadcastTo(Attributes& a) { a(target_); }
  void attributes(Attributes& a) override { a(target_); }
  explicit BroadcastTo(const Shape& target) : target_(target) {}
  std::string_view name() const override { return "broadcast_to"; }
  Shape shape(const Shapes& in, int) const override {
    if (broadcast("broadcast_to", in[0], target_) != target_)
      fail<ShapeError>("broadcast_to", in[0], " does not broadcast to ", target_);
    return target_;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  bool elementwise_form(ElementwiseForm& form) const override {
    form.kind = ElementwiseForm::Kind::broadcast;
    return true;
  }
  void forward(Forward<T>& c) override {
    broadcast_copy(c.input(0).data, c.input(0).shape, c.output().data, target_, false);
  }
  void backward(Backward<T>& c) override { c.pass_reduced(0); }
  void vjp(Vjp<T>& c) override { c.add(0, sum_to(c.gradient(), c.shape(0))); }

 private:
  Shape target_;
};

}  // namespace

void register_shaping() {
  register_operation<Reshape<float>>("reshape");
  register_operation<Reshape<double>>("reshape");
  register_operation<BroadcastTo<float>>("broadcast_to");
  register_operation<BroadcastTo<double>>("broadcast_to");
}

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
    if (extent < -1) fail<ShapeError>("reshape", "a negative extent ", extent, " for shape ", x.shape());
    if (extent != -1) {
      known *= extent;
    } else {
      if (unknown != nullptr) fail<ShapeError>("reshape", "more than one extent of -1 for shape ", x.shape());
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

template <class T>
Var<T> squeeze(const Var<T>& x, const Axes& axes) {
  Shape shape;
  const auto mask = axis_mask("squeeze", axes, x.shape());
  for (int i = 0; i < x.rank(); ++i) {
    const bool dropped = mask[static_cast<std::size_t>(i)] && (x.shape()[i] == 1 || !axes.empty());
    if (dropped && x.shape()[i] != 1) fail<ShapeError>("squeeze", "axis ", i, " of shape ", x.shape(), " is not 1");
    if (!dropped) shape.push_back(x.shape()[i]);
  }
  return reshape(x, shape);
}

template <class T>
Var<T> expand_dims(const Var<T>& x, const Axes& axes) {
  const int rank = x.rank() + static_cast<int>(axes.size());
  if (axes.empty()) return x;
  const auto mask = axis_mask("expand_dims", axes, x.shape(), static_cast<int>(axes.size()));
  Shape shape;
  for (int i = 0, next = 0; i < rank; ++i) shape.push_back(mask[static_cast<std::size_t>(i)] ? 1 : x.shape()[next++]);
  return reshape(x, shape);
}

template <class T>
Var<T> tile(const Var<T>& x, const std::vector<std::int64_t>& times) {
  const auto count = static_cast<int>(times.size());
  const int rank = std::max(x.rank(), count);
  Shape apart, repeated, out;
  for (int i = 0; i < rank; ++i) {
    const std::int64_t extent = i < rank - x.rank() ? 1 : x.shape()[i - (rank - x.rank())];
    const std::int64_t n = i < rank - count ? 1 : times[static_cast<std::size_t>(i - (rank - count))];
    if (n < 0) fail<ShapeError>("tile", "negative number ", n, " for shape ", x.shape());
    if (n != 1) apart.push_back(1), repeated.push_back(n);
    apart.push_back(extent), repeated.push_back(extent), out.push_back(n * extent);
  }
  return reshape(broadcast_to(reshape(x, apart), repeated), out);
}

template <class T>
Var<T> repeat(const Var<T>& x, std::int64_t times, std::int64_t axis) {
  if (times < 0) fail<ShapeError>("repeat", "negative number ", times, " for shape ", x.shape());
  const int along = normalize_axis("repeat", axis, x.shape());
  Shape apart = x.shape(), repeated = x.shape(), out = x.shape();
  apart.insert(along + 1, 1);
  repeated.insert(along + 1, times);
  out[along] *= times;
  return reshape(broadcast_to(reshape(x, apart), repeated), out);
}

#define TAPESTRY_INSTANTIATE(T)                                          \
  template Var<T> reshape(const Var<T>&, const Shape&);                  \
  template Var<T> reshape(const Var<T>&, std::vector<std::int64_t>);     \
  template Var<T> broadcast_to(const Var<T>&, const Shape&);             \
  template Var<T> squeeze(const Var<T>&, const Axes&);                   \
  template Var<T> expand_dims(const Var<T>&, const Axes&);               \
  template Var<T> tile(const Var<T>&, const std::vector<std::int64_t>&); \
  template Var<T> repeat(const Var<T>&, std::int64_t, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
