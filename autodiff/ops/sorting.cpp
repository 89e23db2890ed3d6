#include <tapestry/autodiff/ops/sorting.hpp>

#include <algorithm>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/axis_split.hpp>
#include <tapestry/autodiff/ops/indexing_along.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 4096;

template <class T>
struct Entry {
  T value;
  std::int64_t index;
};

// The first k positions of each slice in its order.
template <class T>
IndexTensor order(const T* x, const Shape& shape, int axis, std::int64_t k, bool descending) {
  Shape out_shape = shape;
  out_shape[axis] = k;
  IndexTensor out = empty_tensor<std::int64_t>(out_shape);
  const AxisView v = axis_view(shape, axis, axis + 1);
  const auto n = static_cast<std::int64_t>(v.axis), inner = static_cast<std::int64_t>(v.inner);
  // NaN is the largest; equal elements go by position.
  const auto above = [](T a, T b) { return a > b || (a != a && b == b); };
  const auto before = [=](const Entry<T>& a, const Entry<T>& b) {
    const bool first = descending ? above(a.value, b.value) : above(b.value, a.value);
    const bool last = descending ? above(b.value, a.value) : above(a.value, b.value);
    return first || (!last && a.index < b.index);
  };
  const std::int64_t step = std::max<std::int64_t>(1, grain / std::max<std::int64_t>(1, n));
  parallel_for(static_cast<std::int64_t>(v.outer) * inner, step, [&](std::int64_t begin, std::int64_t end) {
    const Scratch<Entry<T>> entries(static_cast<std::size_t>(n));
    Entry<T>* const first = entries.data();
    for (std::int64_t slice = begin; slice < end; ++slice) {
      const T* from = x + slice / inner * n * inner + slice % inner;
      for (std::int64_t i = 0; i < n; ++i) first[i] = {from[i * inner], i};
      if (k < n)
        std::partial_sort(first, first + k, first + n, before);
      else
        std::sort(first, first + n, before);
      std::int64_t* to = out.data() + slice / inner * k * inner + slice % inner;
      for (std::int64_t i = 0; i < k; ++i) to[i * inner] = first[i].index;
    }
  });
  return out;
}

template <class T>
class Ordered final : public Operation<T>, public SavedOperation {
 public:
  Ordered(std::string_view name, const Shape& shape, int axis, std::int64_t k, bool descending)
      : name_(name), axis_(axis), k_(k), descending_(descending), order_(empty_order(shape, axis, k)) {}
  Ordered(Attributes& a, std::string_view name) : name_(name) { attributes(a); }
  void attributes(Attributes& a) override { a(axis_), a(k_), a(descending_), a.state(order_); }
  bool suits(const Shapes& in) override {
    if (axis_ < 0 || axis_ >= in[0].rank() || k_ < 0 || k_ > in[0][axis_]) return false;
    Shape kept = in[0];
    kept[axis_] = k_;
    return order_.shape() == kept;
  }
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes&, int) const override { return order_.shape(); }
  std::uint32_t needs() const override { return Needs::nothing; }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    order_.assign(order(x.data, x.shape, axis_, k_, descending_));
    gather_along(x.data, x.shape, axis_, order_, c.output().data);
  }
  void backward(Backward<T>& c) override { add_along(c.gradient().data, order_, c.add_to(0), c.input_shape(0), axis_); }
  void vjp(Vjp<T>& c) override { c.add(0, scatter_along(c.gradient(), order_, axis_, c.shape(0)[axis_])); }
  std::vector<Var<T>> jvp(Jvp<T>& c) override { return {take_along("take_along_axis", c.tangent(0), order_, axis_)}; }

  /// Holds the positions after the evaluation.
  const Indices& positions() const { return order_; }

 private:
  static Indices empty_order(Shape shape, int axis, std::int64_t k) {
    shape[axis] = k;
    return empty_tensor<std::int64_t>(shape);
  }

  std::string_view name_;
  int axis_ = 0;
  std::int64_t k_ = 0;
  bool descending_ = false;
  Indices order_;
};

}  // namespace

void register_sorting() {
  register_operations<Ordered>("sort", "top_k");
}

}  // namespace detail

template <class T>
Var<T> sort(const Var<T>& x, std::int64_t axis, bool descending) {
  const int along = normalize_axis("sort", axis, x.shape());
  return record(std::make_unique<detail::Ordered<T>>("sort", x.shape(), along, x.shape()[along], descending), x);
}

template <class T>
IndexTensor argsort(const Var<T>& x, std::int64_t axis, bool descending) {
  const int along = normalize_axis("argsort", axis, x.shape());
  return detail::order(detail::read_for_positions("argsort", x), x.shape(), along, x.shape()[along], descending);
}

template <class T>
TopK<T> top_k(const Var<T>& x, std::int64_t k, std::int64_t axis, bool largest) {
  const int along = normalize_axis("top_k", axis, x.shape());
  if (k < 0 || k > x.shape()[along]) fail<ShapeError>("top_k", k, " elements of axis ", axis, " of shape ", x.shape());
  auto operation = std::make_unique<detail::Ordered<T>>("top_k", x.shape(), along, k, largest);
  const Indices positions = operation->positions();
  Var<T> values = record(std::move(operation), x);
  return {std::move(values), Positions(positions)};
}

#define TAPESTRY_INSTANTIATE(T)                                    \
  template Var<T> sort(const Var<T>&, std::int64_t, bool);         \
  template IndexTensor argsort(const Var<T>&, std::int64_t, bool); \
  template TopK<T> top_k(const Var<T>&, std::int64_t, std::int64_t, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
