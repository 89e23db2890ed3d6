#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include <tapestry/graph/archive.hpp>

namespace tapestry {

/// What an optimiser's rate is multiplied by, step by step: a value. Schedules follow one another and multiply:
///
///     schedules::linear_warmup(100).then(schedules::cosine(900)) * schedules::reduce_on_plateau()
class RateSchedule {
 public:
  /// A kind of schedule of one's own.
  class Part {
   public:
    virtual ~Part() = default;
    /// The factor at a step, from 0.
    virtual double at(std::int64_t step) const = 0;
    /// After how many steps the next schedule follows; -1 where there is no such moment.
    virtual std::int64_t length() const { return -1; }
    /// A metric of the validation, once an epoch.
    virtual void observe(double) {}
    virtual void archive(Archive&) {}
    virtual std::unique_ptr<Part> clone() const = 0;
  };

  /// Always 1.
  RateSchedule();
  explicit RateSchedule(std::unique_ptr<Part> part) : part_(std::move(part)) {}
  RateSchedule(const RateSchedule& other) : part_(other.part_->clone()) {}
  RateSchedule(RateSchedule&&) = default;
  RateSchedule& operator=(RateSchedule other) {
    part_.swap(other.part_);
    return *this;
  }

  double operator()(std::int64_t step) const { return part_->at(step); }
  std::int64_t length() const { return part_->length(); }
  /// For schedules that react to a metric; the others ignore it.
  void observe(double metric) { part_->observe(metric); }
  void archive(Archive& a) { part_->archive(a); }

  /// This one for its length, or for `steps` steps, then the next one, which counts from 0.
  /// @throws Error where it has no length and none is given
  RateSchedule then(const RateSchedule& next) const;
  RateSchedule then(std::int64_t steps, const RateSchedule& next) const;
  /// The product of both.
  RateSchedule times(const RateSchedule& other) const;

 private:
  std::unique_ptr<Part> part_;
};

inline RateSchedule operator*(const RateSchedule& a, const RateSchedule& b) {
  return a.times(b);
}

namespace schedules {

RateSchedule constant(double factor = 1);
/// Multiplied by `factor` every so many steps.
RateSchedule step(std::int64_t every, double factor = 0.1);
/// factor^step
RateSchedule exponential(double factor);
/// From 1 down to `last` along half a cosine, and then `last` (Loshchilov and Hutter 2017).
RateSchedule cosine(std::int64_t steps, double last = 0);
/// start + (1 - start) (step + 1) / steps, and then 1.
RateSchedule linear_warmup(std::int64_t steps, double start = 0);
/// Up from `start` to 1 in a share `rise` of the steps and down to `last`, along half cosines (Smith and Topin 2019).
RateSchedule one_cycle(std::int64_t steps, double rise = 0.3, double start = 0.04, double last = 4e-6);
/// min((step + 1) / warmup, sqrt(warmup / (step + 1))) (Vaswani et al. 2017).
RateSchedule inverse_sqrt(std::int64_t warmup);
/// 1 / (1 + decay step)
RateSchedule inverse_time(double decay);

struct PlateauOptions {
  double factor = 0.1;
  int patience = 10;        ///< observations without improvement that are borne
  double threshold = 1e-4;  ///< an improvement is better than the best by more than threshold * |best|
  double smallest = 0;      ///< factor
  bool larger_is_better = false;
};
/// Multiplied by `factor` when a metric has not improved for more than `patience` observations; it observes from the
/// run's start, also where it follows another schedule.
RateSchedule reduce_on_plateau(const PlateauOptions& options = {});

}  // namespace schedules
}  // namespace tapestry
