#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <tapestry/graph/archive.hpp>
#include <tapestry/graph/module.hpp>
#include <tapestry/models/training/datasets/loader.hpp>
#include <tapestry/models/training/log.hpp>
#include <tapestry/models/training/optimizers/optimizer.hpp>
#include <tapestry/models/training/progress.hpp>
#include <tapestry/models/training/schedule.hpp>
#include <tapestry/models/training/stopping.hpp>

namespace tapestry {

struct TrainerOptions {
  std::int64_t epochs = 1;
  /// Times the optimiser's rate, by step.
  RateSchedule schedule = {};
  /// What decides which model is the best, and what the schedule observes: "loss" (of the training), or a metric of the
  /// validation.
  std::string decisive = "loss";
  bool larger_is_better = false;
  /// Keep the parameters and buffers of the best epoch, for restore_best().
  bool keep_best = false;
  /// File that a run continues from, written after each epoch, whole or not at all; the best model is beside it, with
  /// ".best" added to the name. Empty: none.
  std::filesystem::path checkpoint = {};
  /// Write it also every so many steps; 0: not.
  std::int64_t checkpoint_steps = 0;
  /// An entry an epoch: loss, rate, gradient norm, seconds and the validation's metrics. A run that continues drops the
  /// entries after its checkpoint and goes on there.
  std::filesystem::path csv_log = {}, json_log = {};
  /// A line on standard error that says how far the run is, with the loss (of the last step; at an epoch's end, of the
  /// epoch) and the metrics of the last validation.
  bool progress = false;
};

struct TrainingResult {
  std::string reason;                ///< why it ended
  std::int64_t epochs = 0;           ///< done, those before a checkpoint included
  std::int64_t steps = 0;            ///< the same
  std::int64_t best_epoch = 0;       ///< 0 where there is none
  double best = 0;                   ///< value of the decisive metric there
  std::vector<EpochReport> history;  ///< epochs of this process
};

/// The training loop: epochs of steps, validation, schedule, stopping, checkpoints, logs.
///
///     Trainer<float> trainer(network, adam, {.epochs = 10, .checkpoint = "run.safetensors"});
///     trainer.stop_when(stopping::plateau("loss", 3));
///     trainer.run(loader, [&](const Batch& batch) { return cross_entropy(network.forward(batch.x), batch.y); });
///
/// A run that was killed at any moment and starts again with the same program goes on from its checkpoint, and ends
/// with the same bits, if everything random is in the module, the data set's seeds, or given to keep(). Results do not
/// depend on the number of threads. What it does can also be done by hand: nothing here is known to the other parts.
template <class T>
class Trainer {
 public:
  template <Module M>
  Trainer(M& module, Optimizer<T>& optimizer, TrainerOptions options = {})
      : Trainer(detail::visitor(module), optimizer, std::move(options)) {}
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Asked after each epoch; the first that gives a reason ends the run.
  Trainer& stop_when(Stopping stopping);
  /// Metrics after each epoch, with the module in evaluation mode and without recording.
  Trainer& validate(std::function<Metrics()> metrics);
  /// Called after each epoch, when its report is complete.
  Trainer& after_epoch(std::function<void(const EpochReport&)> callback);
  /// Called after each step with its number, from 1, and its loss.
  Trainer& after_step(std::function<void(std::int64_t, double)> callback);
  /// More to be saved in checkpoints: generators, counters, anything that an Archive takes; it must live on.
  template <class X>
  Trainer& keep(const std::string& name, X& x) {
    kept_.push_back([name, &x](Archive& a) { a(name, x); });
    return *this;
  }
  /// Ends the run after the current epoch; for callbacks.
  void stop(std::string reason);
  /// The same, but what starts again from the checkpoint goes on (Ctrl-C, a limit of time).
  void interrupt(std::string reason);

  /// Trains until a criterion or the number of epochs ends it. `loss` gives a batch's mean loss; where a batch has a
  /// size(), the mean over the epoch is weighted by it.
  /// @throws NumericalError where a loss is not finite (nothing is changed by that step); IoError for a checkpoint that
  /// does not fit, or files that cannot be written
  template <class Batch, class Loss>
  TrainingResult run(Loader<Batch>& loader, Loss&& loss);

  /// Sets the module to the best epoch's parameters and buffers. @throws Error where there are none
  void restore_best();

 private:
  Trainer(std::function<void(Members&)> module, Optimizer<T>& optimizer, TrainerOptions options);

  /// Continues from the checkpoint where there is one, and opens the logs.
  void begin(LoaderState& position, std::int64_t batches);
  bool finished() const;
  void begin_epoch();
  void step(const Var<T>& loss, double weight, const LoaderState& position);
  void end_epoch(const LoaderState& position);
  TrainingResult end();

  void archive(Archive& a);
  Archive weights() const;
  void write_checkpoint(const LoaderState& position);
  void show(double loss);
  void report(EpochReport& report);
  void note_best(EpochReport& report);
  void write_logs(const EpochReport& report);
  std::filesystem::path best_path() const;

  std::function<void(Members&)> module_;
  Optimizer<T>& optimizer_;
  TrainerOptions options_;
  std::vector<Stopping> stopping_;
  std::function<Metrics()> validate_;
  std::vector<std::function<void(const EpochReport&)>> after_epoch_;
  std::vector<std::function<void(std::int64_t, double)>> after_step_;
  std::vector<std::function<void(Archive&)>> kept_;

  // What a checkpoint holds beside the module, the optimiser and what the user keeps.
  LoaderState position_;
  double base_rate_ = 0, loss_sum_ = 0, weight_sum_ = 0, gradient_norm_ = 0, best_ = 0;
  std::int64_t epochs_ = 0, steps_ = 0, best_epoch_ = 0;
  bool in_epoch_ = false;
  std::string reason_;
  std::string interruption_;       ///< not in the checkpoint
  std::vector<Tensor<T>> before_;  ///< parameters before the epoch, where a criterion asks for their change

  NamedTensors best_weights_;
  std::vector<EpochReport> history_;
  std::unique_ptr<CsvLog> csv_log_;
  std::unique_ptr<JsonLog> json_log_;
  std::unique_ptr<ProgressLine> progress_;
  Metrics last_metrics_;  ///< of the last validation, for the progress line
  std::int64_t batches_ = 0;
  std::chrono::steady_clock::time_point epoch_start_;
};

template <class T>
template <class Batch, class Loss>
TrainingResult Trainer<T>::run(Loader<Batch>& loader, Loss&& loss) {
  LoaderState position = loader.state();
  begin(position, loader.data().size());
  loader.restore(position);
  while (!finished()) {
    begin_epoch();
    while (auto batch = loader.next()) {
      double weight = 1;
      if constexpr (requires { batch->size(); }) weight = static_cast<double>(batch->size());
      step(loss(*batch), weight, loader.state());
    }
    end_epoch(loader.state());
  }
  return end();
}

extern template class Trainer<float>;
extern template class Trainer<double>;

}  // namespace tapestry
