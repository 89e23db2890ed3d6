#include <tapestry/models/layers/convolution.hpp>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

/// The share of `channels` that one group has. @throws ShapeError
std::int64_t share(const char* layer, std::int64_t channels, std::int64_t groups) {
  if (groups < 1 || channels % groups != 0)
    fail<ShapeError>(layer, channels, " channels do not fall into ", groups, " groups");
  return channels / groups;
}

template <class T>
void start(Var<T>& weight, Var<T>& bias, const Shape& shape, std::int64_t out, const Fans& fans, Generator& generator,
           const FilterOptions& filters) {
  weight = filters.weight.parameter<T>(shape, generator, fans);
  if (filters.bias) bias = Var<T>::filled({out}, 0, true);
}

}  // namespace

template <class T>
Conv1d<T>::Conv1d(std::int64_t in, std::int64_t out, std::int64_t kernel, Generator& generator,
                  const Conv1dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  share("Conv1d", out, options.groups);
  const Shape shape{out, share("Conv1d", in, options.groups), kernel};
  start(weight, bias, shape, out, convolution_fans(shape, options.groups), generator, filters);
}

template <class T>
Conv2d<T>::Conv2d(std::int64_t in, std::int64_t out, HeightWidth kernel, Generator& generator,
                  const Conv2dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  share("Conv2d", out, options.groups);
  const Shape shape{out, share("Conv2d", in, options.groups), kernel.height, kernel.width};
  start(weight, bias, shape, out, convolution_fans(shape, options.groups), generator, filters);
}

template <class T>
ConvTranspose1d<T>::ConvTranspose1d(std::int64_t in, std::int64_t out, std::int64_t kernel, Generator& generator,
                                    const ConvTranspose1dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  share("ConvTranspose1d", in, options.groups);
  const Shape shape{in, share("ConvTranspose1d", out, options.groups), kernel};
  start(weight, bias, shape, out, transposed_convolution_fans(shape, options.groups), generator, filters);
}

template <class T>
ConvTranspose2d<T>::ConvTranspose2d(std::int64_t in, std::int64_t out, HeightWidth kernel, Generator& generator,
                                    const ConvTranspose2dOptions& settings, const FilterOptions& filters)
    : options(settings) {
  share("ConvTranspose2d", in, options.groups);
  const Shape shape{in, share("ConvTranspose2d", out, options.groups), kernel.height, kernel.width};
  start(weight, bias, shape, out, transposed_convolution_fans(shape, options.groups), generator, filters);
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
