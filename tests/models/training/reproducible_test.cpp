#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/safetensors.hpp>
#include <tapestry/models/layers/convolution.hpp>
#include <tapestry/models/layers/dropout.hpp>
#include <tapestry/models/layers/linear.hpp>
#include <tapestry/models/layers/normalization.hpp>
#include <tapestry/models/layers/sequential.hpp>
#include <tapestry/models/networks/mlp.hpp>
#include <tapestry/models/training/datasets/padding.hpp>
#include <tapestry/models/training/lbfgs_parameters.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include <tapestry/models/training/trainer.hpp>
#include <tapestry/models/training/transforms/augment.hpp>
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

namespace {

struct Picture {
  Tensor<float> pixels;
  std::int64_t kind = 0;
};

struct Pictures {
  Var<float> x;
  Indices kinds;
  std::int64_t size() const { return x.extent(0); }
};

// Convolution, normalisation, pooling, dropout.
struct Network {
  Conv2d<float> filters;
  BatchNorm<float> norm;
  Dropout<float> dropout;
  Linear<float> hidden, last;
  explicit Network(Generator& generator)
      : filters(1, 16, 3, generator),
        norm(16),
        dropout(0.3, Generator(8)),
        hidden(16 * 13 * 13, 64, generator),
        last(64, 4, generator) {}
  void members(Members& m) { m("filters", filters)("norm", norm)("dropout", dropout)("hidden", hidden)("last", last); }
  Var<float> forward(const Var<float>& x) const {
    const Var<float> pooled = max_pool2d(relu(norm.forward(filters.forward(x))), 2);
    return last.forward(dropout.forward(tanh(hidden.forward(Flatten().forward(pooled)))));
  }
};

// Everything that a training saves at its end, and the losses of its epochs.
std::string trained_on_pictures(int count, int workers) {
  const int before = threads();
  set_threads(count);
  const auto pictures = Dataset<Picture>::generate(48, [](std::int64_t i) {
    Generator generator(static_cast<std::uint64_t>(i) + 1);
    return Picture{generator.uniform<float>({1, 28, 28}), i % 4};
  });
  const auto batches = pictures
                           .map_random(2,
                                       [](Picture p, std::uint64_t seed) {
                                         Generator generator(seed);
                                         p.pixels = augment(p.pixels, {.shift = 2, .angle = 0.2}, generator);
                                         return p;
                                       })
                           .shuffle(3)
                           .batch(32)
                           .map([](const std::vector<Picture>& group) {
                             std::vector<Tensor<float>> all;
                             IndexTensor kinds = empty_tensor<std::int64_t>({static_cast<std::int64_t>(group.size())});
                             for (std::size_t i = 0; i < group.size(); ++i) {
                               all.push_back(group[i].pixels);
                               kinds(i) = group[i].kind;
                             }
                             return Pictures{Var<float>(stack<float>(all)), Indices(std::move(kinds))};
                           });
  Generator generator(7);
  Network network(generator);
  AdamW<float> adam(network, {.rate = 0.01});
  adam.set_clipping({.norm = 1});
  Loader<Pictures> loader(batches, {.workers = workers});
  Trainer<float> trainer(network, adam, {.epochs = 3, .schedule = schedules::one_cycle(6)});
  const TrainingResult result =
      trainer.run(loader, [&](const Pictures& batch) { return cross_entropy(network.forward(batch.x), batch.kinds); });
  set_threads(before);
  Archive all;
  all("network", network)("adam", adam);
  std::string bytes = format_safetensors(all.save());
  for (const EpochReport& epoch : result.history)
    bytes.append(reinterpret_cast<const char*>(&epoch.loss), sizeof epoch.loss);
  return bytes;
}

}  // namespace

TEST_CASE("reproducible: a training with convolution, dropout, augmentation and a loader, with any number of threads") {
  const std::string one = trained_on_pictures(1, 0);
  CHECK(one == trained_on_pictures(1, 0));
  CHECK(one == trained_on_pictures(2, 0));
  CHECK(one == trained_on_pictures(2, 2));
  CHECK(one == trained_on_pictures(3, 1));
}
