#include <tapestry/autodiff/ops/indexing.hpp>

#include <algorithm>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/axis_split.hpp>
#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {

void check_indices(std::string_view operation, const Indices& indices, const Shape& shape, int axis) {
  const std::int64_t extent = shape[axis];
  const std::int64_t n = indices.size();
  const std::int64_t* const index = indices.data();
  bool inside = true;
  for (std::int64_t i = 0; i < n; ++i)
    inside &= static_cast<std::uint64_t>(index[i]) < static_cast<std::uint64_t>(extent);
  if (inside) return;
  std::int64_t at = 0;
  while (index[at] >= 0 && index[at] < extent) ++at;
  Shape position = indices.shape();
  std::int64_t rest = at;
  for (int i = position.rank() - 1; i >= 0; --i) {
    const std::int64_t along = position[i];
    position[i] = rest % along;
    rest /= along;
  }
  fail<IndexError>(operation, "index ", index[at], " at position ", position, " is outside axis ", axis, " of shape ",
                   shape);
}

namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

template <class T>
void gather(const T* x, AxisView v, const Indices& indices, T* y) {
  const auto& table = kernels<LayoutKernels<T>>();
  const auto n = static_cast<std::size_t>(indices.size());
  if (v.outer > 1) {
    for_outer({v.outer, n, v.inner}, grain, [&](std::size_t o, AxisView part) {
      table.gather(x + o * v.axis * v.inner, {part.outer, v.axis, v.inner}, indices.data(), n, y + o * n * v.inner);
    });
    return;
  }
  const auto step = std::max<std::int64_t>(1, grain / static_cast<std::int64_t>(std::max<std::size_t>(1, v.inner)));
  parallel_for(indices.size(), step, [&](std::int64_t begin, std::int64_t end) {
    table.gather(x, v, indices.data() + begin, static_cast<std::size_t>(end - begin),
                 y + static_cast<std::size_t>(begin) * v.inner);
  });
}

// Slices that meet in one place are added in the order of the indices.
template <class T>
void scatter(const T* g, const Indices& indices, T* out, AxisView v) {
  const auto n = static_cast<std::size_t>(indices.size());
  for_outer({v.outer, n, v.inner}, grain, [&](std::size_t o, AxisView part) {
    kernels<LayoutKernels<T>>().scatter_add(g + o * n * v.inner, indices.data(), n, out + o * v.axis * v.inner,
                                            {part.outer, v.axis, v.inner});
  });
}

Shape taken_shape(const Shape& x, const Shape& indices, int axis) {
  Shape out;
  for (int i = 0; i < axis; ++i) out.push_back(x[i]);
  for (const std::int64_t extent : indices) out.push_back(extent);
  for (int i = axis + 1; i < x.rank(); ++i) out.push_back(x[i]);
  return out;
}

template <class T>
Var<T> scattered(std::string_view name, const Indices& indices, int axis, const Shape& shape, const Var<T>& values);

template <class T>
class Take final : public Operation<T>, public SavedOperation, public RowsOperation {
 public:
  Take(std::string_view name, Indices indices, int axis, bool by_rows)
      : name_(name), indices_(std::move(indices)), axis_(axis), by_rows_(by_rows) {}
  Take(Attributes& a, std::string_view name) : name_(name) { attributes(a); }
  void attributes(Attributes& a) override {
    a.computed(indices_), a(axis_), a(by_rows_);
    Attributes::require(axis_ >= 0 && (!by_rows_ || axis_ == 0));
  }
  bool suits(const Shapes& in) override { return axis_ < in[0].rank(); }
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes& in, int) const override { return taken_shape(in[0], indices_.shape(), axis_); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  const Indices* rows() const override { return by_rows_ ? &indices_ : nullptr; }
  void forward(Forward<T>& c) override {
    const auto x = c.input(0);
    check_indices(name_, indices_, x.shape, axis_);
    gather(x.data, axis_view(x.shape, axis_, axis_ + 1), indices_, c.output().data);
  }
  void backward(Backward<T>& c) override {
    if (by_rows_)
      c.add_rows(0, indices_, c.gradient().data);
    else
      scatter(c.gradient().data, indices_, c.add_to(0), axis_view(c.input_shape(0), axis_, axis_ + 1));
  }
  void vjp(Vjp<T>& c) override { c.add(0, scattered("scatter_add", indices_, axis_, c.shape(0), c.gradient())); }

 private:
  std::string_view name_;
  Indices indices_;
  int axis_ = 0;
  bool by_rows_ = false;
};

// The transpose of Take: sums of slices in an array of zeros.
template <class T>
class ScatterZeros final : public Operation<T>, public SavedOperation {
 public:
  ScatterZeros(std::string_view name, Indices indices, int axis, const Shape& target)
      : name_(name), indices_(std::move(indices)), axis_(axis), target_(target) {}
  ScatterZeros(Attributes& a, std::string_view name) : name_(name) { attributes(a); }
  void attributes(Attributes& a) override {
    a.computed(indices_), a(axis_), a(target_);
    Attributes::require(axis_ >= 0 && axis_ < target_.rank());
  }
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes& in, int) const override {
    const Shape expected = taken_shape(target_, indices_.shape(), axis_);
    if (in[0] != expected) fail<ShapeError>(name_, "values have shape ", in[0], " instead of ", expected);
    return target_;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    check_indices(name_, indices_, target_, axis_);
    const auto y = c.output();
    std::fill_n(y.data, y.size(), T(0));
    scatter(c.input(0).data, indices_, y.data, axis_view(target_, axis_, axis_ + 1));
  }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    const AxisView v = axis_view(target_, axis_, axis_ + 1);
    if (!out.accumulate) return gather(c.gradient().data, v, indices_, out.data);
    const Scratch<T> values(static_cast<std::size_t>(out.size()));
    gather(c.gradient().data, v, indices_, values.data());
    kernels<ElementwiseKernels<T>>().accumulate(values.data(), out.data, static_cast<std::size_t>(out.size()));
  }
  void vjp(Vjp<T>& c) override { c.add(0, take(c.gradient(), indices_, axis_)); }

 private:
  std::string_view name_;
  Indices indices_;
  int axis_ = 0;
  Shape target_;
};

template <class T>
Var<T> scattered(std::string_view name, const Indices& indices, int axis, const Shape& shape, const Var<T>& values) {
  return record(std::make_unique<ScatterZeros<T>>(name, indices, axis, shape), values);
}

}  // namespace

void register_indexing() {
  register_operations<Take>("take", "index_select", "gather", "embedding");
  register_operations<ScatterZeros>("scatter_add", "segment_sum");
}

}  // namespace detail

template <class T>
Var<T> take(const Var<T>& x, const Indices& indices, std::int64_t axis) {
  return record(std::make_unique<detail::Take<T>>("take", indices, normalize_axis("take", axis, x.shape()), false), x);
}

template <class T>
Var<T> gather(const Var<T>& x, const Indices& indices, std::int64_t axis) {
  const int along = normalize_axis("gather", axis, x.shape());
  return record(std::make_unique<detail::Take<T>>("gather", indices, along, false), x);
}

template <class T>
Var<T> index_select(const Var<T>& x, std::int64_t axis, const Indices& indices) {
  if (indices.shape().rank() != 1)
    fail<ShapeError>("index_select", "indices have shape ", indices.shape(), " instead of one axis");
  const int along = normalize_axis("index_select", axis, x.shape());
  return record(std::make_unique<detail::Take<T>>("index_select", indices, along, false), x);
}

template <class T>
Var<T> scatter_add(const Var<T>& x, const Indices& indices, const Var<T>& values, std::int64_t axis) {
  const int along = normalize_axis("scatter_add", axis, x.shape());
  return x + detail::scattered("scatter_add", indices, along, x.shape(), values);
}

template <class T>
Var<T> segment_sum(const Var<T>& x, const Indices& segments, std::int64_t count, std::int64_t axis) {
  const int along = normalize_axis("segment_sum", axis, x.shape());
  if (segments.shape() != Shape{x.shape()[along]})
    fail<ShapeError>("segment_sum", "segment ids have shape ", segments.shape(), " for axis ", axis, " of shape ",
                     x.shape());
  Shape shape = x.shape();
  if (count < 0) fail<ShapeError>("segment_sum", "a negative number of segments for shape ", x.shape(), ": ", count);
  shape[along] = count;
  return detail::scattered("segment_sum", segments, along, shape, x);
}

template <class T>
Var<T> embedding(const Var<T>& table, const Indices& indices) {
  if (table.rank() == 0) fail<ShapeError>("embedding", "a table of shape [] has no rows");
  return record(std::make_unique<detail::Take<T>>("embedding", indices, 0, true), table);
}

template <class T>
Var<T> one_hot(const Indices& indices, std::int64_t classes) {
  if (classes < 0)
    fail<ShapeError>("one_hot", "a negative number of classes for indices ", indices.shape(), ": ", classes);
  Shape shape = indices.shape();
  shape.push_back(classes);
  detail::check_indices("one_hot", indices, shape, shape.rank() - 1);
  Var<T> out = Var<T>::zeros(shape);
  T* const to = out.mutable_data();
  for (std::int64_t i = 0; i < indices.size(); ++i) to[i * classes + indices[i]] = 1;
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                                            \
  template Var<T> take(const Var<T>&, const Indices&, std::int64_t);                       \
  template Var<T> gather(const Var<T>&, const Indices&, std::int64_t);                     \
  template Var<T> index_select(const Var<T>&, std::int64_t, const Indices&);               \
  template Var<T> scatter_add(const Var<T>&, const Indices&, const Var<T>&, std::int64_t); \
  template Var<T> segment_sum(const Var<T>&, const Indices&, std::int64_t, std::int64_t);  \
  template Var<T> embedding(const Var<T>&, const Indices&);                                \
  template Var<T> one_hot(const Indices&, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
