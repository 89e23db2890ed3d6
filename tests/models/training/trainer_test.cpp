#include <tapestry/models/training/trainer.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include "models/training/trainer_run.hpp"

using namespace tapestry;
using namespace trainer_run;

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
  const double scores[] = {std::numeric_limits<double>::quiet_NaN(), 5, 3, 4, 5, 2};
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
  CHECK(net.mode.training);  // again, after the last validation
  CHECK(net.first.tensor() != at_best);
  trainer.restore_best();
  CHECK(net.first.tensor() == at_best);

  Trainer<float> other(net, sgd, {.epochs = 1});
  CHECK_THROWS_WITH_AS(other.restore_best(), "Trainer: no best model was kept", Error);
  const auto infinite = [&](const std::vector<Example>& batch) {
    return loss(batch) * std::numeric_limits<float>::infinity();
  };
  CHECK_THROWS_WITH_AS(other.run(loader, infinite), "Trainer: the loss of step 1 is inf", NumericalError);
  Loader<std::vector<Example>> empty(examples(0), {.workers = 0});
  CHECK_THROWS_WITH_AS(other.run(empty, loss), "Trainer: the data set has no batches", Error);
  const Net stranger(2);
  CHECK_THROWS_WITH_AS(
      other.run(loader, [&](const std::vector<Example>& batch) { return loss_of(stranger, batch); }),
      "Trainer: the loss of step 1 gives no parameter of the optimiser a gradient: all are frozen, or those of another "
      "model",
      Error);
  CHECK(net.first.tensor() == at_best);
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
