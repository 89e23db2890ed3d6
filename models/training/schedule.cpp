#include <tapestry/models/training/schedule.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <utility>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

void check(const char* operation, bool good, const char* what, double value) {
  if (!good) fail(operation, what, " of ", value);
}

/// A function of the step.
class Formula final : public RateSchedule::Part {
 public:
  Formula(std::function<double(double)> f, std::int64_t length) : f_(std::move(f)), length_(length) {}
  double at(std::int64_t step) const override { return f_(static_cast<double>(step)); }
  std::int64_t length() const override { return length_; }
  std::unique_ptr<Part> clone() const override { return std::make_unique<Formula>(*this); }

 private:
  std::function<double(double)> f_;
  std::int64_t length_;
};

RateSchedule formula(std::function<double(double)> f, std::int64_t length = -1) {
  return RateSchedule(std::make_unique<Formula>(std::move(f), length));
}

class Then final : public RateSchedule::Part {
 public:
  Then(RateSchedule first, std::int64_t steps, RateSchedule next)
      : first_(std::move(first)), next_(std::move(next)), steps_(steps) {}
  double at(std::int64_t step) const override { return step < steps_ ? first_(step) : next_(step - steps_); }
  std::int64_t length() const override { return next_.length() < 0 ? -1 : steps_ + next_.length(); }
  void observe(double metric) override {
    first_.observe(metric);
    next_.observe(metric);
  }
  void archive(Archive& a) override { a("first", first_)("next", next_); }
  std::unique_ptr<Part> clone() const override { return std::make_unique<Then>(*this); }

 private:
  RateSchedule first_, next_;
  std::int64_t steps_;
};

class Product final : public RateSchedule::Part {
 public:
  Product(RateSchedule a, RateSchedule b) : a_(std::move(a)), b_(std::move(b)) {}
  double at(std::int64_t step) const override { return a_(step) * b_(step); }
  std::int64_t length() const override { return std::max(a_.length(), b_.length()); }
  void observe(double metric) override {
    a_.observe(metric);
    b_.observe(metric);
  }
  void archive(Archive& a) override { a("a", a_)("b", b_); }
  std::unique_ptr<Part> clone() const override { return std::make_unique<Product>(*this); }

 private:
  RateSchedule a_, b_;
};

class Plateau final : public RateSchedule::Part {
 public:
  explicit Plateau(const schedules::PlateauOptions& options) : options_(options) {}
  double at(std::int64_t) const override { return factor_; }
  void observe(double metric) override {
    const double value = options_.larger_is_better ? -metric : metric;
    if (!std::isnan(value) && (!any_ || value < best_ - options_.threshold * std::fabs(best_))) {
      best_ = value;
      waited_ = 0;
      any_ = true;
    } else if (++waited_ > options_.patience) {
      factor_ = std::max(options_.smallest, factor_ * options_.factor);
      waited_ = 0;
    }
  }
  void archive(Archive& a) override { a("best", best_)("factor", factor_)("waited", waited_)("any", any_); }
  std::unique_ptr<Part> clone() const override { return std::make_unique<Plateau>(*this); }

 private:
  schedules::PlateauOptions options_;
  double best_ = 0, factor_ = 1;
  int waited_ = 0;
  bool any_ = false;
};

/// From a to b along half a cosine, at a share of the way.
double half_cosine(double a, double b, double share) {
  return b + (a - b) * 0.5 * (1 + std::cos(std::numbers::pi * share));
}

}  // namespace

RateSchedule::RateSchedule() : RateSchedule(schedules::constant()) {}

RateSchedule RateSchedule::then(std::int64_t steps, const RateSchedule& next) const {
  check("RateSchedule::then", steps >= 0, "a length", static_cast<double>(steps));
  return RateSchedule(std::make_unique<Then>(*this, steps, next));
}
RateSchedule RateSchedule::then(const RateSchedule& next) const {
  if (length() < 0) fail("RateSchedule::then", "after a schedule without length the number of its steps must be given");
  return then(length(), next);
}
RateSchedule RateSchedule::times(const RateSchedule& other) const {
  return RateSchedule(std::make_unique<Product>(*this, other));
}

namespace schedules {

RateSchedule constant(double factor) {
  check("constant", factor >= 0, "a factor", factor);
  return formula([=](double) { return factor; });
}

RateSchedule step(std::int64_t every, double factor) {
  check("step", every > 0, "a period", static_cast<double>(every));
  check("step", factor >= 0, "a factor", factor);
  return formula([=](double t) { return std::pow(factor, std::floor(t / static_cast<double>(every))); });
}

RateSchedule exponential(double factor) {
  check("exponential", factor >= 0, "a factor", factor);
  return formula([=](double t) { return std::pow(factor, t); });
}

RateSchedule cosine(std::int64_t steps, double last) {
  check("cosine", steps > 0, "a length", static_cast<double>(steps));
  check("cosine", last >= 0, "a last factor", last);
  const double n = static_cast<double>(steps);
  return formula([=](double t) { return half_cosine(1, last, std::min(t, n) / n); }, steps);
}

RateSchedule linear_warmup(std::int64_t steps, double start) {
  check("linear_warmup", steps > 0, "a length", static_cast<double>(steps));
  check("linear_warmup", start >= 0, "a start", start);
  const double n = static_cast<double>(steps);
  return formula([=](double t) { return start + (1 - start) * std::min(t + 1, n) / n; }, steps);
}

RateSchedule one_cycle(std::int64_t steps, double rise, double start, double last) {
  check("one_cycle", steps > 0, "a length", static_cast<double>(steps));
  check("one_cycle", rise > 0 && rise < 1, "a share of rising steps", rise);
  check("one_cycle", start >= 0 && last >= 0, "a factor at an end", std::min(start, last));
  const double n = static_cast<double>(steps), top = rise * n;
  return formula(
      [=](double t) {
        return t < top ? half_cosine(start, 1, t / top) : half_cosine(1, last, std::min(1.0, (t - top) / (n - top)));
      },
      steps);
}

RateSchedule inverse_sqrt(std::int64_t warmup) {
  check("inverse_sqrt", warmup > 0, "a length", static_cast<double>(warmup));
  const double w = static_cast<double>(warmup);
  return formula([=](double t) { return std::min((t + 1) / w, std::sqrt(w / (t + 1))); });
}

RateSchedule inverse_time(double decay) {
  check("inverse_time", decay >= 0, "a decay", decay);
  return formula([=](double t) { return 1 / (1 + decay * t); });
}

RateSchedule reduce_on_plateau(const PlateauOptions& options) {
  check("reduce_on_plateau", options.factor >= 0 && options.factor < 1, "a factor", options.factor);
  check("reduce_on_plateau", options.patience >= 0, "a patience", options.patience);
  check("reduce_on_plateau", options.threshold >= 0, "a threshold", options.threshold);
  return RateSchedule(std::make_unique<Plateau>(options));
}

}  // namespace schedules
}  // namespace tapestry
