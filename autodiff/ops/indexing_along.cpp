#include <tapestry/autodiff/ops/indexing_along.hpp>

#include <algorithm>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/axis_split.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 16384;

Shape with_extent(Shape shape, int axis, std::int64_t extent) {
  shape[axis] = extent;
  return shape;
}

bool goes_with(const Indices& indices, const Shape& x, int axis) {
  const Shape& places = indices.shape();
  return axis >= 0 && axis < x.rank() && places.rank() == x.rank() && with_extent(x, axis, places[axis]) == places;
}

}  // namespace

template <class T>
void gather_along(const T* x, const Shape& shape, int axis, const Indices& indices, T* y) {
  const AxisView v = axis_view(shape, axis, axis + 1);
  const auto n = static_cast<std::size_t>(indices.shape()[axis]);
  for_outer({v.outer, n, v.inner}, grain, [&](std::size_t o, AxisView part) {
    const std::size_t at = o * n * v.inner;
    kernels<LayoutKernels<T>>().gather_along(x + o * v.axis * v.inner, {part.outer, v.axis, v.inner},
                                             indices.data() + at, n, y + at);
  });
}

template <class T>
void add_along(const T* g, const Indices& indices, T* out, const Shape& shape, int axis) {
  const AxisView v = axis_view(shape, axis, axis + 1);
  const auto n = static_cast<std::size_t>(indices.shape()[axis]);
  for_outer({v.outer, n, v.inner}, grain, [&](std::size_t o, AxisView part) {
    const std::size_t at = o * n * v.inner;
    kernels<LayoutKernels<T>>().scatter_add_along(g + at, indices.data() + at, n, out + o * v.axis * v.inner,
                                                  {part.outer, v.axis, v.inner});
  });
}

namespace {

template <class T>
class TakeAlong final : public Operation<T>, public SavedOperation {
 public:
  TakeAlong(std::string_view name, Indices indices, int axis)
      : name_(name), indices_(std::move(indices)), axis_(axis) {}
  TakeAlong(Attributes& a, std::string_view name) : name_(name) { attributes(a); }
  void attributes(Attributes& a) override { a.computed(indices_), a(axis_); }
  bool suits(const Shapes& in) override { return goes_with(indices_, in[0], axis_); }
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes&, int) const override { return indices_.shape(); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    check_indices(name_, indices_, c.input(0).shape, axis_);
    gather_along(c.input(0).data, c.input(0).shape, axis_, indices_, c.output().data);
  }
  void backward(Backward<T>& c) override {
    add_along(c.gradient().data, indices_, c.add_to(0), c.input_shape(0), axis_);
  }
  void vjp(Vjp<T>& c) override { c.add(0, scatter_along(c.gradient(), indices_, axis_, c.shape(0)[axis_])); }

 private:
  std::string_view name_;
  Indices indices_;
  int axis_ = 0;
};

template <class T>
class ScatterAlong final : public Operation<T>, public SavedOperation {
 public:
  ScatterAlong(Indices indices, int axis, std::int64_t extent)
      : indices_(std::move(indices)), axis_(axis), extent_(extent) {}
  explicit ScatterAlong(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a.computed(indices_), a(axis_), a(extent_); }
  bool suits(const Shapes& in) override {
    return goes_with(indices_, in[0], axis_) && in[0] == indices_.shape() && extent_ >= 0;
  }
  std::string_view name() const override { return "scatter_add_along_axis"; }
  Shape shape(const Shapes& in, int) const override { return with_extent(in[0], axis_, extent_); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    const auto y = c.output();
    check_indices(name(), indices_, y.shape, axis_);
    std::fill_n(y.data, y.size(), T(0));
    add_along(c.input(0).data, indices_, y.data, y.shape, axis_);
  }
  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    const Target<T> out = c.target(0);
    if (!out.accumulate) return gather_along(g.data, g.shape, axis_, indices_, out.data);
    const Scratch<T> taken(static_cast<std::size_t>(out.size()));
    gather_along(g.data, g.shape, axis_, indices_, taken.data());
    kernels<ElementwiseKernels<T>>().accumulate(taken.data(), out.data, static_cast<std::size_t>(out.size()));
  }
  void vjp(Vjp<T>& c) override { c.add(0, take_along("take_along_axis", c.gradient(), indices_, axis_)); }

 private:
  Indices indices_;
  int axis_ = 0;
  std::int64_t extent_ = 0;
};

// Offset in an array [outer, extent, inner] of the place that entry i of the indices [outer, n, inner] names.
template <class F>
void for_places(const Indices& indices, int axis, std::int64_t extent, F f) {
  const AxisView v = axis_view(indices.shape(), axis, axis + 1);
  const auto n = static_cast<std::int64_t>(v.axis), inner = static_cast<std::int64_t>(v.inner);
  for (std::int64_t i = 0; i < indices.size(); ++i) f(i, (i / (n * inner) * extent + indices[i]) * inner + i % inner);
}

template <class T>
class PutAlong final : public Operation<T>, public SavedOperation {
 public:
  PutAlong(Indices indices, int axis) : indices_(std::move(indices)), axis_(axis) {}
  explicit PutAlong(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a.computed(indices_), a(axis_); }
  bool suits(const Shapes& in) override {
    return in.size() == 2 && goes_with(indices_, in[0], axis_) && in[1] == indices_.shape();
  }
  std::string_view name() const override { return "put_along_axis"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0), values = c.input(1);
    const std::int64_t extent = x.shape[axis_];
    check_indices(name(), indices_, x.shape, axis_);
    const auto y = c.output();
    std::copy_n(x.data, x.size(), y.data);
    for_places(indices_, axis_, extent, [&](std::int64_t i, std::int64_t place) { y[place] = values[i]; });
  }
  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    // Entry i is in the result if it is the last one for its place.
    PooledVector<std::int64_t> last(static_cast<std::size_t>(g.size()), -1);
    for_places(indices_, axis_, g.shape[axis_],
               [&](std::int64_t i, std::int64_t place) { last[static_cast<std::size_t>(place)] = i; });
    if (c.wants(0)) {
      const Target<T> out = c.target(0);
      for (std::int64_t p = 0; p < g.size(); ++p) {
        const T kept = last[static_cast<std::size_t>(p)] < 0 ? g[p] : T(0);
        out.data[p] = out.accumulate ? out.data[p] + kept : kept;
      }
    }
    if (!c.wants(1)) return;
    T* const values = c.add_to(1);
    for (std::int64_t p = 0; p < g.size(); ++p)
      if (const std::int64_t i = last[static_cast<std::size_t>(p)]; i >= 0) values[i] += g[p];
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> g = c.gradient();
    const std::int64_t extent = g.shape()[axis_];
    // Entry i is in the result if it is the last one for its place.
    std::vector<std::int64_t> last(static_cast<std::size_t>(g.size()), -1);
    for_places(indices_, axis_, extent,
               [&](std::int64_t i, std::int64_t place) { last[static_cast<std::size_t>(place)] = i; });
    if (c.wants(0)) {
      Var<T> kept = Var<T>::zeros(g.shape());
      T* const mask = kept.mutable_data();
      for (std::size_t i = 0; i < last.size(); ++i) mask[i] = last[i] < 0;
      c.add(0, where(kept, g, Var<T>(T(0))));
    }
    if (c.wants(1)) {
      Var<T> used = Var<T>::zeros(indices_.shape());
      T* const mask = used.mutable_data();
      for (const std::int64_t i : last)
        if (i >= 0) mask[i] = 1;
      c.add(1, where(used, take_along("take_along_axis", g, indices_, axis_), Var<T>(T(0))));
    }
  }

 private:
  Indices indices_;
  int axis_ = 0;
};

void check_entries(std::string_view name, const Shape& x, const Shape& indices, const Shape& values, int axis) {
  if (indices.rank() != x.rank() || with_extent(x, axis, indices[axis]) != indices || values != indices)
    fail<ShapeError>(name, "indices of shape ", indices, " and values of shape ", values, " for axis ", axis,
                     " of shape ", x);
}

// Indices with the axes of extent 1 repeated.
Indices broadcast_indices(const Indices& indices, const Shape& shape) {
  const auto strides = broadcast_strides(indices.shape());
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  std::vector<std::int64_t> position(shape.size(), 0);
  std::int64_t from = 0;
  for (std::int64_t& value : out) {
    value = indices[from];
    for (int i = shape.rank() - 1; i >= 0; --i) {
      const auto axis = static_cast<std::size_t>(i);
      from += strides[axis];
      if (++position[axis] < shape[i]) break;
      from -= strides[axis] * shape[i];
      position[axis] = 0;
    }
  }
  return out;
}

}  // namespace

void register_indexing_along() {
  register_operations<TakeAlong>("take_along_axis");
  register_operations<ScatterAlong>("scatter_add_along_axis");
  register_operations<PutAlong>("put_along_axis");
}

template <class T>
Var<T> take_along(std::string_view name, const Var<T>& x, const Indices& indices, int axis) {
  return record(std::make_unique<TakeAlong<T>>(name, indices, axis), x);
}

template <class T>
Var<T> scatter_along(const Var<T>& values, const Indices& indices, int axis, std::int64_t extent) {
  return record(std::make_unique<ScatterAlong<T>>(indices, axis, extent), values);
}

}  // namespace detail

template <class T>
Var<T> take_along_axis(const Var<T>& x, const Indices& indices, std::int64_t axis) {
  const int along = normalize_axis("take_along_axis", axis, x.shape());
  if (indices.shape().rank() != x.rank())
    fail<ShapeError>("take_along_axis", "indices of shape ", indices.shape(), " for a tensor of shape ", x.shape());
  // All axes but the one broadcast.
  Shape common = x.shape();
  for (int i = 0; i < x.rank(); ++i) {
    const std::int64_t m = x.shape()[i], n = indices.shape()[i];
    if (i != along && m != n && m != 1 && n != 1)
      fail<ShapeError>("take_along_axis", "indices of shape ", indices.shape(), " do not broadcast to ", x.shape(),
                       " beside axis ", along);
    common[i] = m == 1 ? n : m;
  }
  const Shape from = detail::with_extent(common, along, x.shape()[along]);
  const Shape places = detail::with_extent(common, along, indices.shape()[along]);
  return detail::take_along("take_along_axis", from == x.shape() ? x : broadcast_to(x, from),
                            places == indices.shape() ? indices : detail::broadcast_indices(indices, places), along);
}

template <class T>
Var<T> put_along_axis(const Var<T>& x, const Indices& indices, const Var<T>& values, std::int64_t axis) {
  const int along = normalize_axis("put_along_axis", axis, x.shape());
  detail::check_entries("put_along_axis", x.shape(), indices.shape(), values.shape(), along);
  return record(std::make_unique<detail::PutAlong<T>>(indices, along), x, values);
}

template <class T>
Var<T> scatter_add_along_axis(const Var<T>& x, const Indices& indices, const Var<T>& values, std::int64_t axis) {
  const int along = normalize_axis("scatter_add_along_axis", axis, x.shape());
  detail::check_entries("scatter_add_along_axis", x.shape(), indices.shape(), values.shape(), along);
  return x + detail::scatter_along(values, indices, along, x.shape()[along]);
}

#define TAPESTRY_INSTANTIATE(T)                                                               \
  template void detail::gather_along(const T*, const Shape&, int, const Indices&, T*);        \
  template void detail::add_along(const T*, const Indices&, T*, const Shape&, int);           \
  template Var<T> detail::take_along(std::string_view, const Var<T>&, const Indices&, int);   \
  template Var<T> detail::scatter_along(const Var<T>&, const Indices&, int, std::int64_t);    \
  template Var<T> take_along_axis(const Var<T>&, const Indices&, std::int64_t);               \
  template Var<T> put_along_axis(const Var<T>&, const Indices&, const Var<T>&, std::int64_t); \
  template Var<T> scatter_add_along_axis(const Var<T>&, const Indices&, const Var<T>&, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
