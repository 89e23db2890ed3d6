#include <tapestry/autodiff/ops/losses.hpp>

#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

using V = Var<double>;

TEST_CASE("losses: reductions, and no overflow for extreme logits") {
  const V logits(Tensor<double>{{1000.0, 0.0}, {0.0, 1000.0}});
  const V each = cross_entropy(logits, {1, 1}, Reduction::none);
  CHECK(each.value()(0) == 1000);
  CHECK(each.value()(1) == 0);
  CHECK(cross_entropy(logits, {1, 1}, Reduction::sum).item() == 1000);
  CHECK(cross_entropy(logits, {1, 1}).item() == 500);
  CHECK(binary_cross_entropy_with_logits(V(-1000.0), V(1.0)).item() == 1000);
}

TEST_CASE("losses: an impossible state adds nothing to a divergence") {
  const double never = -std::numeric_limits<double>::infinity();
  V log_p(Tensor<double>{0.0, never}, true), log_q(Tensor<double>{std::log(0.5), std::log(0.5)}, true);
  CHECK(kl_divergence(log_p, log_q).item() == doctest::Approx(std::log(2)));
}

TEST_CASE("losses: labels that do not fit are refused") {
  const V logits(Tensor<double>{{1.0, 0.0}, {0.0, 1.0}});
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0, 2}), "cross_entropy: label 2 at position 1 where there are 2 classes",
                       IndexError);
  CHECK_THROWS_WITH_AS(cross_entropy(logits, {0}), "cross_entropy: labels of shape [1] for scores of shape [2, 2]",
                       ShapeError);
  CHECK_THROWS_AS(huber(logits, logits, 0.0), Error);
}
