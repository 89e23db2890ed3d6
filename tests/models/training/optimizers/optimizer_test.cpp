#include <cmath>
#include <limits>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include "models/training/optimizers/methods.hpp"

using namespace tapestry;

namespace {

std::vector<NamedMethod<double>> all_methods() {
  return named_methods<double>();
}

// (x - target)' A (x - target) / 2 with eigenvalues between 0.5 and 4.
Var<double> quadratic(const Var<double>& x) {
  const Var<double> d = x - Var<double>(Tensor<double>{1.0, -2.0, 0.5});
  return 0.5 * sum(Var<double>(Tensor<double>{0.5, 2.0, 4.0}) * square(d)) + 0.3 * sum(d) * sum(d);
}

void descend(Optimizer<double>& optimizer, const Var<double>& x, int steps) {
  for (int t = 0; t < steps; ++t) {
    optimizer.zero_gradients();
    quadratic(x).backward();
    optimizer.step();
  }
}

}  // namespace

TEST_CASE("optimizer: every method finds the minimum of a quadratic") {
  for (const NamedMethod<double>& method : all_methods()) {
    INFO(method.name);
    Var<double> x(Tensor<double>{3.0, 3.0, 3.0}, true);
    const auto optimizer = method.make({x});
    const double rate = optimizer->rate();
    for (int phase = 0; phase < 60; ++phase) {
      descend(*optimizer, x, 50);
      if (method.name != "rprop") optimizer->set_rate(rate * std::pow(0.9, phase));
    }
    CHECK(quadratic(x).item() < 1e-4);
  }
}

TEST_CASE("optimizer: the state of every method is saved by names and goes on bit by bit") {
  for (const NamedMethod<double>& method : all_methods()) {
    INFO(method.name);
    Var<double> x(Tensor<double>{3.0, 3.0, 3.0}, true), y(Tensor<double>{0.0, 0.0, 0.0}, true);
    const auto one = method.make({x});
    descend(*one, x, 7);
    one->set_rate(one->rate() / 3);
    Archive saved, loaded;
    saved("optimizer", *one);
    const auto other = method.make({y});
    loaded("optimizer", *other);
    y.assign(x.tensor());
    const NamedTensors values = saved.save();
    CHECK(values.tensors.contains("optimizer.updates.0"));
    CHECK(values.tensors.contains("optimizer.largest.0") == (method.name == "amsgrad"));
    loaded.load(values, "memory");
    CHECK(other->steps() == 7);
    descend(*one, x, 5);
    descend(*other, y, 5);
    CHECK(x.tensor() == y.tensor());
  }
}

TEST_CASE("optimizer: groups have rates, decays, L1 terms and norms of their own") {
  struct Layer {
    Var<double> weight = Var<double>::filled({2, 2}, 1.0, true), bias = Var<double>::filled({2}, 1.0, true);
    void members(Members& m) { m("weight", weight)("bias", bias); }
  };
  Layer slow, decayed, sparse, limited;
  ParameterGroups<double> groups;
  groups.add(slow, {.rate_factor = 0.5})
      .add(decayed, {.weight_decay = 0.0})
      .add(sparse, {.l1 = 8})
      .add(limited, {.max_norm = 1});
  CHECK(groups.members()[2].name == "weight'");
  Sgd<double> sgd(groups, {.rate = 0.1, .weight_decay = 1});
  for (const auto& p : sgd.parameters()) {
    Var<double> same = p;
    same.set_gradient(Tensor<double>(detail::xtensor_shape(p.shape()), 1.0));
  }
  sgd.step();
  CHECK(slow.weight.value()(0, 0) == doctest::Approx(1 - 0.05 * 2));
  CHECK(decayed.weight.value()(0, 0) == doctest::Approx(1 - 0.1));
  CHECK(sparse.weight.value()(1, 1) == 0);  // |1 - 0.2| <= 0.1 * 8
  CHECK(limited.weight.value()(0, 1) == doctest::Approx(std::sqrt(0.5)));
  CHECK(limited.bias.value()(0) == doctest::Approx(0.8));
  CHECK_THROWS_WITH_AS(groups.add(slow), "ParameterGroups: parameter 'weight' of shape [2, 2] is in a group already",
                       GraphError);
  CHECK_THROWS_AS(groups.add(Layer(), {.rate_factor = -1}), Error);
  CHECK_THROWS_AS(groups.add(Layer(), {.max_norm = 1, .unit_axis = 2}), ShapeError);
}

TEST_CASE("optimizer: tied weights are one parameter, changed once, in a clone as well") {
  struct Tied {
    Var<double> first = Var<double>::filled({2}, 1.0, true), second = first;
    void members(Members& m) { m("first", first)("second", second); }
  };
  const Tied original, copy = clone(original);
  for (const Tied* tied : {&original, &copy}) {
    Sgd<double> sgd(*tied, {.rate = 0.1});
    CHECK(sgd.parameters().size() == 1);
    (sum(tied->first) + sum(2.0 * tied->second)).backward();
    sgd.step();
    CHECK(tied->first.value()(0) == doctest::Approx(0.7).epsilon(1e-15));
    CHECK(tied->second.value()(1) == doctest::Approx(0.7).epsilon(1e-15));
    if (tied == &original) CHECK(copy.first.value()(0) == 1);
  }
}

TEST_CASE("optimizer: L1 and max-norm terms along the axis of the units") {
  Var<double> filters(Tensor<double>{{3.0, 4.0}, {0.3, 0.4}}, true);
  Sgd<double> sgd(ParameterGroups<double>().add({filters}, {.max_norm = 1, .unit_axis = 0}), {.rate = 1});
  filters.set_gradient(Tensor<double>{{0.0, 0.0}, {0.0, 0.0}});
  sgd.step();
  CHECK(filters.value()(0, 0) == doctest::Approx(0.6));
  CHECK(filters.value()(1, 1) == doctest::Approx(0.4));
}

TEST_CASE("optimizer: the L1 term moves by rate times its weight, and not past zero") {
  Var<double> x(Tensor<double>{1.0, -1.0, 0.15, -0.2}, true);
  Sgd<double> sgd(ParameterGroups<double>().add({x}, {.rate_factor = 0.5, .l1 = 2}), {.rate = 0.2});
  x.set_gradient(Tensor<double>{0.0, 0.0, 0.0, 1.0});
  sgd.step();
  CHECK(x.value()(0) == doctest::Approx(0.8).epsilon(1e-15));
  CHECK(x.value()(1) == doctest::Approx(-0.8).epsilon(1e-15));
  CHECK(x.value()(2) == 0);
  CHECK(x.value()(3) == doctest::Approx(-0.1).epsilon(1e-14));
}

TEST_CASE("optimizer: a parameter that gets its first gradient late is updated as one that is alone") {
  for (const NamedMethod<double>& method : all_methods()) {
    INFO(method.name);
    Var<double> early(Tensor<double>{3.0, 3.0, 3.0}, true), late(Tensor<double>{2.0, 0.5, -1.0}, true),
        alone(late.tensor(), true);
    const auto both = method.make({early, late}), one = method.make({alone});
    for (int t = 0; t < 7; ++t) {
      both->zero_gradients();
      one->zero_gradients();
      quadratic(early).backward();
      if (t >= 3) {
        quadratic(late).backward();
        quadratic(alone).backward();
        one->step();
      }
      both->step();
    }
    CHECK(late.tensor() == alone.tensor());
    CHECK(late.value()(0) != 2);
  }
}

TEST_CASE("optimizer: the norms of rows that have no gradient are left alone") {
  const Tensor<double> start{{3.0, 4.0}, {6.0, 8.0}, {0.3, 0.4}};
  Var<double> table(start, true);
  Sgd<double> sgd(ParameterGroups<double>().add({table}, {.max_norm = 1, .unit_axis = 0}), {.rate = 0.0});
  sum(embedding(table, {0, 2})).backward();
  sgd.step();
  CHECK(table.value()(0, 0) == doctest::Approx(0.6));
  CHECK(table.value()(1, 1) == 8);
  CHECK(table.value()(2, 1) == 0.4);
}

TEST_CASE("optimizer: clipping by norm and by value, in the update and by hand") {
  const Tensor<double> gradient{3.0, 4.0};
  Var<double> x(Tensor<double>{0.0, 0.0}, true), y(Tensor<double>{0.0}, true);
  Sgd<double> sgd({x, y}, {.rate = 1});
  x.set_gradient(gradient);
  y.set_gradient(Tensor<double>{12.0});
  CHECK(sgd.gradient_norm() == doctest::Approx(13));
  sgd.set_clipping({.norm = 6.5});
  sgd.step();
  CHECK(x.value()(1) == doctest::Approx(-2));
  CHECK(y.value()(0) == doctest::Approx(-6));
  sgd.set_clipping({.value = 3.5});
  sgd.step();
  CHECK(x.value()(0) == doctest::Approx(-4.5));
  CHECK(x.value()(1) == doctest::Approx(-5.5));
  sgd.set_clipping({.norm = 1});
  y.set_gradient(Tensor<double>{std::numeric_limits<double>::infinity()});
  CHECK_THROWS_WITH_AS(sgd.step(), "Sgd: the gradient's norm is inf", NumericalError);
  CHECK(sgd.steps() == 2);
  y.set_gradient(Tensor<double>{12.0});
  CHECK(clip_gradient_norm<double>({x, y}, 1.0) == doctest::Approx(13));
  CHECK(gradient_norm<double>({x, y}) == doctest::Approx(1));
  // What is within the limits stays as it is.
  x.set_gradient(gradient);
  y.set_gradient(Tensor<double>{0.0});
  CHECK(gradient_norm<double>({x, y}) == 5);
  CHECK(clip_gradient_norm<double>({x, y}, 6.0) == 5);
  CHECK(gradient_norm<double>({x, y}) == 5);
  sgd.set_clipping({.norm = 6, .value = 7});
  const double before = x.value()(1);
  sgd.step();
  CHECK(x.value()(1) == doctest::Approx(before - 4).epsilon(1e-14));
  // More elements than a thread gets as one piece of a sum.
  Var<float> large = Var<float>::filled({70003}, 0.f, true);
  large.set_gradient(Tensor<float>(std::vector<std::size_t>{70003}, 2.f));
  CHECK(gradient_norm<float>({large}) == doctest::Approx(2 * std::sqrt(70003.0)).epsilon(1e-14));
}

TEST_CASE("optimizer: rows of embeddings are updated lazily, as the dense update where it leaves other rows alone") {
  const Indices rows{3, 1, 3};
  for (const NamedMethod<double>& method : all_methods()) {
    INFO(method.name);
    const std::string& name = method.name;
    const Tensor<double> start{{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}, {7.0, 8.0}, {9.0, 10.0}};
    Var<double> lazy{start, true}, dense{start, true};
    const auto one = method.make({lazy}), other = method.make({dense});
    one->set_clipping({.norm = 20});
    other->set_clipping({.norm = 20});
    for (int t = 0; t < 4; ++t) {
      one->zero_gradients();
      other->zero_gradients();
      sum(square(embedding(lazy, rows))).backward();
      sum(square(embedding(dense, rows))).backward();
      CHECK(lazy.sparse_gradient().has_value());
      CHECK(one->gradient_norm() == doctest::Approx(other->gradient_norm()).epsilon(1e-14));
      dense.gradient();  // makes it dense
      one->step();
      other->step();
    }
    // The rows that are always there get the same updates whatever the method.
    for (const std::size_t i : {1u, 3u})
      for (const std::size_t j : {0u, 1u})
        CHECK(lazy.value()(i, j) == doctest::Approx(dense.value()(i, j)).epsilon(1e-13));
    CHECK(lazy.value()(0, 0) == (name == "lamb" ? dense.value()(0, 0) : 1.0));
    CHECK(lazy.value()(3, 0) < 7);
  }
}

TEST_CASE("optimizer: SGD without momentum and Adagrad are the same lazily and densely, whatever rows come") {
  for (const NamedMethod<double>& method : all_methods()) {
    if (method.name != "sgd" && method.name != "adagrad") continue;
    const Tensor<double> start{{1.0, 2.0}, {3.0, 4.0}, {5.0, 6.0}};
    Var<double> lazy{start, true}, dense{start, true};
    const auto one = method.make({lazy}), other = method.make({dense});
    for (std::int64_t t = 0; t < 6; ++t) {
      for (const Var<double>& table : {lazy, dense}) sum(square(embedding(table, {t % 3, t / 2}))).backward();
      dense.gradient();
      for (Optimizer<double>* optimizer : {one.get(), other.get()}) {
        optimizer->step();
        optimizer->zero_gradients();
      }
    }
    CHECK(lazy.tensor() == dense.tensor());
    CHECK(lazy.value()(2, 1) < 6);
  }
}

TEST_CASE("optimizer: a frozen parameter and one without gradient stay; bad options are refused") {
  Var<double> x(Tensor<double>{3.0}, true), frozen(Tensor<double>{7.0}, true), unused(Tensor<double>{5.0}, true);
  Adam<double> adam({x, frozen, unused}, {.rate = 0.1});
  x.set_gradient(Tensor<double>{1.0});
  frozen.set_gradient(Tensor<double>{1.0});
  frozen.set_requires_grad(false);
  adam.step();
  CHECK(x.value()(0) < 3);
  CHECK(frozen.value()(0) == 7);
  CHECK(unused.value()(0) == 5);
  CHECK_THROWS_WITH_AS(Sgd<double>({x}, {.rate = -1}), "Sgd: a rate of -1", Error);
  CHECK_THROWS_WITH_AS(Adam<double>(std::vector<Var<double>>{}), "Adam: there are no parameters to update", Error);
  CHECK_THROWS_AS(Sgd<double>({x}, {.nesterov = true}), Error);
  CHECK_THROWS_AS(Sgd<double>({x * x}, {.rate = 1}), GraphError);
  CHECK_THROWS_AS(Adam<double>({x}, {.beta1 = 1}), Error);
  CHECK_THROWS_AS(Adagrad<double>({x}, {.epsilon = 0}), Error);
  CHECK_THROWS_AS(Rprop<double>({x}, {.decrease = 1}), Error);
  CHECK_THROWS_AS(Rmsprop<double>({x}, {.decay = -1}), Error);
  CHECK_THROWS_AS(Adadelta<double>({x}, {.decay = 1}), Error);
  CHECK_THROWS_AS(Lamb<double>({x}, {.weight_decay = -1}), Error);
}
