#include <tapestry/autodiff/ops/joining.hpp>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/strided_copy.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

// Inputs of one operation; more are joined in stages.
constexpr std::size_t most_inputs = 32768;

std::int64_t elements(const Shape& shape, int begin, int end) {
  std::int64_t n = 1;
  for (int i = begin; i < end; ++i) n *= shape[i];
  return n;
}

// Rows of a matrix whose rows are `stride` apart.
template <class T>
void copy_rows(const T* x, std::int64_t stride_x, T* y, std::int64_t stride_y, std::int64_t rows, std::int64_t n,
               bool accumulate) {
  strided_copy(x, {stride_x, 1}, y, {stride_y, 1}, {rows, n}, accumulate);
}

template <class T>
class Concatenate final : public Operation<T>, public SavedOperation {
 public:
  explicit Concatenate(int axis, bool stacked) : axis_(axis), stacked_(stacked) {}
  explicit Concatenate(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(axis_), a(stacked_);
    Attributes::require(axis_ >= 0);
  }
  std::string_view name() const override { return stacked_ ? "stack" : "concatenate"; }
  Shape shape(const Shapes& in, int) const override {
    Shape out = in[0];
    if (axis_ >= out.rank() + (stacked_ ? 1 : 0)) fail<ShapeError>(name(), "there is no axis ", axis_, " in ", out);
    if (stacked_) out.insert(axis_, in.size());
    for (int i = 1; i < in.size(); ++i) {
      bool fits = in[i].rank() == in[0].rank();
      for (int k = 0; fits && k < in[0].rank(); ++k) fits = in[i][k] == in[0][k] || (k == axis_ && !stacked_);
      if (!fits)
        fail<ShapeError>(name(), "input ", i, " of shape ", in[i], " does not fit to ", in[0], " along axis ", axis_);
      if (!stacked_) out[axis_] += in[i][axis_];
    }
    return out;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    const auto y = c.output();
    const std::int64_t rows = elements(y.shape, 0, axis_), stride = elements(y.shape, axis_, y.shape.rank());
    T* to = y.data;
    for (int i = 0; i < c.inputs(); ++i) {
      const std::int64_t n = width(c.input(i).shape);
      copy_rows(c.input(i).data, n, to, stride, rows, n, false);
      to += n;
    }
  }
  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    const std::int64_t rows = elements(g.shape, 0, axis_), stride = elements(g.shape, axis_, g.shape.rank());
    const T* from = g.data;
    for (int i = 0; i < c.inputs(); ++i) {
      const std::int64_t n = width(c.input_shape(i));
      if (c.wants(i)) {
        const Target<T> out = c.target(i);
        copy_rows(from, stride, out.data, n, rows, n, out.accumulate);
      }
      from += n;
    }
  }
  void vjp(Vjp<T>& c) override {
    std::int64_t start = 0;
    for (int i = 0; i < c.inputs(); ++i) {
      const std::int64_t n = stacked_ ? 1 : c.shape(i)[axis_];
      if (c.wants(i))
        c.add(i, stacked_ ? select(c.gradient(), axis_, start) : slice(c.gradient(), axis_, {start, start + n}));
      start += n;
    }
  }

 private:
  std::int64_t width(const Shape& shape) const { return elements(shape, axis_, shape.rank()); }

  int axis_;
  bool stacked_;
};

template <class T>
class Roll final : public Operation<T>, public SavedOperation {
 public:
  Roll(int axis, std::int64_t shift) : axis_(axis), shift_(shift) {}
  explicit Roll(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(axis_), a(shift_);
    Attributes::require(axis_ >= 0 && shift_ >= 0);
  }
  bool suits(const Shapes& in) override { return axis_ < in[0].rank() && shift_ <= in[0][axis_]; }
  std::string_view name() const override { return "roll"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override { turn(c.input(0).data, c.output().data, c.output().shape, shift_, false); }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    turn(c.gradient().data, out.data, out.shape, out.shape[axis_] - shift_, out.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, roll(c.gradient(), -shift_, axis_)); }

 private:
  void turn(const T* x, T* y, const Shape& shape, std::int64_t shift, bool accumulate) const {
    const std::int64_t rows = elements(shape, 0, axis_), inner = elements(shape, axis_ + 1, shape.rank());
    const std::int64_t row = shape[axis_] * inner, head = (shape[axis_] - shift) * inner;
    copy_rows(x, row, y + row - head, row, rows, head, accumulate);
    copy_rows(x + head, row, y, row, rows, row - head, accumulate);
  }

  int axis_ = 0;
  std::int64_t shift_ = 0;  // from 0 up to the extent
};

template <class T>
Var<T> joined(const std::vector<Var<T>>& parts, int axis, bool stacked) {
  if (parts.size() <= most_inputs) return apply<T>(std::make_unique<Concatenate<T>>(axis, stacked), parts);
  std::vector<Var<T>> groups;
  for (std::size_t i = 0; i < parts.size(); i += most_inputs)
    groups.push_back(apply<T>(std::make_unique<Concatenate<T>>(axis, stacked),
                              std::span(parts).subspan(i, std::min(most_inputs, parts.size() - i))));
  return joined(groups, axis, false);
}

}  // namespace

void register_joining() {
  register_operations<Concatenate>("concatenate", "stack");
  register_operations<Roll>("roll");
}

}  // namespace detail

template <class T>
Var<T> concatenate(const std::vector<Var<T>>& parts, std::int64_t axis) {
  if (parts.empty()) fail<ShapeError>("concatenate", "of no tensors");
  return detail::joined(parts, normalize_axis("concatenate", axis, parts[0].shape()), false);
}

template <class T>
Var<T> stack(const std::vector<Var<T>>& parts, std::int64_t axis) {
  if (parts.empty()) fail<ShapeError>("stack", "of no tensors");
  return detail::joined(parts, normalize_axis("stack", axis, parts[0].shape(), 1), true);
}

template <class T>
Var<T> roll(const Var<T>& x, std::int64_t shift, std::int64_t axis) {
  const int along = normalize_axis("roll", axis, x.shape());
  const std::int64_t n = std::max<std::int64_t>(x.shape()[along], 1);
  return record(std::make_unique<detail::Roll<T>>(along, (shift % n + n) % n), x);
}

#define TAPESTRY_INSTANTIATE(T)                                          \
  template Var<T> concatenate(const std::vector<Var<T>>&, std::int64_t); \
  template Var<T> stack(const std::vector<Var<T>>&, std::int64_t);       \
  template Var<T> roll(const Var<T>&, std::int64_t, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
