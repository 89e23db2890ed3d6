#include <tapestry/graph/residual.hpp>

#include <cmath>

#include <tapestry/autodiff/observer.hpp>

namespace tapestry::detail {
namespace {

template <class T>
double largest(const T* a, const T* b, std::int64_t n) {
  T worst = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    // Two infinities of one sign have not changed.
    const T change = a[i] == b[i] ? T(0) : std::abs(a[i] - b[i]);
    if (!(change <= worst)) worst = change;
    if (std::isnan(worst)) break;
  }
  return static_cast<double>(worst);
}

}  // namespace

double largest_change(std::string_view operation, const Nodes& from, const Nodes& to) {
  if (capturing())
    fail<GraphError>(operation, "whether to stop depends on values, which a captured program can't: fix the steps");
  double worst = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    const Node &a = *from[i].get(), &b = *to[i].get();
    if (a.shape != b.shape)
      fail<ShapeError>(operation, "a variable of the state changes its shape from ", a.shape, " to ", b.shape);
    const double change = a.dtype == DType::float32
                              ? largest(a.data<const float>(), b.data<const float>(), a.elements())
                              : largest(a.data<const double>(), b.data<const double>(), a.elements());
    if (!(change <= worst)) worst = change;
    if (std::isnan(worst)) break;
  }
  return worst;
}

}  // namespace tapestry::detail
