#include <tapestry/models/training/optimizers/max_norm.hpp>

#include <cmath>
#include <vector>

#include <tapestry/autodiff/axes.hpp>

namespace tapestry::detail {

template <class T>
void limit_unit_norms(T* parameter, const Shape& shape, int unit_axis, double limit) {
  if (shape.rank() < 2) return;
  const int axis = normalize_axis("max_norm", unit_axis, shape);
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  const std::int64_t units = shape[axis];
  const auto each = [&](auto f) {
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t u = 0; u < units; ++u)
        for (std::int64_t i = 0; i < inner; ++i) f(static_cast<std::size_t>(u), parameter[(o * units + u) * inner + i]);
  };
  std::vector<double> scale(static_cast<std::size_t>(units), 0.0);
  each([&](std::size_t u, T& w) { scale[u] += static_cast<double>(w) * static_cast<double>(w); });
  for (double& s : scale) s = std::sqrt(s) > limit ? limit / std::sqrt(s) : 1.0;
  each([&](std::size_t u, T& w) { w = static_cast<T>(static_cast<double>(w) * scale[u]); });
}

template void limit_unit_norms(float*, const Shape&, int, double);
template void limit_unit_norms(double*, const Shape&, int, double);

}  // namespace tapestry::detail
