#include <tapestry/autodiff/shape.hpp>

#include <algorithm>
#include <ostream>
#include <sstream>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

Shape Shape::filled(int rank, std::int64_t extent) {
  Shape shape;
  for (int i = 0; i < rank; ++i) shape.push_back(extent);
  return shape;
}

void Shape::push_back(std::int64_t extent) {
  if (rank_ == max_rank) fail<ShapeError>("shape", "more than ", max_rank, " axes");
  if (extent < 0) fail<ShapeError>("shape", "negative extent ", extent);
  extents_[rank_++] = extent;
}

void Shape::insert(int axis, std::int64_t extent) {
  push_back(extent);
  for (int i = rank_ - 1; i > axis; --i) extents_[i] = extents_[i - 1];
  extents_[axis] = extent;
}

void Shape::erase(int axis) {
  for (int i = axis; i + 1 < rank_; ++i) extents_[i] = extents_[i + 1];
  --rank_;
}

std::string to_string(const Shape& shape) {
  std::ostringstream out;
  out << shape;
  return out.str();
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ']';
}

std::array<std::int64_t, Shape::max_rank> broadcast_strides(const Shape& shape) {
  std::array<std::int64_t, Shape::max_rank> strides{};
  std::int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = shape[i] == 1 ? 0 : stride;
    stride *= shape[i];
  }
  return strides;
}

Shape broadcast(std::string_view operation, const Shape& a, const Shape& b) {
  Shape out = Shape::filled(std::max(a.rank(), b.rank()));
  for (int i = 1; i <= out.rank(); ++i) {
    const std::int64_t m = i <= a.rank() ? a[a.rank() - i] : 1;
    const std::int64_t n = i <= b.rank() ? b[b.rank() - i] : 1;
    if (m != n && m != 1 && n != 1) fail<ShapeError>(operation, "shapes do not broadcast: ", a, " and ", b);
    out[out.rank() - i] = m == 1 ? n : m;
  }
  return out;
}

int normalize_axis(std::string_view operation, std::int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) fail<ShapeError>(operation, "axis ", axis, " of a tensor of rank ", rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::array<bool, Shape::max_rank> axis_mask(std::string_view operation, const Axes& axes, int rank) {
  std::array<bool, Shape::max_rank> mask{};
  if (axes.empty()) std::fill_n(mask.begin(), rank, true);
  for (const std::int64_t axis : axes) {
    bool& entry = mask[static_cast<std::size_t>(normalize_axis(operation, axis, rank))];
    if (entry) fail<ShapeError>(operation, "axis ", axis, " is listed twice");
    entry = true;
  }
  return mask;
}

Shape reduced_shape(const Shape& shape, const std::array<bool, Shape::max_rank>& mask, bool keep_dims) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!mask[static_cast<std::size_t>(i)])
      out.push_back(shape[i]);
    else if (keep_dims)
      out.push_back(1);
  }
  return out;
}

}  // namespace tapestry
