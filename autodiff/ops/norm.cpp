#include <cmath>
#include <limits>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/axis_reduction.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

// a / b, and zero where b is.
template <class T>
Var<T> ratio(const Var<T>& a, const Var<T>& b) {
  const Var<T> zero(T(0)), none = equal(b, zero);
  return where(none, zero, a / where(none, Var<T>(T(1)), b));
}

// One slice whose squares leave the range of T, by its largest element.
template <class T>
T scaled_norm(const T* x, std::size_t n, std::size_t stride) {
  T largest = 0, sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const T a = std::abs(x[i * stride]);
    if (!(a <= largest)) largest = a;
    if (largest != largest) return largest;
  }
  if (largest == 0 || std::isinf(largest)) return largest;
  for (std::size_t i = 0; i < n; ++i) {
    const T a = x[i * stride] / largest;
    sum += a * a;
  }
  return largest * std::sqrt(sum);
}

template <class T>
class EuclideanNorm final : public AxisReduction<T> {
 public:
  using AxisReduction<T>::AxisReduction;
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    const auto y = c.output();
    const AxisView v = this->view(x.shape);
    // Below, rounding of the squares to denormals would be felt.
    constexpr T small = std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon();
    for_outer(v, grain, [&](std::size_t first, AxisView part) {
      T* const to = y.data + first * v.inner;
      kernels<ReduceKernels<T>>().sum_of_squares(x.data + first * v.axis * v.inner, part, to, false);
      for (std::size_t k = 0; k < part.outer * v.inner; ++k) {
        if (to[k] >= small && to[k] <= std::numeric_limits<T>::max())
          to[k] = std::sqrt(to[k]);
        else
          to[k] = scaled_norm(x.data + (first + k / v.inner) * v.axis * v.inner + k % v.inner, v.axis, v.inner);
      }
    });
  }
  void backward(Backward<T>& c) override {
    const T* const g = c.gradient().data;
    const T* const x = c.input(0).data;
    const T* const y = c.output().data;
    const Target<T> out = c.target(0);
    const AxisView v = this->view(out.shape);
    for_outer(v, grain, [&](std::size_t first, AxisView part) {
      for (std::size_t o = first; o < first + part.outer; ++o)
        for (std::size_t a = 0; a < v.axis; ++a) {
          const std::size_t at = (o * v.axis + a) * v.inner;
          for (std::size_t i = 0; i < v.inner; ++i) {
            const T length = y[o * v.inner + i];
            const T d = length == 0 ? T(0) : g[o * v.inner + i] * (x[at + i] / length);
            out.data[at + i] = out.accumulate ? out.data[at + i] + d : d;
          }
        }
    });
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> g = this->kept(c.gradient(), c.shape(0)), y = this->kept(c.output(), c.shape(0));
    c.add(0, g * ratio(c.input(0), y));
  }
  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    const Var<T> direction = ratio(c.input(0), this->kept(c.output(), c.input(0).shape()));
    return {reshape(sum(c.tangent(0) * direction, this->axes()), this->result())};
  }
};

}  // namespace

void register_norm() {
  register_operations<EuclideanNorm>("norm");
}

namespace {

// x less its mean, and the number of elements less ddof.
template <class T>
std::pair<Var<T>, T> centred(std::string_view name, const Var<T>& x, const Axes& axes, std::int64_t ddof) {
  const auto mask = axis_mask(name, axes, x.shape());
  std::int64_t count = 1;
  for (int i = 0; i < x.rank(); ++i)
    if (mask[static_cast<std::size_t>(i)]) count *= x.shape()[i];
  if (count <= ddof || count == 0)
    fail<ShapeError>(name, "of ", count, " elements with ddof ", ddof, "; shape ", x.shape());
  return {x - mean(x, axes, true), static_cast<T>(count - ddof)};
}

}  // namespace
}  // namespace detail

template <class T>
Var<T> norm(const Var<T>& x, double order, const Axes& axes, bool keep_dims) {
  if (order == 2) return detail::reduce_axes<detail::EuclideanNorm<T>>("norm", x, axes, keep_dims);
  const auto mask = axis_mask("norm", axes, x.shape());
  if (order == 1) return sum(abs(x), axes, keep_dims);
  if (order == std::numeric_limits<double>::infinity()) {
    if (x.size() == 0 && reduced_shape(x.shape(), mask, false).elements() != 0)
      fail<ShapeError>("norm", "the largest of no elements; shape ", x.shape());
    return max(abs(x), axes, keep_dims);
  }
  fail("norm", "order ", order, " instead of 1, 2 or infinity");
}

template <class T>
Var<T> variance(const Var<T>& x, const Axes& axes, std::int64_t ddof, bool keep_dims) {
  const auto [difference, count] = detail::centred("variance", x, axes, ddof);
  return sum(square(difference), axes, keep_dims) * (T(1) / count);
}

template <class T>
Var<T> stddev(const Var<T>& x, const Axes& axes, std::int64_t ddof, bool keep_dims) {
  const auto [difference, count] = detail::centred("stddev", x, axes, ddof);
  return norm(difference, 2, axes, keep_dims) * (T(1) / std::sqrt(count));
}

#define TAPESTRY_INSTANTIATE(T)                                             \
  template Var<T> norm(const Var<T>&, double, const Axes&, bool);           \
  template Var<T> variance(const Var<T>&, const Axes&, std::int64_t, bool); \
  template Var<T> stddev(const Var<T>&, const Axes&, std::int64_t, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
