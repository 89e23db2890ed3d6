#include <tapestry/models/training/trainer.hpp>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/graph/saving.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

struct Net {
  Var<float> first, second;
  mutable Generator noise{3};
  Mode mode;
  explicit Net(std::uint64_t seed, std::int64_t hidden = 16) {
    Generator generator(seed);
    first = initializers::xavier_normal().parameter<float>({3, hidden}, generator);
    second = initializers::xavier_normal().parameter<float>({hidden, 1}, generator);
  }
  void members(Members& m) { m("first", first)("second", second)("noise", noise)("mode", mode); }
  Var<float> forward(const Var<float>& x) const {
    Var<float> h = tanh(matmul(x, first));
    // Noise that the generator among the members gives: a run that continues must not repeat it.
    if (mode.training) h = h + Var<float>(noise.normal<float>(h.shape(), 0.f, 0.1f));
    return matmul(h, second);
  }
};

struct Example {
  float x[3], y;
};

Dataset<std::vector<Example>> examples(std::int64_t n = 64, std::int64_t batch = 8) {
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

Var<float> loss_of(const Net& net, const std::vector<Example>& batch) {
  const auto n = static_cast<std::int64_t>(batch.size());
  Tensor<float> x = empty_tensor<float>({n, 3}), y = empty_tensor<float>({n, 1});
  for (std::size_t i = 0; i < batch.size(); ++i) {
    std::copy(batch[i].x, batch[i].x + 3, x.data() + 3 * i);
    y.data()[i] = batch[i].y;
  }
  return mean(square(net.forward(Var<float>(std::move(x))) - Var<float>(std::move(y))));
}

// A run with everything that has a memory. The parameters at its end.
std::vector<Tensor<float>> train_all(const TrainerOptions& options, TrainingResult* result = nullptr,
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

bool same_bits(const std::vector<Tensor<float>>& a, const std::vector<Tensor<float>>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() || std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return false;
  return a.size() == b.size();
}

TrainerOptions options_in(const TemporaryFolder& folder, std::int64_t epochs) {
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
std::string without_seconds(const std::string& log) {
  std::string out;
  for (std::size_t begin = 0, end; (end = log.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = log.substr(begin, end - begin);
    std::size_t comma = 0;
    for (int i = 0; i < 5; ++i) comma = line.find(',', comma + 1);
    out += line.substr(0, comma) + '\n';
  }
  return out;
}

}  // namespace

TEST_CASE("trainer: trains, reports, weights the mean loss by the size of batches") {
  TrainingResult result;
  std::vector<std::int64_t> steps;
  bool in_evaluation = false;
  double last = 0;
  train_all({.epochs = 30}, &result, [&](Trainer<float>& trainer, Net& net) {
    trainer.after_step([&](std::int64_t step, double) { steps.push_back(step); })
        .validate([&] {
          in_evaluation = !net.mode.training && !gradients_enabled();
          return Metrics{{"own", 2.5}};
        })
        .after_epoch([&](const EpochReport& report) { last = report.loss; });
  });
  CHECK(result.reason == "number of epochs");
  CHECK(result.epochs == 30);
  CHECK(result.steps == 240);
  CHECK(steps.size() == 240);
  CHECK(steps.back() == 240);
  CHECK(in_evaluation);
  REQUIRE(result.history.size() == 30);
  CHECK(result.history[29].loss == last);
  CHECK(last < 0.1 * result.history[0].loss);
  CHECK(result.history[3].metric("own") == 2.5);
  CHECK(result.history[3].gradient_norm > 0);
  CHECK(result.history[3].parameter_change > 0);
  CHECK(result.best <= last);

  Net net(1);
  Sgd<float> still({net.first, net.second}, {.rate = 0});
  Loader<std::vector<Example>> uneven(examples(10, 4), {.workers = 0});
  Trainer<float> trainer(net, still);
  double sum = 0;
  const auto done = trainer.run(uneven, [&](const std::vector<Example>& batch) {
    const Var<float> loss = loss_of(net, batch);
    sum += static_cast<double>(loss.item()) * static_cast<double>(batch.size());
    return loss;
  });
  CHECK(done.history[0].loss == doctest::Approx(sum / 10).epsilon(1e-12));
}

TEST_CASE("trainer: gives the bits and the losses of the same training by hand") {
  TrainingResult result;
  const RateSchedule schedule = schedules::linear_warmup(10).then(schedules::cosine(60, 0.1));
  const auto trained = train_all({.epochs = 12, .schedule = schedule}, &result);

  Net net(1);
  Adam<float> adam({net.first, net.second}, {.rate = 0.02});
  adam.set_clipping({.norm = 2});
  Loader<std::vector<Example>> loader(examples(), {.workers = 0});
  std::int64_t step = 0;
  for (std::size_t epoch = 0; epoch < 12; ++epoch) {
    double sum = 0;
    const Tensor<float> before[] = {net.first.tensor(), net.second.tensor()};
    for (const std::vector<Example>& batch : loader) {
      const Var<float> loss = loss_of(net, batch);
      adam.zero_gradients();
      loss.backward();
      adam.set_rate(0.02 * schedule(step++));
      adam.step();
      sum += static_cast<double>(loss.item());
    }
    CHECK(result.history[epoch].loss == doctest::Approx(sum / 8).epsilon(1e-13));
    CHECK(result.history[epoch].rate == adam.rate());
    CHECK(result.history[epoch].gradient_norm == adam.gradient_norm());
    const double change = std::sqrt(xt::sum(xt::square(net.first.tensor() - before[0]))() +
                                    xt::sum(xt::square(net.second.tensor() - before[1]))());
    CHECK(result.history[epoch].parameter_change == doctest::Approx(change).epsilon(1e-5));
  }
  CHECK(same_bits(trained, {net.first.tensor(), net.second.tensor()}));
}

TEST_CASE("trainer: follows the schedule, stops by criteria and by callbacks") {
  TrainingResult result;
  std::vector<double> rates;
  train_all({.epochs = 2, .schedule = schedules::exponential(0.5)}, &result);
  CHECK(result.history[0].rate == doctest::Approx(0.02 * std::pow(0.5, 7)));
  CHECK(result.history[1].rate == doctest::Approx(0.02 * std::pow(0.5, 15)));
  train_all({.epochs = 99}, &result, [](Trainer<float>& trainer, Net&) {
    trainer.stop_when(Stopping([](const EpochReport& r) { return r.epoch == 4 ? std::string("four") : ""; }));
  });
  CHECK(result.reason == "four");
  CHECK(result.epochs == 4);
  train_all({.epochs = 99}, &result, [](Trainer<float>& trainer, Net&) {
    trainer.after_step([&](std::int64_t step, double) {
      if (step == 10) trainer.stop("enough");
    });
  });
  CHECK(result.reason == "enough");
  CHECK(result.epochs == 2);
  train_all({.epochs = 99}, &result, [](Trainer<float>& trainer, Net&) {
    trainer.after_epoch([&](const EpochReport& r) {
      if (r.epoch == 3) trainer.interrupt("Ctrl-C");
    });
  });
  CHECK(result.reason == "Ctrl-C");
  CHECK(result.epochs == 3);
}

TEST_CASE("trainer: keeps the best model; refuses a loss that is not finite and leaves the parameters") {
  Net net(1);
  Sgd<float> sgd({net.first, net.second}, {.rate = 0.05});
  Loader<std::vector<Example>> loader(examples(), {.workers = 0});
  Trainer<float> trainer(net, sgd, {.epochs = 6, .decisive = "score", .larger_is_better = true, .keep_best = true});
  const double scores[] = {1, 5, 3, 4, 5, 2};
  std::size_t epoch = 0;
  Tensor<float> at_best;
  trainer.validate([&] {
    if (epoch == 1) at_best = net.first.tensor();
    return Metrics{{"score", scores[epoch++]}};
  });
  const auto loss = [&](const std::vector<Example>& batch) { return loss_of(net, batch); };
  const TrainingResult result = trainer.run(loader, loss);
  CHECK(result.best == 5);
  CHECK(result.best_epoch == 2);
  CHECK(net.first.tensor() != at_best);
  trainer.restore_best();
  CHECK(net.first.tensor() == at_best);

  Trainer<float> other(net, sgd, {.epochs = 1});
  CHECK_THROWS_WITH_AS(other.restore_best(), "Trainer: no best model was kept", Error);
  const auto infinite = [&](const std::vector<Example>& batch) {
    return loss(batch) * std::numeric_limits<float>::infinity();
  };
  CHECK_THROWS_WITH_AS(other.run(loader, infinite), "Trainer: the loss of step 1 is inf", NumericalError);
  CHECK(net.first.tensor() == at_best);
}

TEST_CASE("trainer: the progress line has the steps of the whole run, the loss and the validation's metrics") {
  const TemporaryFolder folder;
  const auto shown = [&](std::int64_t epochs) {
    std::fflush(stderr);
    const int standard = dup(STDERR_FILENO),
              file = open(folder.file("progress").c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(file, STDERR_FILENO);
    train_all({.epochs = epochs, .checkpoint = folder.file("run"), .progress = true});
    dup2(standard, STDERR_FILENO);
    close(standard);
    close(file);
    return folder.read("progress");
  };
  const std::string first = shown(2), second = shown(3);
  CHECK(first.starts_with("training 1/16 (6%)"));
  CHECK(contains(first, "\ntraining 16/16 (100%)"));
  CHECK(contains(first, "  loss 0."));
  CHECK(contains(first, "  draw 0."));
  CHECK(second.starts_with("training 17/24 (70%)"));
}

TEST_CASE("trainer: the same bits with one thread and with two, and with other numbers of loading threads") {
  const int before = threads();
  const auto run = [](int count, int workers) {
    set_threads(count);
    Net net(1, 4096);
    Adam<float> adam(ParameterGroups<float>(net), {.rate = 0.02});
    Loader<std::vector<Example>> loader(examples(), {.workers = workers});
    Trainer<float> trainer(net, adam, {.epochs = 2});
    trainer.run(loader, [&](const std::vector<Example>& batch) { return loss_of(net, batch); });
    return std::vector<Tensor<float>>{net.first.tensor(), net.second.tensor()};
  };
  const auto one = run(1, 0);
  CHECK(same_bits(one, run(2, 0)));
  CHECK(same_bits(one, run(2, 2)));
  set_threads(before);
}

TEST_CASE("trainer: a run that ends and continues, with logs, is the run in one go") {
  const TemporaryFolder folder, whole_folder;
  TrainingResult whole, part, rest, again;
  const auto expected = train_all(options_in(whole_folder, 9), &whole);
  // What killed processes left.
  const std::filesystem::path parts[] = {folder.file("run.safetensors.1.0.part"),
                                         folder.file("run.safetensors.best.1.0.part"), folder.file("log.csv.1.0.part"),
                                         folder.file("log.jsonl.1.0.part")};
  for (const auto& part_path : parts) std::ofstream(part_path) << "torn";
  train_all(options_in(folder, 4), &part);
  CHECK(part.epochs == 4);
  for (const auto& part_path : parts) CHECK_FALSE(std::filesystem::exists(part_path));
  CHECK(same_bits(expected, train_all(options_in(folder, 9), &rest)));
  CHECK(rest.epochs == 9);
  CHECK(rest.history.size() == 5);
  CHECK(rest.best == whole.best);
  CHECK(rest.best_epoch == whole.best_epoch);
  for (std::size_t i = 0; i < 5; ++i) CHECK(rest.history[i].metric("draw") == whole.history[i + 4].metric("draw"));
  CHECK(without_seconds(folder.read("log.csv")) == without_seconds(whole_folder.read("log.csv")));
  CHECK(folder.read("run.safetensors.best") == whole_folder.read("run.safetensors.best"));
  // All is done: nothing changes any more.
  CHECK(same_bits(expected, train_all(options_in(folder, 9), &again)));
  CHECK(again.history.empty());
}

TEST_CASE("trainer: what criteria remember goes on after a checkpoint") {
  const TemporaryFolder folder;
  TrainingResult result;
  const auto patient = [](Trainer<float>& trainer, Net&) {
    trainer.stop_when(stopping::plateau("loss", 5, false, 1e3));  // nothing after the first epoch is an improvement
  };
  train_all(options_in(folder, 4), &result, patient);
  CHECK(result.reason == "number of epochs");
  train_all(options_in(folder, 20), &result, patient);
  CHECK(result.reason == "no improvement of loss");
  CHECK(result.epochs == 7);
}

TEST_CASE("trainer: the checkpoint of another model is refused with all differences") {
  const TemporaryFolder folder;
  train_all(options_in(folder, 1));
  Net net(1, 5);
  Adam<float> adam({net.first, net.second});
  Loader<std::vector<Example>> loader(examples(), {.workers = 0});
  Trainer<float> trainer(net, adam, {.checkpoint = folder.file("run.safetensors")});
  const std::string message = thrown<IoError>(
      [&] { trainer.run(loader, [&](const std::vector<Example>& batch) { return loss_of(net, batch); }); });
  CHECK(contains(message, "model.first: shape [3, 16] where [3, 5] is expected"));
  CHECK(contains(message, "own: unexpected"));
}

TEST_CASE("trainer: killed at random moments and started again, a run ends with the same bits") {
  const int before = threads();
  // A process with one thread can be forked.
  set_threads(1);
  const TemporaryFolder folder, whole_folder;
  TrainerOptions options = options_in(folder, 12);
  const auto expected = train_all(options_in(whole_folder, 12));
  std::mt19937 random(std::random_device{}());
  int killed = 0;
  for (bool finished = false; !finished;) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int code = 1;
      try {
        train_all(options);
        code = 0;
      } catch (...) {
      }
      _exit(code);
    }
    // Later kills come later, so that the run gets on whatever the machine's speed.
    const int microseconds = std::uniform_int_distribution<int>(0, 4000 + 4000 * killed)(random);
    std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) {
      ++killed;
    } else {
      CHECK(WEXITSTATUS(status) == 0);
      finished = true;
    }
  }
  MESSAGE("killed ", killed, " times");
  CHECK(killed > 0);
  // What is there now: the result of the last process.
  TrainingResult result;
  CHECK(same_bits(expected, train_all(options, &result)));
  CHECK(result.history.empty());
  CHECK(without_seconds(folder.read("log.csv")) == without_seconds(whole_folder.read("log.csv")));
  CHECK(folder.read("run.safetensors.best") == whole_folder.read("run.safetensors.best"));
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  CHECK(files == 4);
  set_threads(before);
}
