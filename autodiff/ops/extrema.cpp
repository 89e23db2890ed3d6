#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/axis_reduction.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/positions.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

template <class T>
class Extremum final : public AxisReduction<T> {
 public:
  Extremum(std::string_view name, int begin, int end, const Shape& result, bool largest)
      : AxisReduction<T>(name, begin, end, result), largest_(largest) {}
  Extremum(Attributes& a, std::string_view name) : AxisReduction<T>(a, name), largest_(name == "max") {}
  Shape shape(const detail::Shapes& in, int) const override {
    if (in[0].elements() == 0 && this->result().elements() != 0)
      fail<ShapeError>(this->name(), "of no elements; shape ", in[0]);
    return this->result();
  }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    const auto kernel = largest_ ? kernels<ReduceKernels<T>>().maximum : kernels<ReduceKernels<T>>().minimum;
    const AxisView v = this->view(x.shape);
    for_outer(v, grain, [&](std::size_t o, AxisView part) {
      kernel(x.data + o * v.axis * v.inner, part, c.output().data + o * v.inner);
    });
  }
  void backward(Backward<T>& c) override { this->backward_by(kernels<ReduceKernels<T>>().extremum_backward, c, grain); }
  void vjp(Vjp<T>& c) override { c.add(0, shared(this->kept(c.gradient(), c.shape(0)), c.input(0), c.output())); }
  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    return {reshape(sum(shared(c.tangent(0), c.input(0), c.output()), this->axes()), this->result())};
  }

 private:
  // g divided among the elements that equal the extremum.
  Var<T> shared(const Var<T>& g, const Var<T>& x, const Var<T>& y) const {
    const Var<T> ties = equal(x, this->kept(y, x.shape()).detach());
    return where(ties, g / sum(ties, this->axes(), true), Var<T>(T(0)));
  }

  bool largest_;
};

}  // namespace

void register_extrema() {
  register_operations<Extremum>("max", "min");
}

namespace {

template <class T>
IndexTensor argument(std::string_view name, const T* x, const Shape& shape, int begin, int end, const Shape& result,
                     bool largest) {
  if (shape.elements() == 0 && result.elements() != 0) fail<ShapeError>(name, "of no elements; shape ", shape);
  IndexTensor out = empty_tensor<std::int64_t>(result);
  const auto kernel = largest ? kernels<ReduceKernels<T>>().argmax : kernels<ReduceKernels<T>>().argmin;
  const AxisView v = axis_view(shape, begin, end);
  if (out.size() == 0) return out;
  for_outer(v, grain,
            [&](std::size_t o, AxisView part) { kernel(x + o * v.axis * v.inner, part, out.data() + o * v.inner); });
  return out;
}

template <class T>
IndexTensor argument(std::string_view name, const Var<T>& x, std::int64_t axis, bool keep_dims, bool largest) {
  const int along = normalize_axis(name, axis, x.shape());
  Shape result = x.shape();
  result[along] = 1;
  if (!keep_dims) result.erase(along);
  return argument(name, read_for_positions(name, x), x.shape(), along, along + 1, result, largest);
}

}  // namespace
}  // namespace detail

template <class T>
Var<T> max(const Var<T>& x, const Axes& axes, bool keep_dims) {
  return detail::reduce_axes<detail::Extremum<T>>("max", x, axes, keep_dims, true);
}
template <class T>
Var<T> min(const Var<T>& x, const Axes& axes, bool keep_dims) {
  return detail::reduce_axes<detail::Extremum<T>>("min", x, axes, keep_dims, false);
}

template <class T>
IndexTensor argmax(const Var<T>& x, std::int64_t axis, bool keep_dims) {
  return detail::argument("argmax", x, axis, keep_dims, true);
}
template <class T>
IndexTensor argmin(const Var<T>& x, std::int64_t axis, bool keep_dims) {
  return detail::argument("argmin", x, axis, keep_dims, false);
}
template <class T>
std::int64_t argmax(const Var<T>& x) {
  return detail::argument("argmax", detail::read_for_positions("argmax", x), x.shape(), 0, x.rank(), {}, true)();
}
template <class T>
std::int64_t argmin(const Var<T>& x) {
  return detail::argument("argmin", detail::read_for_positions("argmin", x), x.shape(), 0, x.rank(), {}, false)();
}

#define TAPESTRY_INSTANTIATE(T)                                   \
  template Var<T> max(const Var<T>&, const Axes&, bool);          \
  template Var<T> min(const Var<T>&, const Axes&, bool);          \
  template IndexTensor argmax(const Var<T>&, std::int64_t, bool); \
  template IndexTensor argmin(const Var<T>&, std::int64_t, bool); \
  template std::int64_t argmax(const Var<T>&);                    \
  template std::int64_t argmin(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
