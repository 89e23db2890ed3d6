#include <tapestry/models/training/trainer.hpp>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/saving.hpp>
#include <tapestry/models/training/gradient_norm.hpp>

namespace tapestry {
namespace {

constexpr const char* operation = "Trainer";

/// What killed processes left of files that they were writing.
void remove_parts(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const std::string start = path.filename().string() + '.';
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(start) && name.ends_with(".part")) std::filesystem::remove(entry.path(), ignored);
  }
}

template <class T>
bool any_gradient(const std::vector<Var<T>>& parameters) {
  return std::any_of(parameters.begin(), parameters.end(), [](const Var<T>& p) { return p.has_gradient(); });
}

}  // namespace

template <class T>
Trainer<T>::Trainer(std::function<void(Members&)> module, Optimizer<T>& optimizer, TrainerOptions options)
    : module_(std::move(module)), optimizer_(optimizer), options_(std::move(options)), base_rate_(optimizer.rate()) {
  if (options_.epochs < 0) fail(operation, options_.epochs, " epochs");
  if (options_.checkpoint_steps < 0) fail(operation, "a checkpoint every ", options_.checkpoint_steps, " steps");
}

template <class T>
Trainer<T>::~Trainer() = default;

template <class T>
Trainer<T>& Trainer<T>::stop_when(Stopping stopping) {
  stopping_.push_back(std::move(stopping));
  return *this;
}
template <class T>
Trainer<T>& Trainer<T>::validate(std::function<Metrics()> metrics) {
  validate_ = std::move(metrics);
  return *this;
}
template <class T>
Trainer<T>& Trainer<T>::after_epoch(std::function<void(const EpochReport&)> callback) {
  after_epoch_.push_back(std::move(callback));
  return *this;
}
template <class T>
Trainer<T>& Trainer<T>::after_step(std::function<void(std::int64_t, double)> callback) {
  after_step_.push_back(std::move(callback));
  return *this;
}
template <class T>
void Trainer<T>::stop(std::string reason) {
  reason_ = std::move(reason);
}

template <class T>
void Trainer<T>::interrupt(std::string reason) {
  interruption_ = std::move(reason);
}

template <class T>
bool Trainer<T>::finished() const {
  return !in_epoch_ && (!reason_.empty() || !interruption_.empty() || epochs_ >= options_.epochs);
}

template <class T>
std::filesystem::path Trainer<T>::best_path() const {
  std::filesystem::path path = options_.checkpoint;
  return path += ".best";
}

template <class T>
Archive Trainer<T>::weights() const {
  Archive a;
  a.members("", module_, false);
  return a;
}

template <class T>
void Trainer<T>::archive(Archive& a) {
  a.members("model", module_);
  a("optimizer", optimizer_)("schedule", options_.schedule);
  for (std::size_t i = 0; i < stopping_.size(); ++i) a("stopping." + std::to_string(i), stopping_[i]);
  a("run.loader.epoch", position_.epoch)("run.loader.position", position_.position);
  a("run.loader.signature", position_.signature)("run.rate", base_rate_)("run.loss_sum", loss_sum_);
  a("run.weight_sum", weight_sum_)("run.gradient_norm", gradient_norm_)("run.best", best_);
  a("run.epochs", epochs_)("run.steps", steps_)("run.best_epoch", best_epoch_)("run.in_epoch", in_epoch_);
  a("run.reason", reason_);
  for (std::size_t i = 0; i < before_.size(); ++i) a("run.before." + std::to_string(i), before_[i]);
  for (const auto& keep : kept_) keep(a);
}

template <class T>
void Trainer<T>::write_checkpoint(const LoaderState& position) {
  if (options_.checkpoint.empty()) return;
  position_ = position;
  Archive a;
  archive(a);
  save(options_.checkpoint, a);
}

template <class T>
void Trainer<T>::begin(LoaderState& position, std::int64_t batches) {
  if (batches == 0) fail(operation, "the data set has no batches");
  batches_ = batches;
  history_.clear();
  interruption_.clear();
  const bool change =
      std::any_of(stopping_.begin(), stopping_.end(), [](const Stopping& s) { return s.needs_parameter_change(); });
  before_.clear();
  if (change)
    for (const Var<T>& parameter : optimizer_.parameters()) before_.push_back(parameter.tensor());

  if (!options_.checkpoint.empty()) remove_parts(options_.checkpoint);  // those of best_path(), too
  const bool resumed = !options_.checkpoint.empty() && std::filesystem::exists(options_.checkpoint);
  if (resumed) {
    Archive a;
    archive(a);
    load(options_.checkpoint, a);
    position = position_;
  }
  const auto open = [&](const std::filesystem::path& path, auto& log) {
    if (path.empty()) return;
    remove_parts(path);
    if (resumed) trim_log(path, epochs_);
    log = std::make_unique<typename std::decay_t<decltype(log)>::element_type>(path, resumed);
  };
  open(options_.csv_log, csv_log_);
  open(options_.json_log, json_log_);
  if (options_.progress)
    progress_ = std::make_unique<ProgressLine>(
        "training", ProgressLine::Options{.total = options_.epochs * batches, .before = steps_});
}

template <class T>
void Trainer<T>::begin_epoch() {
  detail::set_training(module_, true);
  epoch_start_ = std::chrono::steady_clock::now();
  if (in_epoch_) return;  // a run that continues within one
  in_epoch_ = true;
  loss_sum_ = weight_sum_ = 0;
  const std::vector<Var<T>> parameters = optimizer_.parameters();
  for (std::size_t i = 0; i < before_.size(); ++i) before_[i] = parameters[i].tensor();
}

template <class T>
void Trainer<T>::step(const Var<T>& loss, double weight, const LoaderState& position) {
  const double value = static_cast<double>(loss.item());
  if (!std::isfinite(value)) fail<NumericalError>(operation, "the loss of step ", steps_ + 1, " is ", value);
  optimizer_.zero_gradients();
  loss.backward();
  if (history_.empty() && weight_sum_ == 0 && !any_gradient(optimizer_.parameters()))
    fail(operation, "the loss of step ", steps_ + 1,
         " gives no parameter of the optimiser a gradient: all are frozen, or those of another model");
  optimizer_.set_rate(base_rate_ * options_.schedule(steps_));
  if (position.position >= batches_) gradient_norm_ = optimizer_.gradient_norm();
  optimizer_.step();
  optimizer_.zero_gradients();
  ++steps_;
  loss_sum_ += value * weight;
  weight_sum_ += weight;
  for (const auto& callback : after_step_) callback(steps_, value);
  show(value);
  if (options_.checkpoint_steps > 0 && steps_ % options_.checkpoint_steps == 0) write_checkpoint(position);
}

template <class T>
void Trainer<T>::show(double loss) {
  if (!progress_) return;
  Metrics shown{{"loss", loss}};
  shown.insert(shown.end(), last_metrics_.begin(), last_metrics_.end());
  progress_->update(steps_, shown);
}

template <class T>
void Trainer<T>::report(EpochReport& report) {
  report.epoch = epochs_;
  report.steps = steps_;
  report.loss = weight_sum_ > 0 ? loss_sum_ / weight_sum_ : 0;
  report.rate = optimizer_.rate();
  report.gradient_norm = gradient_norm_;
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - epoch_start_).count();
  const std::vector<Var<T>> parameters = optimizer_.parameters();
  double change = 0, norm = 0;
  for (std::size_t i = 0; i < before_.size(); ++i) {
    const std::int64_t n = parameters[i].size();
    Tensor<T> difference = parameters[i].tensor();
    norm += detail::sum_of_squares(difference.data(), n);
    for (std::int64_t k = 0; k < n; ++k) difference.data()[k] -= before_[i].data()[k];
    change += detail::sum_of_squares(difference.data(), n);
  }
  report.parameter_change = std::sqrt(change);
  report.parameter_norm = std::sqrt(norm);
  if (!validate_) return;
  const NoGradients constant;
  detail::set_training(module_, false);
  last_metrics_ = report.metrics = validate_();
  detail::set_training(module_, true);
}

template <class T>
void Trainer<T>::note_best(EpochReport& report) {
  const double value = report.metric(options_.decisive);
  options_.schedule.observe(value);
  const bool better = best_epoch_ == 0 || (options_.larger_is_better ? value > best_ : value < best_);
  if (std::isnan(value) || !better) return;
  best_ = value;
  best_epoch_ = report.epoch;
  report.best = true;
  if (!options_.keep_best) return;
  best_weights_ = weights().save();
  if (!options_.checkpoint.empty()) save(best_path(), weights());
}

template <class T>
void Trainer<T>::write_logs(const EpochReport& report) {
  if (!csv_log_ && !json_log_) return;
  Metrics metrics{{"steps", static_cast<double>(report.steps)},
                  {"loss", report.loss},
                  {"rate", report.rate},
                  {"gradient_norm", report.gradient_norm},
                  {"seconds", report.seconds}};
  metrics.insert(metrics.end(), report.metrics.begin(), report.metrics.end());
  if (csv_log_) csv_log_->write(report.epoch, metrics);
  if (json_log_) json_log_->write(report.epoch, metrics);
}

template <class T>
void Trainer<T>::end_epoch(const LoaderState& position) {
  ++epochs_;
  EpochReport done;
  report(done);
  show(done.loss);
  note_best(done);
  for (Stopping& stopping : stopping_)
    if (std::string reason = stopping.check(done); reason_.empty()) reason_ = std::move(reason);
  for (const auto& callback : after_epoch_) callback(done);
  in_epoch_ = false;
  write_logs(done);
  history_.push_back(std::move(done));
  write_checkpoint(position);
}

template <class T>
TrainingResult Trainer<T>::end() {
  if (progress_) progress_->finish();
  optimizer_.set_rate(base_rate_);
  return {.reason = !reason_.empty()         ? reason_
                    : !interruption_.empty() ? interruption_
                                             : "number of epochs",
          .epochs = epochs_,
          .steps = steps_,
          .best_epoch = best_epoch_,
          .best = best_,
          .history = history_};
}

template <class T>
void Trainer<T>::restore_best() {
  if (best_epoch_ == 0 || !options_.keep_best) fail(operation, "no best model was kept");
  if (best_weights_.tensors.empty())
    load(best_path(), weights());
  else
    weights().load(best_weights_, "the best model");
}

template class Trainer<float>;
template class Trainer<double>;

}  // namespace tapestry
