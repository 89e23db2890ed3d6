#include <tapestry/autodiff/ops/strided_copy.hpp>

#include <algorithm>
#include <cstdlib>

#include <tapestry/autodiff/kernels/layout.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

// Elements per piece of work of a thread, and a multiple of the squares in which the kernel transposes.
constexpr std::int64_t grain = 32768;
constexpr std::int64_t square = 16;

}  // namespace

Strides row_major_strides(const Shape& shape) {
  Strides strides{};
  std::int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = stride;
    stride *= shape[i];
  }
  return strides;
}

template <class T>
void strided_copy(const T* x, const Strides& from, T* y, const Strides& to, const Shape& extents, bool accumulate) {
  const std::int64_t elements = extents.elements();
  if (elements == 0) return;
  StridedBox box;
  int outer = 0;  // the axis whose parts lie furthest apart in y
  for (int i = 0; i < extents.rank(); ++i) {
    const auto axis = static_cast<std::size_t>(i);
    box.add(extents[i], from[axis], to[axis]);
    if (extents[i] > 1 && (extents[outer] == 1 || std::abs(box.to[i]) > std::abs(box.to[outer]))) outer = i;
  }
  const auto& table = kernels<LayoutKernels<T>>();
  if (elements <= grain) return table.copy(x, y, box, accumulate);
  const std::int64_t slab = elements / extents[outer];
  const std::int64_t step = (std::max<std::int64_t>(1, grain / slab) + square - 1) / square * square;
  parallel_for(extents[outer], step, [&](std::int64_t begin, std::int64_t end) {
    StridedBox part = box;
    part.extent[outer] = end - begin;
    table.copy(x + begin * box.from[outer], y + begin * box.to[outer], part, accumulate);
  });
}

template void strided_copy(const float*, const Strides&, float*, const Strides&, const Shape&, bool);
template void strided_copy(const double*, const Strides&, double*, const Strides&, const Shape&, bool);

}  // namespace tapestry::detail
