// From nothing to a trained model: pictures made up here, augmentation, a convolutional network, the Trainer with a
// schedule, early stopping and the best model, and how good that is by cross-validation.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <span>
#include <utility>
#include <vector>

#include <tapestry/tapestry.hpp>

using namespace tapestry;

namespace {

constexpr std::int64_t size = 12, classes = 3, pictures = 180;

// A cross, a ring or a bar on a noisy background.
Tensor<float> draw(std::int64_t kind, Generator& generator) {
  Tensor<float> picture = generator.normal<float>({1, size, size}, 0, 0.3f);
  for (std::int64_t i = 0; i < size; ++i)
    for (std::int64_t j = 0; j < size; ++j) {
      const double y = static_cast<double>(i) - 5.5, x = static_cast<double>(j) - 5.5, r = std::hypot(x, y);
      const bool ink = kind == 0   ? r < 5 && (std::fabs(x) < 1 || std::fabs(y) < 1)
                       : kind == 1 ? r > 2.5 && r < 4.5
                                   : std::fabs(y) < 1 && std::fabs(x) < 5;
      if (ink) picture(0, i, j) += 1;
    }
  return augment(picture, {.shift = 2, .angle = 0.3, .scale = 1.2}, generator);
}

struct Example {
  Tensor<float> picture;
  std::int64_t kind;
};

struct Batch {
  Var<float> pictures;
  Indices kinds;
  std::int64_t size() const { return pictures.extent(0); }
};

Batch to_batch(const std::vector<Example>& examples) {
  std::vector<Tensor<float>> all;
  IndexTensor kinds = empty_tensor<std::int64_t>({static_cast<std::int64_t>(examples.size())});
  for (std::size_t i = 0; i < examples.size(); ++i) {
    all.push_back(examples[i].picture);
    kinds(i) = examples[i].kind;
  }
  return {Var<float>(stack<float>(all)), Indices(std::move(kinds))};
}

// A network is put together from layers, or written as a struct of them.
struct Network {
  Conv2d<float> filters;
  Linear<float> hidden, last;
  explicit Network(Generator& generator)
      : filters(1, 8, 3, generator),
        hidden(8 * 5 * 5, 32, generator, {.activation = Activation::relu}),
        last(32, classes, generator) {}
  void members(Members& m) { m("filters", filters)("hidden", hidden)("last", last); }
  Var<float> forward(const Var<float>& x) const {
    const Var<float> pooled = max_pool2d(relu(filters.forward(x)), 2);
    return last.forward(hidden.forward(Flatten().forward(pooled)));
  }
};

}  // namespace

int main() {
  Generator generator(1);
  std::vector<Example> examples;
  std::vector<std::int64_t> kinds;
  for (std::int64_t i = 0; i < pictures; ++i) {
    kinds.push_back(i % classes);
    examples.push_back({draw(kinds.back(), generator), kinds.back()});
  }
  const Dataset<Example> all(examples);

  ConfusionMatrix confusion(classes);
  for (const Split& fold : stratified_k_fold(kinds, 3, 7)) {
    // What decides about stopping and the best model is taken from the training part, not from the test part.
    const Dataset<Example> seen = all.subset(fold.train);
    const Split parts = split(seen.size(), 0.2, 5);
    const auto training = seen.subset(parts.train)
                              .map_random(2,
                                          [](Example e, std::uint64_t seed) {
                                            Generator of_example(seed);
                                            e.picture = augment(e.picture, {.shift = 1, .angle = 0.1}, of_example);
                                            return e;
                                          })
                              .shuffle(3)
                              .batch(16)
                              .map(to_batch);
    const Batch validation = seen.subset(parts.test).batch(pictures).map(to_batch).at(0);
    const Batch test = all.subset(fold.test).batch(pictures).map(to_batch).at(0);

    Network network(generator);
    if (confusion.total() == 0) print_summary(network, std::cout);
    AdamW<float> adam(network, {.rate = 3e-3, .weight_decay = 1e-2});
    Loader<Batch> loader(training);
    Trainer<float> trainer(network, adam,
                           {.epochs = 20,
                            .schedule = schedules::one_cycle(20 * training.size()),
                            .decisive = "validation_loss",
                            .keep_best = true});
    trainer.validate([&] {
      const Var<float> scores = network.forward(validation.pictures);
      const std::span<const std::int64_t> truth(validation.kinds.data(), static_cast<std::size_t>(validation.size()));
      return Metrics{{"validation_loss", cross_entropy(scores, validation.kinds).item()},
                     {"accuracy", top_k_accuracy(truth, scores.tensor())}};
    });
    trainer.stop_when(stopping::plateau("validation_loss", 6));
    const TrainingResult result = trainer.run(
        loader, [&](const Batch& batch) { return cross_entropy(network.forward(batch.pictures), batch.kinds); });
    for (const EpochReport& epoch : result.history)
      if (epoch.epoch % 5 == 1 || epoch.epoch == result.best_epoch)
        std::printf("epoch %2lld  loss %.3f  validation loss %.3f  accuracy %.3f%s\n",
                    static_cast<long long>(epoch.epoch), epoch.loss, epoch.metric("validation_loss"),
                    epoch.metric("accuracy"), epoch.epoch == result.best_epoch ? "  (best)" : "");
    trainer.restore_best();

    const Tensor<float> scores = network.forward(test.pictures).tensor();
    for (std::int64_t i = 0; i < test.size(); ++i) {
      const float* const row = scores.data() + i * classes;
      confusion.add(test.kinds.data()[i], std::max_element(row, row + classes) - row);
    }
  }
  std::cout << "\nall folds, truth by row: cross, ring, bar\n" << confusion;
  std::printf("accuracy %.3f, macro F1 %.3f\n", confusion.accuracy(), confusion.macro_f1());
  return confusion.accuracy() > 0.9 ? 0 : 1;
}
