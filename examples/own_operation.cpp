// Swish, x sigmoid(beta x), in the three ways to write an operation of your own; all three pass the gradient check.
#include <cstdio>

#include <xtensor/xmath.hpp>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/elementwise.hpp>

using namespace tapestry;
using Variable = Var<double>;
using Variables = std::vector<Variable>;
using Tensors = std::vector<Tensor<double>>;

// 1. Composed of operations that exist.
Variable swish_composed(const Variable& x, const Variable& beta) {
  return x * sigmoid(beta * x);
}

// 2. From a function of scalars: value and both partial derivatives in one vectorised pass.
Variable swish_elementwise(const Variable& x, const Variable& beta) {
  return elementwise<double>(
      "swish", [](auto a, auto b) { return a * sigmoid(b * a); }, x, beta);
}

// 3. Forward and gradient on xtensor arrays. The state keeps the sigmoid from one to the other; the second gradient,
// in operations, is what higher orders and forward mode use.
const CustomOperation<double, Tensor<double>> swish{
    .name = "swish",
    .forward =
        [](const TensorViews<double>& in, Tensor<double>& s) {
          s = 1.0 / (1.0 + xt::exp(-in[0] * in[1]));
          return Tensors{in[0] * s};
        },
    .vjp =
        [](const TensorViews<double>& in, const TensorViews<double>&, const TensorViews<double>& g,
           const Tensor<double>& s) {
          return Tensors{g[0] * (s + in[0] * in[1] * s * (1.0 - s)), g[0] * in[0] * in[0] * s * (1.0 - s)};
        },
    .vjp_in_operations =
        [](const Variables& in, const Variables&, const Variables& g) {
          const Variable s = sigmoid(in[0] * in[1]), slope = s * (1.0 - s);
          return Variables{g[0] * (s + in[0] * in[1] * slope), g[0] * square(in[0]) * slope};
        }};

int main() {
  const Variables inputs = {Variable(Tensor<double>{-1.0, 0.5, 2.0}), Variable(Tensor<double>{0.5, 1.0, 1.5})};
  const auto show = [&](const char* way, const Function<double>& f) {
    check_gradients(f, inputs, {.order = 2, .name = way});
    const Tensor<double> y = f(inputs).tensor();
    std::printf("%-12s %.6f %.6f %.6f  gradients checked to second order\n", way, y(0), y(1), y(2));
  };
  show("composed", [](const Variables& x) { return swish_composed(x[0], x[1]); });
  show("elementwise", [](const Variables& x) { return swish_elementwise(x[0], x[1]); });
  show("custom", [](const Variables& x) { return swish(x)[0]; });
}
