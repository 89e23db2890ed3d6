#include <tapestry/models/layers/convolution.hpp>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

/// Weight and bias of a layer from `in` to `out` channels; a transposed layer's weight starts with `in`.
/// @throws ShapeError
template <class T, class Layer>
void start(Layer& layer, const char* name, std::int64_t in, std::int64_t out, const Shape& kernel, bool transposed,
           Generator& generator, const FilterOptions& filters) {
  const std::int64_t groups = layer.options.groups, first = transposed ? in : out, second = transposed ? out : in;
  for (const std::int64_t channels : {first, second})
    if (groups < 1 || channels % groups != 0)
      fail<ShapeError>(name, channels, " channels do not fall into ", groups, " groups");
  Shape shape{first, second / groups};
  for (const std::int64_t extent : kernel) shape.push_back(extent);
  const Fans fans = transposed ? transposed_convolution_fans(shape, groups) : convolution_fans(shape, groups);
  layer.weight = filters.weight.parameter<T>(shape, generator, fans);
  if (filters.bias) layer.bias = Var<T>::filled({out}, 0, true);
}

}  // namespace

template <class T>
Conv1d<T>::Conv1d(std::int64_t in, std::int64_t out, std::int64_t kernel, Generator& generator,
                  const Conv1dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  start<T>(*this, "Conv1d", in, out, {kernel}, false, generator, filters);
}

template <class T>
Conv2d<T>::Conv2d(std::int64_t in, std::int64_t out, HeightWidth kernel, Generator& generator,
                  const Conv2dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  start<T>(*this, "Conv2d", in, out, {kernel.height, kernel.width}, false, generator, filters);
}

template <class T>
ConvTranspose1d<T>::ConvTranspose1d(std::int64_t in, std::int64_t out, std::int64_t kernel, Generator& generator,
                                    const ConvTranspose1dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  start<T>(*this, "ConvTranspose1d", in, out, {kernel}, true, generator, filters);
}

template <class T>
ConvTranspose2d<T>::ConvTranspose2d(std::int64_t in, std::int64_t out, HeightWidth kernel, Generator& generator,
                                    const ConvTranspose2dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  start<T>(*this, "ConvTranspose2d", in, out, {kernel.height, kernel.width}, true, generator, filters);
}

template <class T>
Var<T> Conv1d<T>::forward(const Var<T>& x) const {
  return bias.defined() ? conv1d(x, weight, bias, options) : conv1d(x, weight, options);
}
template <class T>
Var<T> Conv2d<T>::forward(const Var<T>& x) const {
  return bias.defined() ? conv2d(x, weight, bias, options) : conv2d(x, weight, options);
}
template <class T>
Var<T> ConvTranspose1d<T>::forward(const Var<T>& x) const {
  return bias.defined() ? conv_transpose1d(x, weight, bias, options) : conv_transpose1d(x, weight, options);
}
template <class T>
Var<T> ConvTranspose2d<T>::forward(const Var<T>& x) const {
  return bias.defined() ? conv_transpose2d(x, weight, bias, options) : conv_transpose2d(x, weight, options);
}

#define TAPESTRY_INSTANTIATE(T)       \
  template struct Conv1d<T>;          \
  template struct Conv2d<T>;          \
  template struct ConvTranspose1d<T>; \
  template struct ConvTranspose2d<T>;
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
