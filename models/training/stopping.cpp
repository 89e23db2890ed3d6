#include <tapestry/models/training/stopping.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

void check_tolerance(const char* operation, double tolerance) {
  if (!(tolerance >= 0)) fail(operation, "a tolerance of ", tolerance);
}

class OwnCheck final : public Stopping::Part {
 public:
  explicit OwnCheck(std::function<std::string(const EpochReport&)> check) : check_(std::move(check)) {}
  std::string check(const EpochReport& report) override { return check_(report); }
  std::unique_ptr<Part> clone() const override { return std::make_unique<OwnCheck>(*this); }

 private:
  std::function<std::string(const EpochReport&)> check_;
};

class ObjectiveChange final : public Stopping::Part {
 public:
  ObjectiveChange(double tolerance, int epochs) : tolerance_(tolerance), epochs_(epochs) {}
  std::string check(const EpochReport& report) override {
    const bool small = any_ && std::fabs(report.loss - last_) <= tolerance_ * std::max(1.0, std::fabs(report.loss));
    count_ = small ? count_ + 1 : 0;
    last_ = report.loss;
    any_ = true;
    return count_ >= epochs_ ? "small change of the objective" : "";
  }
  void archive(Archive& a) override { a("last", last_)("count", count_)("any", any_); }
  std::unique_ptr<Part> clone() const override { return std::make_unique<ObjectiveChange>(*this); }

 private:
  double tolerance_, last_ = 0;
  int epochs_, count_ = 0;
  bool any_ = false;
};

class ParameterChange final : public Stopping::Part {
 public:
  explicit ParameterChange(double tolerance) : tolerance_(tolerance) {}
  std::string check(const EpochReport& report) override {
    const bool small = report.parameter_change <= tolerance_ * std::max(1.0, report.parameter_norm);
    return small ? "small change of the parameters" : "";
  }
  bool needs_parameter_change() const override { return true; }
  std::unique_ptr<Part> clone() const override { return std::make_unique<ParameterChange>(*this); }

 private:
  double tolerance_;
};

class PlateauOf final : public Stopping::Part {
 public:
  PlateauOf(std::string metric, int patience, bool larger, double min_change)
      : metric_(std::move(metric)), patience_(patience), larger_(larger), min_change_(min_change) {}
  std::string check(const EpochReport& report) override {
    const double value = larger_ ? -report.metric(metric_) : report.metric(metric_);
    if (!std::isnan(value) && (!any_ || value < best_ - min_change_)) {
      best_ = value;
      waited_ = 0;
      any_ = true;
      return "";
    }
    return ++waited_ > patience_ ? "no improvement of " + metric_ : "";
  }
  void archive(Archive& a) override { a("best", best_)("waited", waited_)("any", any_); }
  std::unique_ptr<Part> clone() const override { return std::make_unique<PlateauOf>(*this); }

 private:
  std::string metric_;
  int patience_;
  bool larger_;
  double min_change_, best_ = 0;
  int waited_ = 0;
  bool any_ = false;
};

}  // namespace

double EpochReport::metric(const std::string& name) const {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  if (name == "loss") return loss;
  std::string known = "loss";
  for (const auto& [key, value] : metrics) known += ", " + key;
  fail("EpochReport::metric", "no metric '", name, "'; there are: ", known);
}

Stopping::Stopping(std::function<std::string(const EpochReport&)> check)
    : Stopping(std::make_unique<OwnCheck>(std::move(check))) {}

namespace stopping {

Stopping objective_change(double tolerance, int epochs) {
  check_tolerance("objective_change", tolerance);
  if (epochs < 1) fail("objective_change", epochs, " epochs in a row");
  return Stopping(std::make_unique<ObjectiveChange>(tolerance, epochs));
}

Stopping parameter_change(double tolerance) {
  check_tolerance("parameter_change", tolerance);
  return Stopping(std::make_unique<ParameterChange>(tolerance));
}

Stopping gradient_norm(double tolerance) {
  check_tolerance("gradient_norm", tolerance);
  return Stopping([tolerance](const EpochReport& report) -> std::string {
    return report.gradient_norm <= tolerance ? "small gradient" : "";
  });
}

Stopping plateau(std::string metric, int patience, bool larger_is_better, double min_change) {
  check_tolerance("plateau", min_change);
  if (patience < 0) fail("plateau", "a patience of ", patience);
  return Stopping(std::make_unique<PlateauOf>(std::move(metric), patience, larger_is_better, min_change));
}

}  // namespace stopping
}  // namespace tapestry
