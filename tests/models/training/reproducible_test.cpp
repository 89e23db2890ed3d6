#include <functional>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/models/networks/mlp.hpp>
#include <tapestry/models/training/lbfgs_parameters.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include "models/training/optimizers/methods.hpp"

using namespace tapestry;

// Same seed, same result: with one thread, with two and with three, for all that changes parameters. The first layer is
// larger than what a thread gets as one piece of an update, and the batch larger than one of a sum.
namespace {

struct Data {
  Var<float> x;
  Indices labels;
};

Data data() {
  Generator generator(5);
  IndexTensor labels = empty_tensor<std::int64_t>({96});
  for (std::size_t i = 0; i < 96; ++i) labels(i) = static_cast<std::int64_t>(i % 7);
  return {Var<float>(generator.normal<float>({96, 256})), Indices(std::move(labels))};
}

using Train = std::function<void(Mlp<float>& network, const std::function<Var<float>()>& loss)>;

// The parameters' bytes after a training with so many threads.
std::string trained(int count, const Train& train) {
  const int before = threads();
  set_threads(count);
  Generator generator(6);
  Mlp<float> network({256, 300, 7}, generator, {.dropout = 0.2});
  const Data all = data();
  train(network, [&] { return cross_entropy(network.forward(all.x), all.labels); });
  std::string bytes;
  for (const Var<float>& p : parameters<float>(network))
    bytes.append(reinterpret_cast<const char*>(p.data()), static_cast<std::size_t>(p.size()) * sizeof(float));
  set_threads(before);
  return bytes;
}

void check_threads(const Train& train) {
  const std::string one = trained(1, train);
  CHECK(one != trained(1, [](Mlp<float>&, const std::function<Var<float>()>&) {}));
  CHECK(one == trained(1, train));
  CHECK(one == trained(2, train));
  CHECK(one == trained(3, train));
}

}  // namespace

TEST_CASE("reproducible: every optimiser gives the same bits with any number of threads") {
  for (const NamedMethod<float>& method : named_methods<float>()) {
    INFO(method.name);
    check_threads([&](Mlp<float>& network, const std::function<Var<float>()>& loss) {
      ParameterGroups<float> groups;
      groups.add(network.layers[0], {.l1 = 1e-4, .max_norm = 2}).add(network.layers[1], {.weight_decay = 1e-3});
      const auto optimizer = method.make(groups);
      optimizer->set_clipping({.norm = 1});
      for (int step = 0; step < 4; ++step) {
        optimizer->zero_gradients();
        loss().backward();
        optimizer->step();
      }
    });
  }
}

TEST_CASE("reproducible: L-BFGS and OWL-QN give the same bits with any number of threads") {
  for (const double l1 : {0.0, 1e-3}) {
    INFO(l1);
    check_threads([&](Mlp<float>& network, const std::function<Var<float>()>& loss) {
      evaluate(network);  // a full-batch method needs the same loss at the same place
      minimize_lbfgs<float>(network, loss, {.max_iterations = 4, .l1 = l1});
    });
  }
}
