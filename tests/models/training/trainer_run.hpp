#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include <tapestry/models/training/trainer.hpp>
#include "models/temporary_folder.hpp"

// A small training that has everything that has a memory, for the tests of the Trainer.
namespace trainer_run {

using namespace tapestry;

struct Net {
  Var<float> first, second;
  mutable Generator noise{3};
  Dropout<float> dropout{0.2, Generator(8)};
  Mode mode;
  explicit Net(std::uint64_t seed, std::int64_t hidden = 16) {
    Generator generator(seed);
    first = initializers::xavier_normal().parameter<float>({3, hidden}, generator);
    second = initializers::xavier_normal().parameter<float>({hidden, 1}, generator);
  }
  void members(Members& m) { m("first", first)("second", second)("noise", noise)("dropout", dropout)("mode", mode); }
  Var<float> forward(const Var<float>& x) const {
    Var<float> h = tanh(matmul(x, first));
    // Numbers that the generators among the members give: a run that continues must not repeat them.
    h = dropout.forward(h);
    if (mode.training) h = h + Var<float>(noise.normal<float>(h.shape(), 0.f, 0.1f));
    return matmul(h, second);
  }
};

struct Example {
  float x[3], y;
};

inline Dataset<std::vector<Example>> examples(std::int64_t n = 64, std::int64_t batch = 8) {
  return Dataset<Example>::generate(n,
                                    [](std::int64_t i) {
                                      Generator generator(static_cast<std::uint64_t>(i) + 100);
                                      Example e{};
                                      for (float& v : e.x) v = static_cast<float>(generator.normal());
                                      // Odd, as the network without biases is.
                                      e.y = std::tanh(2 * e.x[0]) - e.x[2];
                                      return e;
                                    })
      .map_random(9,
                  [](Example e, std::uint64_t seed) {
                    e.x[1] += static_cast<float>(0.05 * Generator(seed).normal());
                    return e;
                  })
      .shuffle(7)
      .batch(batch);
}

inline Var<float> loss_of(const Net& net, const std::vector<Example>& batch) {
  const auto n = static_cast<std::int64_t>(batch.size());
  Tensor<float> x = empty_tensor<float>({n, 3}), y = empty_tensor<float>({n, 1});
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::copy(batch[i].x, batch[i].x + 3, x.data() + 3 * i);
    y.data()[i] = batch[i].y;
  }
  return mean(square(net.forward(Var<float>(std::move(x))) - Var<float>(std::move(y))));
}

// A run with everything that has a memory. The parameters at its end.
inline std::vector<Tensor<float>> train_all(const TrainerOptions& options, TrainingResult* result = nullptr,
                                            const std::function<void(Trainer<float>&, Net&)>& extra = {}) {
  Net net(1);
  Adam<float> adam({net.first, net.second}, {.rate = 0.02});
  adam.set_clipping({.norm = 2});
  Loader<std::vector<Example>> loader(examples(), {.workers = 1});
  Trainer<float> trainer(net, adam, options);
  Generator own(5);
  trainer.keep("own", own)
      .stop_when(stopping::plateau("loss", 50))
      .stop_when(stopping::parameter_change(1e-9))
      .validate([&] {
        return Metrics{{"draw", own.uniform()}};
      });
  if (extra) extra(trainer, net);
  const TrainingResult done =
      trainer.run(loader, [&](const std::vector<Example>& batch) { return loss_of(net, batch); });
  if (result) *result = done;
  return {net.first.tensor(), net.second.tensor()};
}

inline bool same_bits(const std::vector<Tensor<float>>& a, const std::vector<Tensor<float>>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return false;
  return a.size() == b.size();
}

inline TrainerOptions options_in(const TemporaryFolder& folder, std::int64_t epochs) {
  return {.epochs = epochs,
          .schedule = schedules::linear_warmup(10).then(schedules::cosine(200, 0.1)) *
                      schedules::reduce_on_plateau({.factor = 0.9, .patience = 0, .threshold = 0.2}),
          .keep_best = true,
          .checkpoint = folder.file("run.safetensors"),
          .checkpoint_steps = 3,
          .csv_log = folder.file("log.csv"),
          .json_log = folder.file("log.jsonl")};
}

// A log without its last columns, the seconds and what follows.
inline std::string without_seconds(const std::string& log) {
  std::string out;
  for (std::size_t begin = 0, end; (end = log.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = log.substr(begin, end - begin);
    std::size_t comma = 0;
    for (int i = 0; i < 5; ++i) comma = line.find(',', comma + 1);
    out += line.substr(0, comma) + '\n';
  }
  return out;
}

}  // namespace trainer_run
