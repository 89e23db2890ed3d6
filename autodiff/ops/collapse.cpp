#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 65536;

// Neighbouring axes of a kind as one: summed over (or repeated), or kept.
struct MergedAxis {
  std::int64_t extent;
  bool summed;
};
class MergedAxes {
 public:
  void push_back(MergedAxis axis) { axes_[size_++] = axis; }
  MergedAxis& back() { return axes_[size_ - 1]; }
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  const MergedAxis& operator[](std::size_t i) const { return axes_[i]; }

 private:
  std::array<MergedAxis, Shape::max_rank> axes_;
  std::size_t size_ = 0;
};

// The axes as outer x axes[k] x inner.
struct Around {
  std::int64_t outer = 1, inner = 1;
  Around(const MergedAxes& axes, std::size_t k) {
    for (std::size_t i = 0; i < axes.size(); ++i)
      if (i != k) (i < k ? outer : inner) *= axes[i].extent;
  }
  std::int64_t elements() const { return outer * inner; }
};

// The axes of a full shape against one that broadcasts to it, merged, outermost first; extents of 1 are left out.
MergedAxes merge_axes(const Shape& full, const Shape& reduced) {
  MergedAxes axes;
  const int missing = full.rank() - reduced.rank();
  for (int i = 0; i < full.rank(); ++i) {
    if (full[i] == 1) continue;
    const bool summed = i < missing || reduced[i - missing] == 1;
    if (!axes.empty() && axes.back().summed == summed)
      axes.back().extent *= full[i];
    else
      axes.push_back({full[i], summed});
  }
  return axes;
}

AxisView view_of(std::int64_t outer, std::int64_t axis, std::int64_t inner) {
  return {static_cast<std::size_t>(outer), static_cast<std::size_t>(axis), static_cast<std::size_t>(inner)};
}

template <class T>
void copy_all(const T* x, T* y, std::int64_t n, bool accumulate) {
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const auto length = static_cast<std::size_t>(end - begin);
    if (accumulate)
      kernels<ElementwiseKernels<T>>().accumulate(x + begin, y + begin, length);
    else
      std::memcpy(y + begin, x + begin, length * sizeof(T));
  });
}

template <class T>
void sum_axis(const T* x, std::int64_t outer, std::int64_t axis, std::int64_t inner, T* y, bool accumulate) {
  const auto& table = kernels<ReduceKernels<T>>();
  const std::int64_t slab = axis * inner;
  if (outer * slab <= grain) {
    table.sum(x, view_of(outer, axis, inner), y, accumulate);
  } else if (slab <= grain) {
    parallel_for(outer, grain / slab, [&](std::int64_t begin, std::int64_t end) {
      table.sum(x + begin * slab, view_of(end - begin, axis, inner), y + begin * inner, accumulate);
    });
  } else if (inner >= grain) {
    // Strips of the result, each over the whole axis.
    for (std::int64_t o = 0; o < outer; ++o)
      parallel_for(inner, grain / 4, [&](std::int64_t begin, std::int64_t end) {
        const T* from = x + o * slab + begin;
        T* to = y + o * inner + begin;
        const auto length = static_cast<std::size_t>(end - begin);
        if (!accumulate) std::memcpy(to, from, length * sizeof(T));
        for (std::int64_t a = accumulate ? 0 : 1; a < axis; ++a)
          kernels<ElementwiseKernels<T>>().accumulate(from + a * inner, to, length);
      });
  } else {
    // Pieces of the axis, then the sum of their sums.
    const std::int64_t length = std::max<std::int64_t>(1, grain / inner), pieces = (axis + length - 1) / length;
    const Scratch<T> sums(static_cast<std::size_t>(outer * pieces * inner));
    parallel_for(outer * pieces, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t start = i % pieces * length;
        table.sum(x + i / pieces * slab + start * inner, view_of(1, std::min(length, axis - start), inner),
                  sums.data() + i * inner, false);
      }
    });
    table.sum(sums.data(), view_of(outer, pieces, inner), y, accumulate);
  }
}

template <class T>
void expand_axis(const T* x, std::int64_t outer, std::int64_t axis, std::int64_t inner, T* y, bool accumulate) {
  const auto& table = kernels<ReduceKernels<T>>();
  const std::int64_t slab = axis * inner;
  if (slab <= grain) {
    parallel_for(outer, grain / slab, [&](std::int64_t begin, std::int64_t end) {
      table.expand(x + begin * inner, T(1), view_of(end - begin, axis, inner), y + begin * slab, accumulate);
    });
    return;
  }
  for (std::int64_t o = 0; o < outer; ++o)
    parallel_for(axis, std::max<std::int64_t>(1, grain / inner), [&](std::int64_t begin, std::int64_t end) {
      table.expand(x + o * inner, T(1), view_of(1, end - begin, inner), y + o * slab + begin * inner, accumulate);
    });
}

// The full and the reduced shape but for axis k.
std::pair<Shape, Shape> without(const MergedAxes& axes, std::size_t k) {
  std::pair<Shape, Shape> out;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (i == k) continue;
    out.first.push_back(axes[i].extent);
    out.second.push_back(axes[i].summed ? 1 : axes[i].extent);
  }
  return out;
}

// The innermost or the outermost of the summed axes.
std::optional<std::size_t> summed_axis(const MergedAxes& axes, bool innermost) {
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < axes.size(); ++i)
    if (axes[i].summed && (innermost || !found)) found = i;
  return found;
}

}  // namespace

template <class T>
void sum_to(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate) {
  if (x_shape.elements() == 0) {
    if (!accumulate) std::fill_n(out, out_shape.elements(), T(0));
    return;
  }
  const MergedAxes axes = merge_axes(x_shape, out_shape);
  // The innermost first: what is left for the others is small.
  const auto k = summed_axis(axes, true);
  if (!k) return copy_all(x, out, out_shape.elements(), accumulate);
  const Around around(axes, *k);
  const bool only = k == summed_axis(axes, false);
  if (only) return sum_axis(x, around.outer, axes[*k].extent, around.inner, out, accumulate);
  const Scratch<T> sums(static_cast<std::size_t>(around.elements()));
  sum_axis(x, around.outer, axes[*k].extent, around.inner, sums.data(), false);
  const auto [rest, rest_out] = without(axes, *k);
  sum_to<T>(sums.data(), rest, out, rest_out, accumulate);
}

template <class T>
void broadcast_copy(const T* x, const Shape& x_shape, T* out, const Shape& out_shape, bool accumulate) {
  if (out_shape.elements() == 0) return;
  const MergedAxes axes = merge_axes(out_shape, x_shape);
  // The outermost last: it repeats the longest runs.
  const auto k = summed_axis(axes, false);
  if (!k) return copy_all(x, out, out_shape.elements(), accumulate);
  const Around around(axes, *k);
  if (k == summed_axis(axes, true)) return expand_axis(x, around.outer, axes[*k].extent, around.inner, out, accumulate);
  const auto [rest, rest_x] = without(axes, *k);
  const Scratch<T> repeated(static_cast<std::size_t>(around.elements()));
  broadcast_copy(x, rest_x, repeated.data(), rest, false);
  expand_axis<T>(repeated.data(), around.outer, axes[*k].extent, around.inner, out, accumulate);
}

#define TAPESTRY_INSTANTIATE(T)                                         \
  template void sum_to(const T*, const Shape&, T*, const Shape&, bool); \
  template void broadcast_copy(const T*, const Shape&, T*, const Shape&, bool);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
