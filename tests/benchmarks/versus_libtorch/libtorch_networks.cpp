#include "libtorch_modules.hpp"

namespace versus {
namespace {

using torch::Tensor;

struct Perceptron {
  Perceptron(const std::vector<std::int64_t>& sizes, bool sigmoid_) : sigmoid(sigmoid_) {
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
      layers.push_back(layer("layer" + std::to_string(i), sizes[i], sizes[i + 1]));
  }
  std::vector<Tensor> parameters() const {
    std::vector<Tensor> all;
    for (const Layer& linear : layers)
      for (const Tensor& parameter : linear->parameters()) all.push_back(parameter);
    return all;
  }
  Tensor operator()(Tensor x) const {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      x = layers[i]->forward(x);
      if (i + 1 < layers.size()) x = sigmoid ? torch::sigmoid(x) : torch::relu(x);
    }
    return x;
  }

  std::vector<Layer> layers;
  bool sigmoid;
};

template <class Optimizer>
Side classifier(const Perceptron& net, std::shared_ptr<Optimizer> optimizer, std::int64_t batch, std::int64_t in,
                std::int64_t classes) {
  const Tensor x = leaf({batch, in}, uniforms("x", batch * in), false);
  const Tensor y = torch::tensor(labels("y", batch, classes));
  return module_side(net.parameters(), optimizer, [=] { return F::cross_entropy(net(x), y); });
}

Side mlp() {
  const Perceptron net({784, 512, 512, 10}, false);
  const auto adam = std::make_shared<torch::optim::Adam>(net.parameters(), torch::optim::AdamOptions(1e-3));
  return classifier(net, adam, 128, 784, 10);
}

Side timit() {
  const Perceptron net({440, 2048, 2048, 2048, 2048, 2048, 2048, 1993}, true);
  const auto sgd = std::make_shared<torch::optim::SGD>(net.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  return classifier(net, sgd, 256, 440, 1993);
}

Side long_short_term_memory() {
  constexpr std::int64_t steps = 50, batch = 32, in = 128, hidden = 256;
  const auto lstm = std::make_shared<nn::LSTMImpl>(nn::LSTMOptions(in, hidden));
  const auto parameters = lstm->named_parameters();
  const Tensor weight_x = parameters["weight_ih_l0"], weight_h = parameters["weight_hh_l0"];
  const Tensor bias = parameters["bias_ih_l0"];
  assign(weight_x, leaf({4 * hidden, in}, normals("weight_x", 4 * hidden * in, 0.04f), false));
  assign(weight_h, leaf({4 * hidden, hidden}, normals("weight_h", 4 * hidden * hidden, 0.04f), false));
  assign(bias, leaf({4 * hidden}, normals("bias", 4 * hidden, 0.04f), false));
  assign(parameters["bias_hh_l0"], torch::zeros({4 * hidden}));
  const Tensor x = leaf({steps, batch, in}, uniforms("x", steps * batch * in), false);
  auto last = std::make_shared<Tensor>();
  Side out;
  out.step = [=] {
    lstm->zero_grad();
    *last = std::get<0>(lstm->forward(x)).sum();
    last->backward();
  };
  out.result = [=] {
    std::vector<std::vector<float>> all{{last->item<float>()}};
    for (const Tensor& parameter : {weight_x, weight_h, bias}) all.push_back(gradient_of(parameter, false));
    return all;
  };
  return out;
}

Side lenet() {
  const nn::Conv2d conv1(1, 32, 5), conv2(32, 64, 5);
  assign(conv1->weight, leaf({32, 1, 5, 5}, normals("w1", 32 * 25, 0.12f), false));
  assign(conv1->bias, leaf({32}, normals("b1", 32, 0.1f), false));
  assign(conv2->weight, leaf({64, 32, 5, 5}, normals("w2", 64 * 32 * 25, 0.02f), false));
  assign(conv2->bias, leaf({64}, normals("b2", 64, 0.1f), false));
  nn::Sequential net(conv1, nn::ReLU(), nn::MaxPool2d(2), conv2, nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                     layer("hidden", 1024, 256), nn::ReLU(), layer("output", 256, 10));
  const auto sgd = std::make_shared<torch::optim::SGD>(net->parameters(), 0.01);
  const Tensor x = leaf({64, 1, 28, 28}, uniforms("x", 64 * 28 * 28), false);
  const Tensor y = torch::tensor(labels("y", 64, 10));
  return module_side(net->parameters(), sgd, [=]() mutable { return F::cross_entropy(net->forward(x), y); });
}

}  // namespace

Workloads libtorch_networks() {
  return {
      {"mlp_adam_b128", mlp},
      {"timit_dnn_sgd_b256", timit},
      {"lstm_t50_b32_h256", long_short_term_memory},
      {"lenet_b64", lenet},
  };
}

}  // namespace versus
