// A network with two hidden layers parts two spirals; Adam, and a layer that is nothing but a struct.
#include <cmath>
#include <cstdio>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/module.hpp>
#include <tapestry/models/training/optimizer.hpp>

using namespace tapestry;
using Variable = Var<float>;

struct Network {
  Variable w1, b1, w2, b2, w3, b3;

  explicit Network(Generator& random) {
    const auto weight = [&](std::int64_t in, std::int64_t out) {
      return Variable(random.normal<float>({in, out}, 0.0f, std::sqrt(2.0f / static_cast<float>(in))), true);
    };
    const auto bias = [](std::int64_t n) { return Variable::filled({n}, 0.0f, true); };
    w1 = weight(2, 32), b1 = bias(32), w2 = weight(32, 32), b2 = bias(32), w3 = weight(32, 1), b3 = bias(1);
  }
  void members(Members& m) { m("w1", w1)("b1", b1)("w2", w2)("b2", b2)("w3", w3)("b3", b3); }
  Variable forward(const Variable& x) const {
    return linear(linear(linear(x, w1, b1, Activation::relu), w2, b2, Activation::relu), w3, b3);
  }
};

int main() {
  const std::int64_t points = 400;
  Generator random(1);
  Tensor<float> x = random.normal<float>({points, 2}, 0.0f, 0.05f), y = empty_tensor<float>({points, 1});
  for (std::int64_t i = 0; i < points; ++i) {
    const float side = i % 2 == 0 ? 1.0f : -1.0f, t = 0.5f + 6 * static_cast<float>(i) / static_cast<float>(points);
    x(i, 0) += side * t * std::cos(t) / 3;
    x(i, 1) += side * t * std::sin(t) / 3;
    y(i, 0) = side;
  }

  Network network(random);
  std::printf("%lld parameters\n", static_cast<long long>(parameter_count(network)));
  Adam<float> adam(parameters<float>(network), {.rate = 0.01});
  const Variable inputs(x), targets(y);
  float last = 0;
  for (int step = 0; step <= 600; ++step) {
    adam.zero_gradients();
    const Variable loss = mean(softplus(-(targets * network.forward(inputs))));
    loss.backward();
    adam.step();
    last = loss.item();
    if (step % 100 == 0) std::printf("step %3d  logistic loss %.4f\n", step, static_cast<double>(last));
  }
  return last < 0.1f ? 0 : 1;
}
