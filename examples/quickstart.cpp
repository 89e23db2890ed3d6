// A network with one hidden layer learns a function from noisy points.
#include <cmath>
#include <cstdio>

#include <xtensor/xmath.hpp>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/random.hpp>

using namespace tapestry;
using Variable = Var<float>;

int main() {
  const std::int64_t points = 256, hidden = 32;
  const float pi = 3.14159265f;
  Generator random(1);
  const Tensor<float> inputs = random.uniform<float>({points, 1}, -pi, pi);
  const Tensor<float> noise = random.normal<float>({points, 1}, 0.0f, 0.1f);
  const Variable x(inputs), y(Tensor<float>(xt::sin(inputs) + noise));

  Variable w1(random.normal<float>({hidden}), true), b1(random.normal<float>({hidden}), true);
  Variable w2(random.normal<float>({hidden}, 0.0f, 0.2f), true),
      b2(Tensor<float>(Tensor<float>::shape_type{1}, 0.0f), true);
  const auto predict = [&](const Variable& at) { return sum(tanh(at * w1 + b1) * w2, {1}, true) + b2; };

  for (int step = 0; step <= 2000; ++step) {
    const Variable loss = mean(square(predict(x) - y));
    loss.backward();
    for (Variable* parameter : {&w1, &b1, &w2, &b2}) {
      parameter->mutable_value() -= 0.02f * parameter->gradient();
      parameter->zero_gradient();
    }
    if (step % 400 == 0) std::printf("step %4d  mean squared error %.4f\n", step, static_cast<double>(loss.item()));
  }

  const NoGradients scope;
  std::printf("\n    x   sin(x)  learnt\n");
  for (const float at : {-2.0f, 0.0f, 1.0f}) {
    const float learnt = predict(Variable::filled({1, 1}, at)).item();
    std::printf("%5.1f  %7.3f %7.3f\n", static_cast<double>(at), std::sin(static_cast<double>(at)),
                static_cast<double>(learnt));
  }
}
