#include "tapestry_side.hpp"

namespace versus {
namespace {

using tapestry::Activation;

// A perceptron with one activation between its layers, trained with cross-entropy.
struct Perceptron {
  Perceptron(const std::vector<std::int64_t>& sizes, Activation activation_) : activation(activation_) {
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
      layers.emplace_back("layer" + std::to_string(i), sizes[i], sizes[i + 1]);
  }
  std::vector<Variable> parameters() const {
    std::vector<Variable> all;
    for (const Layer& layer : layers) all.insert(all.end(), {layer.weight, layer.bias});
    return all;
  }
  Variable operator()(Variable x) const {
    for (std::size_t i = 0; i < layers.size(); ++i)
      x = linear(x, layers[i].weight, layers[i].bias, i + 1 < layers.size() ? activation : Activation::none);
    return x;
  }

  std::vector<Layer> layers;
  Activation activation;
};

Side mlp() {
  const Perceptron net({784, 512, 512, 10}, Activation::relu);
  const Variable x = leaf({128, 784}, uniforms("x", 128 * 784), false);
  const tapestry::Indices y = index_array({128}, labels("y", 128, 10));
  return side(
      net.parameters(), [=] { return cross_entropy(net(x), y); },
      std::make_shared<tapestry::Adam<float>>(net.parameters(), tapestry::AdamOptions{.rate = 1e-3}));
}

// The TIMIT acoustic model of the lectures: 440 inputs, six hidden layers of 2048 sigmoids, 1993 outputs.
Side timit() {
  const Perceptron net({440, 2048, 2048, 2048, 2048, 2048, 2048, 1993}, Activation::sigmoid);
  const Variable x = leaf({256, 440}, uniforms("x", 256 * 440), false);
  const tapestry::Indices y = index_array({256}, labels("y", 256, 1993));
  return side(
      net.parameters(), [=] { return cross_entropy(net(x), y); },
      std::make_shared<tapestry::Sgd<float>>(net.parameters(), tapestry::SgdOptions{.rate = 0.1, .momentum = 0.9}));
}

Side long_short_term_memory() {
  constexpr std::int64_t steps = 50, batch = 32, in = 128, hidden = 256;
  const Variable x = leaf({steps, batch, in}, uniforms("x", steps * batch * in), false);
  const Variable weight_x = leaf({4 * hidden, in}, normals("weight_x", 4 * hidden * in, 0.04f));
  const Variable weight_h = leaf({4 * hidden, hidden}, normals("weight_h", 4 * hidden * hidden, 0.04f));
  const Variable bias = leaf({4 * hidden}, normals("bias", 4 * hidden, 0.04f));
  const Variable zero = Variable::zeros({batch, hidden});
  return side({weight_x, weight_h, bias}, [=] { return sum(lstm(x, zero, zero, weight_x, weight_h, bias).output); });
}

Side lenet() {
  const Variable w1 = leaf({32, 1, 5, 5}, normals("w1", 32 * 25, 0.12f)), b1 = leaf({32}, normals("b1", 32, 0.1f));
  const Variable w2 = leaf({64, 32, 5, 5}, normals("w2", 64 * 32 * 25, 0.02f)),
                 b2 = leaf({64}, normals("b2", 64, 0.1f));
  const Layer hidden("hidden", 1024, 256), output("output", 256, 10);
  const Variable x = leaf({64, 1, 28, 28}, uniforms("x", 64 * 28 * 28), false);
  const tapestry::Indices y = index_array({64}, labels("y", 64, 10));
  const std::vector<Variable> parameters{w1, b1, w2, b2, hidden.weight, hidden.bias, output.weight, output.bias};
  return side(
      parameters,
      [=] {
        const Variable first = max_pool2d(relu(conv2d(x, w1, b1)), 2);
        const Variable second = max_pool2d(relu(conv2d(first, w2, b2)), 2);
        const Variable h = linear(reshape(second, {64, 1024}), hidden.weight, hidden.bias, Activation::relu);
        return cross_entropy(linear(h, output.weight, output.bias), y);
      },
      std::make_shared<tapestry::Sgd<float>>(parameters, tapestry::SgdOptions{.rate = 0.01}));
}

}  // namespace

Workloads tapestry_networks() {
  return {
      {"mlp_adam_b128", mlp},
      {"timit_dnn_sgd_b256", timit},
      {"lstm_t50_b32_h256", long_short_term_memory},
      {"lenet_b64", lenet},
  };
}

}  // namespace versus
