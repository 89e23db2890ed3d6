#include <tapestry/autodiff/ops/slicing.hpp>

#include <algorithm>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/strided_view.hpp>

namespace tapestry {
namespace {

using detail::View;

std::size_t at(int axis) {
  return static_cast<std::size_t>(axis);
}

View whole_view(std::string_view name, const Shape& shape) {
  return {name, shape, shape, 0, detail::row_major_strides(shape)};
}

// Narrows one axis of a view.
void narrow(View& view, int axis, Slice range) {
  const std::int64_t n = view.part[axis], step = range.step;
  if (step == 0) fail<ShapeError>(view.name, "a step of 0 along axis ", axis, " of shape ", view.whole);
  const auto position = [&](std::int64_t given, std::int64_t otherwise) {
    if (given == Slice::whole) return otherwise;
    if (given < -n || given > n)
      fail<IndexError>(view.name, "position ", given, " along axis ", axis, " of shape ", view.whole);
    return given < 0 ? given + n : given;
  };
  const std::int64_t start = position(range.start, step > 0 ? 0 : n - 1);
  const std::int64_t stop = position(range.stop, step > 0 ? n : -1);
  if (step < 0 && start == n && n > 0)
    fail<IndexError>(view.name, "position ", start, " along axis ", axis, " of shape ", view.whole);
  const std::int64_t distance = step > 0 ? stop - start : start - stop;
  const std::int64_t stride = std::abs(step);
  view.part[axis] = distance > 0 ? (distance - 1) / stride + 1 : 0;
  if (view.part[axis] > 0) view.offset += start * view.strides[at(axis)];
  view.strides[at(axis)] *= step;
}

void drop_axis(View& view, int axis) {
  view.part.erase(axis);
  std::move(view.strides.begin() + axis + 1, view.strides.end(), view.strides.begin() + axis);
}

bool keeps_order(const Shape& shape, const Axes& axes) {
  std::int64_t last = -1;
  for (const std::int64_t axis : axes) {
    if (shape[static_cast<int>(axis)] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

// Axes of a shape, all from 0.
Axes permutation(std::string_view name, const Axes& axes, const Shape& shape) {
  axis_mask(name, axes, shape);
  if (axes.size() != shape.size()) fail<ShapeError>(name, axes.size(), " axes for shape ", shape);
  Axes out;
  for (const std::int64_t axis : axes) out.push_back(normalize_axis(name, axis, shape));
  return out;
}

template <class T>
Var<T> permuted(std::string_view name, const Var<T>& x, const Axes& axes) {
  View view = whole_view(name, x.shape());
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int from = static_cast<int>(axes[i]);
    view.part[static_cast<int>(i)] = x.shape()[from];
    view.strides[i] = detail::row_major_strides(x.shape())[at(from)];
  }
  return keeps_order(x.shape(), axes) ? reshape(x, view.part) : detail::view(view, x);
}

// The diagonal of axes a and b of a shape, at the end of the others.
View diagonal_view(std::string_view name, const Shape& shape, std::int64_t offset, int a, int b) {
  View view = whole_view(name, shape);
  const std::int64_t rows = shape[a], columns = shape[b];
  const std::int64_t n =
      std::max<std::int64_t>(0, offset >= 0 ? std::min(rows, columns - offset) : std::min(rows + offset, columns));
  const std::int64_t row = view.strides[at(a)], column = view.strides[at(b)];
  if (n > 0) view.offset = offset >= 0 ? offset * column : -offset * row;
  drop_axis(view, std::max(a, b));
  drop_axis(view, std::min(a, b));
  view.strides[at(view.part.rank())] = row + column;
  view.part.push_back(n);
  return view;
}

}  // namespace

template <class T>
Var<T> slice(const Var<T>& x, const std::vector<Slice>& slices) {
  if (slices.size() > x.shape().size())
    fail<ShapeError>("slice", slices.size(), " slices of a tensor of shape ", x.shape());
  View view = whole_view("slice", x.shape());
  for (std::size_t i = 0; i < slices.size(); ++i) narrow(view, static_cast<int>(i), slices[i]);
  return detail::view(view, x);
}

template <class T>
Var<T> slice(const Var<T>& x, std::int64_t axis, Slice range) {
  View view = whole_view("slice", x.shape());
  narrow(view, normalize_axis("slice", axis, x.shape()), range);
  return detail::view(view, x);
}

template <class T>
Var<T> select(const Var<T>& x, std::int64_t axis, std::int64_t index) {
  View view = whole_view("select", x.shape());
  const int dropped = normalize_axis("select", axis, x.shape());
  const std::int64_t n = x.shape()[dropped];
  if (index < -n || index >= n)
    fail<IndexError>("select", "index ", index, " along axis ", axis, " of shape ", x.shape());
  view.offset = (index < 0 ? index + n : index) * view.strides[at(dropped)];
  drop_axis(view, dropped);
  return detail::view(view, x);
}

template <class T>
std::vector<Var<T>> split(const Var<T>& x, const std::vector<std::int64_t>& extents, std::int64_t axis) {
  const int along = normalize_axis("split", axis, x.shape());
  std::int64_t total = 0;
  for (const std::int64_t extent : extents) {
    if (extent < 0)
      fail<ShapeError>("split", "negative extent ", extent, " along axis ", axis, " of shape ", x.shape());
    total += extent;
  }
  if (total != x.shape()[along])
    fail<ShapeError>("split", "extents add up to ", total, " along axis ", axis, " of shape ", x.shape());
  std::vector<Var<T>> out;
  std::int64_t start = 0;
  for (const std::int64_t extent : extents) {
    View view = whole_view("split", x.shape());
    narrow(view, along, {start, start + extent, 1});
    out.push_back(detail::view(view, x));
    start += extent;
  }
  return out;
}

template <class T>
std::vector<Var<T>> chunk(const Var<T>& x, std::int64_t parts, std::int64_t axis) {
  const std::int64_t n = x.shape()[normalize_axis("chunk", axis, x.shape())];
  if (parts <= 0 || n % parts != 0)
    fail<ShapeError>("chunk", "axis ", axis, " of shape ", x.shape(), " does not divide into ", parts, " parts");
  return split(x, std::vector<std::int64_t>(static_cast<std::size_t>(parts), n / parts), axis);
}

template <class T>
std::vector<Var<T>> unbind(const Var<T>& x, std::int64_t axis) {
  const std::int64_t n = x.shape()[normalize_axis("unbind", axis, x.shape())];
  std::vector<Var<T>> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(select(x, axis, i));
  return out;
}

template <class T>
Var<T> pad(const Var<T>& x, const std::vector<std::pair<std::int64_t, std::int64_t>>& widths,
           std::type_identity_t<T> value) {
  if (widths.size() != x.shape().size())
    fail<ShapeError>("pad", widths.size(), " pairs of widths for shape ", x.shape());
  Shape whole = x.shape();
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (widths[i].first < 0 || widths[i].second < 0)
      fail<ShapeError>("pad", "negative width (", widths[i].first, ", ", widths[i].second, ") for axis ", i,
                       " of shape ", x.shape());
    whole[static_cast<int>(i)] += widths[i].first + widths[i].second;
  }
  View view{"pad", whole, x.shape(), 0, detail::row_major_strides(whole)};
  if (x.size() > 0)
    for (std::size_t i = 0; i < widths.size(); ++i) view.offset += widths[i].first * view.strides[i];
  return detail::place(view, x, value);
}

template <class T>
Var<T> flip(const Var<T>& x, const Axes& axes) {
  const auto mask = axis_mask("flip", axes, x.shape());
  View view = whole_view("flip", x.shape());
  for (int i = 0; i < x.rank(); ++i)
    if (mask[at(i)]) narrow(view, i, {Slice::whole, Slice::whole, -1});
  return detail::view(view, x);
}

template <class T>
Var<T> transpose(const Var<T>& x, const Axes& axes) {
  if (!axes.empty()) return permuted("transpose", x, permutation("transpose", axes, x.shape()));
  Axes order;
  for (int i = x.rank() - 1; i >= 0; --i) order.push_back(i);
  return permuted("transpose", x, order);
}

template <class T>
Var<T> permute(const Var<T>& x, const Axes& axes) {
  return permuted("permute", x, permutation("permute", axes, x.shape()));
}

template <class T>
Var<T> swap_axes(const Var<T>& x, std::int64_t a, std::int64_t b) {
  Axes order;
  for (int i = 0; i < x.rank(); ++i) order.push_back(i);
  std::swap(order[at(normalize_axis("swap_axes", a, x.shape()))], order[at(normalize_axis("swap_axes", b, x.shape()))]);
  return permuted("swap_axes", x, order);
}

template <class T>
Var<T> diagonal(const Var<T>& x, std::int64_t offset, std::int64_t axis1, std::int64_t axis2) {
  const int a = normalize_axis("diagonal", axis1, x.shape()), b = normalize_axis("diagonal", axis2, x.shape());
  if (a == b) fail<ShapeError>("diagonal", "axes ", axis1, " and ", axis2, " of shape ", x.shape(), " are one");
  return detail::view(diagonal_view("diagonal", x.shape(), offset, a, b), x);
}

template <class T>
Var<T> diag_embed(const Var<T>& x, std::int64_t offset) {
  if (x.rank() == 0) fail<ShapeError>("diag_embed", "x of shape [] has no axis");
  Shape whole = x.shape();
  whole[x.rank() - 1] += std::abs(offset);
  whole.push_back(whole.back());
  return detail::place(diagonal_view("diag_embed", whole, offset, x.rank() - 1, x.rank()), x);
}

template <class T>
Var<T> trace(const Var<T>& x, std::int64_t offset) {
  if (x.rank() < 2) fail<ShapeError>("trace", "x of shape ", x.shape(), " has less than two axes");
  return sum(diagonal(x, offset), {-1});
}

#define TAPESTRY_INSTANTIATE(T)                                                                      \
  template Var<T> slice(const Var<T>&, const std::vector<Slice>&);                                   \
  template Var<T> slice(const Var<T>&, std::int64_t, Slice);                                         \
  template Var<T> select(const Var<T>&, std::int64_t, std::int64_t);                                 \
  template std::vector<Var<T>> split(const Var<T>&, const std::vector<std::int64_t>&, std::int64_t); \
  template std::vector<Var<T>> chunk(const Var<T>&, std::int64_t, std::int64_t);                     \
  template std::vector<Var<T>> unbind(const Var<T>&, std::int64_t);                                  \
  template Var<T> pad(const Var<T>&, const std::vector<std::pair<std::int64_t, std::int64_t>>&,      \
                      std::type_identity_t<T>);                                                      \
  template Var<T> flip(const Var<T>&, const Axes&);                                                  \
  template Var<T> transpose(const Var<T>&, const Axes&);                                             \
  template Var<T> permute(const Var<T>&, const Axes&);                                               \
  template Var<T> swap_axes(const Var<T>&, std::int64_t, std::int64_t);                              \
  template Var<T> diagonal(const Var<T>&, std::int64_t, std::int64_t, std::int64_t);                 \
  template Var<T> diag_embed(const Var<T>&, std::int64_t);                                           \
  template Var<T> trace(const Var<T>&, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
