#include <tapestry/autodiff/ops/convolution.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;
using Int = std::int64_t;

// Calls f(position in x, in w, in y) for all products of a convolution of these shapes.
template <class F>
void for_each_product(const Shape& x, const Shape& w, const Shape& y, const Conv2dOptions& o, F f) {
  const Int group_outputs = w[0] / o.groups;
  for (Int n = 0; n < x[0]; ++n)
    for (Int out = 0; out < w[0]; ++out)
      for (Int h = 0; h < y[2]; ++h)
        for (Int v = 0; v < y[3]; ++v)
          for (Int c = 0; c < w[1]; ++c)
            for (Int i = 0; i < w[2]; ++i)
              for (Int j = 0; j < w[3]; ++j) {
                const Int row = h * o.stride.height + i * o.dilation.height - o.padding.height;
                const Int column = v * o.stride.width + j * o.dilation.width - o.padding.width;
                if (row < 0 || row >= x[2] || column < 0 || column >= x[3]) continue;
                const Int channel = out / group_outputs * w[1] + c;
                f(((n * x[1] + channel) * x[2] + row) * x[3] + column, ((out * w[1] + c) * w[2] + i) * w[3] + j,
                  ((n * w[0] + out) * y[2] + h) * y[3] + v);
              }
}

Tensor<double> biased(const Shape& shape, const Values& values, int axis_elements) {
  Tensor<double> out = empty_tensor<double>(shape);
  for (Int i = 0; i < shape.elements(); ++i)
    out.data()[i] = values.size() > 2 ? values[2].data()[i / axis_elements % shape[1]] : 0.0;
  return out;
}

Shape as_image(const Shape& s) {
  return s.rank() == 4 ? s : Shape{s[0], s[1], 1, s[2]};
}

Tensor<double> reference(const Values& v, const Shape& shape, const Conv2dOptions& o) {
  const Shape y = as_image(shape);
  Tensor<double> out = biased(shape, v, static_cast<int>(y[2] * y[3]));
  for_each_product(as_image(shape_of(v[0])), as_image(shape_of(v[1])), y, o,
                   [&](Int x, Int w, Int z) { out.data()[z] += v[0].data()[x] * v[1].data()[w]; });
  return out;
}

Tensor<double> transposed_reference(const Values& v, const Shape& shape, const Conv2dOptions& o) {
  const Shape x = as_image(shape);
  Tensor<double> out = biased(shape, v, static_cast<int>(x[2] * x[3]));
  for_each_product(x, as_image(shape_of(v[1])), as_image(shape_of(v[0])), o,
                   [&](Int z, Int w, Int y) { out.data()[z] += v[0].data()[y] * v[1].data()[w]; });
  return out;
}

}  // namespace

void register_convolution(Registry& r) {
  r.add("conv1d", {uniform_example({2, 4, 7}), uniform_example({6, 2, 3}), uniform_example({6})}, [](const auto& x) {
     return conv1d(x[0], x[1], x[2], {.stride = 2, .padding = 1, .groups = 2});
   }).reference = [](const Values& v) {
    return reference(v, {2, 6, 4}, {.stride = {1, 2}, .padding = {0, 1}, .groups = 2});
  };
  r.add("conv2d", {uniform_example({2, 3, 5, 6}), uniform_example({4, 3, 2, 3})}, [](const auto& x) {
     return conv2d(x[0], x[1]);
   }).reference = [](const Values& v) {
    return reference(v, {2, 4, 4, 4}, {});
  };
  r.add("conv2d_options", {uniform_example({2, 4, 6, 5}), uniform_example({2, 2, 3, 2}), uniform_example({2})},
        [](const auto& x) {
          return conv2d(x[0], x[1], x[2], {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 3}, .groups = 2});
        })
      .reference = [](const Values& v) {
    return reference(v, {2, 2, 3, 6}, {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 3}, .groups = 2});
  };
  r.add("conv_transpose1d", {uniform_example({2, 3, 4}), uniform_example({3, 2, 3}), uniform_example({2})},
        [](const auto& x) {
          return conv_transpose1d(x[0], x[1], x[2], {.stride = 2, .padding = 1, .output_padding = 1});
        })
      .reference = [](const Values& v) {
    return transposed_reference(v, {2, 2, 8}, {.stride = {1, 2}, .padding = {0, 1}});
  };
  r.add("conv_transpose2d", {uniform_example({2, 4, 3, 4}), uniform_example({4, 1, 3, 2}), uniform_example({2})},
        [](const auto& x) {
          return conv_transpose2d(x[0], x[1], x[2],
                                  {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2});
        })
      .reference = [](const Values& v) {
    return transposed_reference(v, {2, 2, 5, 6},
                                {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2});
  };
}

}  // namespace tapestry::detail
