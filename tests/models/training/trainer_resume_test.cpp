#include <tapestry/models/training/trainer.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include "models/training/trainer_run.hpp"

using namespace tapestry;
using namespace trainer_run;

// Runs that end, or are ended, and go on.

TEST_CASE("trainer: the progress line has the steps of the whole run, its own rate, the loss and the newest metrics") {
  const TemporaryFolder folder;
  TrainingResult result;
  const auto shown = [&](std::int64_t epochs) {
    std::fflush(stderr);
    const int standard = dup(STDERR_FILENO),
              file = open(folder.file("progress").c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(file, STDERR_FILENO);
    train_all(
        {.epochs = epochs, .checkpoint = folder.file("run"), .progress = true}, &result,
        [](Trainer<float>& trainer, Net&) {
          trainer.after_step([](std::int64_t, double) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); });
        });
    dup2(standard, STDERR_FILENO);
    close(standard);
    close(file);
    return folder.read("progress");
  };
  const auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.5g", value);
    return std::string(text);
  };
  const std::string first = shown(2);
  CHECK(first.starts_with("training 1/16 (6%)"));
  CHECK(contains(first, "\ntraining 16/16 (100%)"));
  CHECK(first.ends_with("  loss " + number(result.history[1].loss) + "  draw " +
                        number(result.history[1].metric("draw")) + "\n"));
  const std::string second = shown(3);
  CHECK(second.starts_with("training 17/24 (70%) 0s, "));
  // One step in 5 ms or more, not seventeen.
  CHECK(std::stod(second.substr(second.find(", ") + 2)) < 201);
}

TEST_CASE("trainer: a run that broke off within an epoch has the losses and changes of the run in one go") {
  const TemporaryFolder folder, whole_folder;
  TrainingResult whole, rest;
  const auto expected = train_all(options_in(whole_folder, 4), &whole);
  const auto break_off = [](Trainer<float>& trainer, Net&) {
    trainer.after_step([](std::int64_t step, double) {
      if (step == 14) throw std::runtime_error("broken off");  // epochs have 8 steps, the checkpoint is of step 12
    });
  };
  CHECK_THROWS_WITH(train_all(options_in(folder, 4), nullptr, break_off), "broken off");
  CHECK(same_bits(expected, train_all(options_in(folder, 4), &rest)));
  REQUIRE(rest.history.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(rest.history[i].epoch == whole.history[i + 1].epoch);
    CHECK(rest.history[i].steps == whole.history[i + 1].steps);
    CHECK(rest.history[i].loss == whole.history[i + 1].loss);
    CHECK(rest.history[i].rate == whole.history[i + 1].rate);
    CHECK(rest.history[i].gradient_norm == whole.history[i + 1].gradient_norm);
    CHECK(rest.history[i].parameter_change == whole.history[i + 1].parameter_change);
    CHECK(rest.history[i].best == whole.history[i + 1].best);
  }
}

TEST_CASE("trainer: a run that a criterion ended stays ended; one that was interrupted goes on") {
  const TemporaryFolder folder;
  TrainingResult result;
  const auto stop_at = [](std::int64_t epoch, bool interrupt) {
    return [=](Trainer<float>& trainer, Net&) {
      trainer.after_epoch([=, &trainer](const EpochReport& report) {
        if (report.epoch == epoch) interrupt ? trainer.interrupt("time") : trainer.stop("enough");
      });
    };
  };
  train_all(options_in(folder, 9), &result, stop_at(2, true));
  CHECK(result.reason == "time");
  train_all(options_in(folder, 9), &result, stop_at(4, false));
  CHECK(result.reason == "enough");
  CHECK(result.epochs == 4);
  train_all(options_in(folder, 9), &result);
  CHECK(result.reason == "enough");
  CHECK(result.epochs == 4);
  CHECK(result.history.empty());
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
