#include <tapestry/models/training/stopping.hpp>

#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>

using namespace tapestry;

namespace {

EpochReport with_loss(double loss) {
  EpochReport report;
  report.loss = loss;
  report.metrics = {{"f1", 1 - loss}};
  return report;
}

}  // namespace

TEST_CASE("stopping: a small change of the objective, several times in a row") {
  Stopping s = stopping::objective_change(0.01, 2);
  CHECK(s.check(with_loss(5)) == "");
  CHECK(s.check(with_loss(4.99)) == "");
  CHECK(s.check(with_loss(4)) == "");
  CHECK(s.check(with_loss(4.02)) == "");
  CHECK(s.check(with_loss(4.03)) == "small change of the objective");
}

TEST_CASE("stopping: a plateau of a metric, whichever way is better") {
  Stopping loss = stopping::plateau("loss", 1, false, 0.1), f1 = stopping::plateau("f1", 0, true);
  CHECK(loss.check(with_loss(3)) == "");
  CHECK(loss.check(with_loss(2.95)) == "");
  CHECK(loss.check(with_loss(2.8)) == "");
  CHECK(loss.check(with_loss(std::numeric_limits<double>::quiet_NaN())) == "");
  Stopping copy = loss;
  CHECK(loss.check(with_loss(2.75)) == "no improvement of loss");
  CHECK(copy.check(with_loss(2)) == "");
  CHECK(f1.check(with_loss(0.5)) == "");
  CHECK(f1.check(with_loss(0.4)) == "");
  CHECK(f1.check(with_loss(0.45)) == "no improvement of f1");
  CHECK_THROWS_WITH_AS(stopping::plateau("auc", 1).check(with_loss(1)),
                       "EpochReport::metric: no metric 'auc'; there are: loss, f1", Error);
}

TEST_CASE("stopping: small gradients, small steps, and a criterion of one's own") {
  EpochReport report = with_loss(1);
  report.gradient_norm = 0.01;
  report.parameter_change = 0.2;
  report.parameter_norm = 10;
  CHECK(stopping::gradient_norm(0.005).check(report) == "");
  CHECK(stopping::gradient_norm(0.02).check(report) == "small gradient");
  CHECK(stopping::parameter_change(0.01).check(report) == "");
  CHECK(stopping::parameter_change(0.02).check(report) == "small change of the parameters");
  CHECK(stopping::parameter_change(0.02).needs_parameter_change());
  Stopping own([](const EpochReport& r) { return r.metric("f1") < 0.1 ? std::string("poor") : std::string(); });
  CHECK(own.check(report) == "poor");
  CHECK_THROWS_AS(stopping::objective_change(-1), Error);
}

TEST_CASE("stopping: the memory is saved") {
  Stopping one = stopping::plateau("loss", 1), other = stopping::plateau("loss", 1);
  one.check(with_loss(1));
  one.check(with_loss(2));
  Archive saved, loaded;
  saved("stopping", one);
  loaded("stopping", other);
  loaded.load(saved.save(), "memory");
  CHECK(other.check(with_loss(2)) == "no improvement of loss");
}
