#include <doctest/doctest.h>

#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/discrete_model.hpp>

using namespace tapestry;

namespace {

/// A network of a cause and its effect, with names.
DiscreteModel network() {
  return {ModelKind::bayes,    {2, 3},
          {{0}, {0, 1}},       {{.5, .5}, {1, 0, 0, .2, .3, .5}},
          {"cause", "effect"}, {{"no", "yes"}, {"a", "b", "c"}}};
}

template <class E, class Change>
void refused(const char* message, Change change) {
  CAPTURE(message);
  auto model = network();
  change(model);
  CHECK_THROWS_WITH_AS(validate(model), doctest::Contains(message), E);
}

}  // namespace

TEST_CASE("discrete models: sizes that do not agree") {
  CHECK_NOTHROW(validate(network()));
  refused<ShapeError>("2 scopes, 1 tables", [](auto& m) { m.tables.pop_back(); });
  refused<ShapeError>("2 variables, 1 names", [](auto& m) { m.names.pop_back(); });
  refused<ShapeError>("2 variables, 1 lists", [](auto& m) { m.states.pop_back(); });
  refused<ShapeError>("variable 1 has 3 states, 2 names", [](auto& m) { m.states[1].pop_back(); });
  refused<ShapeError>("variable 0 has 0 states", [](auto& m) {
    m.cardinalities[0] = 0;
    m.states.clear();
  });
  refused<ShapeError>("factor 1 has 5 entries, its scope 6", [](auto& m) { m.tables[1].pop_back(); });
}

TEST_CASE("discrete models: networks without a table for each variable") {
  refused<NumericalError>("needs as many tables", [](auto& m) {
    m.scopes.pop_back();
    m.tables.pop_back();
  });
  refused<NumericalError>("factor 0: a table of a Bayesian network has an empty scope", [](auto& m) {
    m.scopes[0].clear();
    m.tables[0] = {1};
  });
  refused<NumericalError>("factor 1: a second table for variable 0", [](auto& m) {
    m.scopes[1] = {1, 0};
    m.tables[1] = {.5, .5, .5, .5, .5, .5};
  });
  refused<NumericalError>("factor 1: row 1 of the table of variable 1 sums to 0.9",
                          [](auto& m) { m.tables[1] = {1, 0, 0, .2, .3, .4}; });
}

TEST_CASE("discrete models: names and assignments that do not exist") {
  const auto model = network();
  CHECK(model.state(1, "c") == 2);
  CHECK_THROWS_WITH_AS(model.state(2, "c"), doctest::Contains("variable 2 has no named states"), IndexError);
  CHECK_THROWS_AS(model.state(-1, "c"), IndexError);
  CHECK(log_score(model, {1, 2}) == doctest::Approx(std::log(.25)));
  CHECK_THROWS_AS(log_score(model, {1}), ShapeError);
  CHECK_THROWS_WITH_AS(log_score(model, {1, 3}), doctest::Contains("variable 1 has 3 states, none is 3"), IndexError);
  CHECK_THROWS_AS(log_score(model, {-1, 0}), IndexError);
}
