#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <tapestry/graph/archive.hpp>
#include <tapestry/models/training/progress.hpp>

namespace tapestry {

/// What is known after an epoch.
struct EpochReport {
  std::int64_t epoch = 0;       ///< from 1
  std::int64_t steps = 0;       ///< of the whole run
  double loss = 0;              ///< mean over the epoch
  double rate = 0;              ///< of the last step
  double gradient_norm = 0;     ///< of the last step, before clipping
  double parameter_change = 0;  ///< |parameters - those before the epoch|; 0 where no criterion asks for it
  double parameter_norm = 0;    ///< also only where asked for
  double seconds = 0;           ///< of this epoch in this process
  bool best = false;            ///< the best value so far of the metric that decides
  Metrics metrics;              ///< of the validation

  /// "loss", or a metric of the validation. @throws Error where there is none of that name
  double metric(const std::string& name) const;
};

/// When to stop: a value with a memory, asked once an epoch.
class Stopping {
 public:
  class Part {
   public:
    virtual ~Part() = default;
    /// The reason to stop, or nothing.
    virtual std::string check(const EpochReport& report) = 0;
    virtual bool needs_parameter_change() const { return false; }
    virtual void archive(Archive&) {}
    virtual std::unique_ptr<Part> clone() const = 0;
  };
  explicit Stopping(std::unique_ptr<Part> part) : part_(std::move(part)) {}
  /// A criterion without memory, that gives a reason to stop or nothing.
  explicit Stopping(std::function<std::string(const EpochReport&)> check);
  Stopping(const Stopping& other) : part_(other.part_->clone()) {}
  Stopping(Stopping&&) = default;
  Stopping& operator=(Stopping other) {
    part_.swap(other.part_);
    return *this;
  }

  std::string check(const EpochReport& report) { return part_->check(report); }
  bool needs_parameter_change() const { return part_->needs_parameter_change(); }
  void archive(Archive& a) { part_->archive(a); }

 private:
  std::unique_ptr<Part> part_;
};

namespace stopping {

/// |change of the loss| <= tolerance max(1, |loss|) for `epochs` epochs in a row.
Stopping objective_change(double tolerance, int epochs = 1);
/// |change of the parameters in an epoch| <= tolerance max(1, |parameters|).
Stopping parameter_change(double tolerance);
/// The gradient's norm in the last step of an epoch is at most the tolerance; for full batches.
Stopping gradient_norm(double tolerance);
/// More than `patience` epochs in which a metric ("loss", or one of the validation) did not improve by more than
/// min_change (early stopping; Prechelt 1998).
Stopping plateau(std::string metric, int patience, bool larger_is_better = false, double min_change = 0);

}  // namespace stopping
}  // namespace tapestry
