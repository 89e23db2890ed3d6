#include <doctest/doctest.h>

#include <limits>
#include <sstream>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/pool.hpp>
#include <tapestry/prob/inference/exact.hpp>

#include "prob/random_models.hpp"

using namespace tapestry;
using testing_models::random_evidence;
using testing_models::random_model;

namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

double largest_difference(const std::vector<std::vector<double>>& a, const std::vector<std::vector<double>>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].size() == b[i].size());
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      const double difference = std::abs(a[i][k] - b[i][k]);
      if (!(difference <= largest)) largest = difference;  // NaN is the largest of all
    }
  }
  return largest;
}

/// Compares everything with enumeration; returns whether the evidence was possible.
bool compare(const DiscreteModel& model, const Evidence& evidence, double tolerance = 1e-12) {
  const auto expected = enumerate_marginals(model, evidence, 1e7);
  const auto best = enumerate_maximum(model, evidence, 1e7);
  const auto got = exact_marginals(model, evidence);
  const auto maximum = exact_maximum(model, evidence);
  REQUIRE(got.possible == expected.possible);
  REQUIRE(maximum.possible == expected.possible);
  if (!expected.possible) {
    CHECK(got.log_partition == minus_infinity);
    CHECK(exact_log_partition(model, evidence) == minus_infinity);
    CHECK(maximum.log_value == minus_infinity);
    CHECK(got.variables.empty());
    return false;
  }
  CHECK(got.log_partition == doctest::Approx(expected.log_partition).epsilon(tolerance));
  CHECK(exact_log_partition(model, evidence) == doctest::Approx(expected.log_partition).epsilon(tolerance));
  CHECK(largest_difference(got.variables, expected.variables) < tolerance);
  CHECK(largest_difference(got.factors, expected.factors) < tolerance);
  CHECK(maximum.log_value == doctest::Approx(best.log_value).epsilon(tolerance));
  CHECK(log_score(model, maximum.assignment) == doctest::Approx(best.log_value).epsilon(tolerance));
  for (const auto& [variable, state] : evidence) CHECK(maximum.assignment[static_cast<std::size_t>(variable)] == state);
  return true;
}

DiscreteModel grid(std::mt19937_64& random, int rows, int columns, double spread) {
  std::normal_distribution<double> normal(0, spread);
  DiscreteModel model;
  model.cardinalities.assign(static_cast<std::size_t>(rows * columns), 2);
  const auto edge = [&](std::int64_t a, std::int64_t b) {
    model.scopes.push_back({a, b});
    model.tables.push_back({});
    for (int i = 0; i < 4; ++i) model.tables.back().push_back(std::exp(normal(random)));
  };
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) {
      if (j + 1 < columns) edge(i * columns + j, i * columns + j + 1);
      if (i + 1 < rows) edge(i * columns + j, (i + 1) * columns + j);
    }
  return model;
}

}  // namespace

TEST_CASE("junction trees agree with enumeration on random models") {
  std::mt19937_64 random(1);
  int possible = 0;
  for (int i = 0; i < 60; ++i) {
    const int factors = std::uniform_int_distribution<int>(0, 14)(random);
    const auto model = random_model(random, {.variables = 7, .factors = factors, .zeros = i % 3 == 0 ? .5 : 0});
    possible += compare(model, random_evidence(random, model, i % 4 == 0 ? .4 : 0));
  }
  CHECK(possible > 40);
  CHECK(possible < 60);
}

TEST_CASE("potentials beyond the range of double are summed with logarithms") {
  std::mt19937_64 random(2);
  for (int i = 0; i < 12; ++i) {
    const auto model = random_model(random, {.variables = 7, .factors = 12, .zeros = .2, .spread = 150});
    compare(model, {}, 1e-11);
  }
  // The only possible assignment is e^-1380 times less likely than what each factor alone prefers.
  DiscreteModel model;
  model.cardinalities = {2, 2, 2};
  model.scopes = {{0}, {0, 1}, {0, 1}, {1, 2}, {2}};
  model.tables = {{1e-300, 1}, {1e-300, 1, 1, 1}, {1, 0, 1, 0}, {1, 0, 0, 1}, {1, 1}};
  model.tables[0] = {1, 0};
  const auto result = exact_marginals(model);
  CHECK(result.log_partition == doctest::Approx(std::log(1e-300)));
  model.scopes.push_back({0, 1});
  model.tables.push_back({1e-300, 1, 1, 1});
  CHECK(exact_log_partition(model) == doctest::Approx(2 * std::log(1e-300)).epsilon(1e-14));
  CHECK(exact_marginals(model).variables[1] == std::vector<double>{1, 0});
}

TEST_CASE("products that may underflow are summed as numbers where no message is small, else with logarithms") {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(.5, 1);
  // More than a hundred factors of a range of e^9 each, as soft constraints have.
  DiscreteModel soft;
  soft.cardinalities.assign(8, 3);
  for (int i = 0; i < 120; ++i) {
    const std::int64_t a = i % 8, b = (a + 1 + i / 8 % 7) % 8;
    soft.scopes.push_back({a, b});
    soft.tables.emplace_back();
    for (int k = 0; k < 9; ++k)
      soft.tables.back().push_back((k + i) % 4 == 0 ? 1e-4 * uniform(random) : uniform(random));
  }
  // What one neighbour makes 1e380 times less likely than the other state, two others together prefer by 1e540.
  DiscreteModel small;
  small.cardinalities.assign(4, 2);
  for (int i = 0; i < 5; ++i) {
    small.scopes.push_back({0, 1});
    small.tables.push_back({1, 2, 1e-76, 1e-76});
  }
  for (const std::int64_t v : {2, 3}) {
    small.scopes.push_back({0, v});
    small.tables.push_back({1e-270, 1e-270, 1, 3});
  }
  for (const auto* model : {&soft, &small}) {
    compare(*model, {}, 1e-11);
    CliqueTreeOptions options{.maximum = false, .any_range = false};
    options.memory_limit = CliqueTree(model->cardinalities, model->scopes, {}, options).bytes();
    if (model == &small)
      CHECK_THROWS_AS(exact_marginals(*model, {}, options), NumericalError);
    else
      CHECK(exact_marginals(*model, {}, options).possible);
  }
}

TEST_CASE("tables of denormal numbers, whose reciprocals are infinite") {
  constexpr double least = std::numeric_limits<double>::denorm_min();
  const DiscreteModel model{ModelKind::markov, {2, 2}, {{0}, {0, 1}}, {{least, 2 * least}, {3, 1, 0, 1}}, {}, {}};
  const auto result = exact_marginals(model);
  CHECK(result.log_partition == doctest::Approx(std::log(least) + std::log(6.0)).epsilon(1e-14));
  CHECK(result.variables[0][1] == doctest::Approx(1 / 3.0).epsilon(1e-13));
  CHECK(result.variables[1][0] == doctest::Approx(1 / 2.0).epsilon(1e-13));
  CHECK(exact_maximum(model).assignment == std::vector<std::int64_t>{0, 0});
}

TEST_CASE("larger tables take the paths of long rows and of merged factors") {
  std::mt19937_64 random(3);
  const auto complete = random_model(random, {.variables = 11, .factors = 60, .most_states = 3, .most_arity = 4});
  compare(complete, {}, 1e-11);
  const auto wide = random_model(random, {.variables = 5, .factors = 12, .most_states = 13, .most_arity = 4});
  compare(wide, {}, 1e-11);
  const auto sliced = random_model(random, {.variables = 12, .factors = 30, .most_states = 4, .most_arity = 6});
  compare(sliced, random_evidence(random, sliced, .4), 1e-11);
  compare(grid(random, 4, 4, 2), {}, 1e-11);
}

TEST_CASE("a clique with many children gives to them by way of joint tables") {
  std::mt19937_64 random(4);
  std::uniform_real_distribution<double> uniform(0.2, 2);
  const auto table = [&](std::size_t n) {
    std::vector<double> out(n);
    for (double& x : out) x = uniform(random);
    return out;
  };
  DiscreteModel model;
  model.cardinalities.assign(18, 2);
  model.scopes.push_back({0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  model.tables.push_back(table(1024));
  for (std::int64_t leaf = 0; leaf < 8; ++leaf) {
    model.scopes.push_back({leaf, (leaf + 3) % 10, 10 + leaf});
    model.tables.push_back(table(8));
  }
  compare(model, {});
  compare(model, {{12, 1}});
}

TEST_CASE("degenerate models") {
  DiscreteModel model;
  CHECK(exact_log_partition(model) == 0);
  CHECK(exact_maximum(model).assignment.empty());
  model.cardinalities = {3, 1, 2};
  CHECK(exact_log_partition(model) == doctest::Approx(std::log(6.0)));
  compare(model, {});
  model.scopes = {{}, {1}, {1, 0}, {0, 1}};
  model.tables = {{2}, {3}, {1, 2, 3}, {5, 0, 1}};
  compare(model, {});
  compare(model, {{0, 0}});
  compare(model, {{0, 0}, {1, 0}, {2, 1}});
  compare(model, {{2, 1}, {2, 1}});
  CHECK_FALSE(compare(model, {{0, 1}}));
  CHECK_THROWS_AS(exact_marginals(model, {{0, 3}}), IndexError);
  CHECK_THROWS_AS(exact_marginals(model, {{3, 0}}), IndexError);
  CHECK_THROWS_AS(exact_marginals(model, {{0, 0}, {0, 1}}), IndexError);
  model.tables[0] = {0};
  CHECK_THROWS_WITH_AS(exact_marginals(model), "validate: factor 0: all entries are zero", NumericalError);
}

TEST_CASE("models that are too wide are refused before allocation, with width and memory") {
  std::mt19937_64 random(4);
  const auto model = grid(random, 10, 10, 1);
  CliqueTreeOptions options;
  options.memory_limit = 1e4;
  CHECK_THROWS_WITH_AS(exact_marginals(model, {}, options), doctest::Contains("needs width 1"), NumericalError);
  DiscreteModel clique;
  clique.cardinalities.assign(300, 2);
  for (std::int64_t a = 0; a < 300; ++a)
    for (std::int64_t b = 0; b < a; ++b) {
      clique.scopes.push_back({a, b});
      clique.tables.push_back({1, 2, 3, 4});
    }
  CHECK_THROWS_WITH_AS(exact_marginals(clique), doctest::Contains("width 299"), NumericalError);
  CHECK_THROWS_WITH_AS(enumerate_marginals(clique), doctest::Contains("more than the limit"), NumericalError);
}

TEST_CASE("inference allocates no more than it announced for what was asked, and not much less") {
  std::mt19937_64 random(5);
  DiscreteModel dense = random_model(random, {.variables = 4, .factors = 0, .most_states = 2});
  dense.cardinalities.assign(4, 20);
  for (int i = 0; i < 3; ++i) {
    dense.scopes.push_back({3, 0, 1, 2});
    dense.tables.emplace_back(160000, 1.0);
    for (double& x : dense.tables.back()) x = std::uniform_real_distribution<double>(.5, 2)(random);
  }
  for (const double spread : {0.0, 1.0, 100.0}) {  // the largest one in logarithms
    CAPTURE(spread);
    const auto model = spread > 0 ? grid(random, 13, 13, spread) : dense;
    std::vector<const double*> tables;
    for (const auto& table : model.tables) tables.push_back(table.data());
    for (const bool maximum : {false, true})
      for (const int marginals : {0, 1, 2}) {
        if (maximum && marginals > 0) continue;
        CAPTURE(maximum);
        CAPTURE(marginals);
        const CliqueTree tree(model.cardinalities, model.scopes, {},
                              {.log_partition = !maximum,
                               .marginals = marginals > 0,
                               .factor_marginals = marginals > 1,
                               .maximum = maximum,
                               .any_range = spread > 1});
        REQUIRE(tree.bytes() > 1e6);
        const std::size_t before = memory_statistics().in_use;
        reset_peak_memory();
        if (maximum)
          tree.maximum(tables, TableScale::linear, {});
        else
          tree.sums(tables, TableScale::linear, {}, marginals > 0, marginals > 1);
        const auto taken = static_cast<double>(memory_statistics().peak - before);
        constexpr double accounting = 65536;  // how exactly the pool knows its peak
        // The pool's blocks are larger than what is asked for by at most a quarter, which nothing touches.
        CHECK(taken <= 1.25 * tree.bytes() + accounting);
        CHECK(taken > .5 * tree.bytes());
        CHECK(tree.bytes() <= tree.logarithm_bytes());
      }
  }
}

TEST_CASE("where logarithms need more than the limit, numbers are tried first") {
  std::mt19937_64 random(6);
  const auto refusal = [&](double spread) -> std::string {
    const auto model = grid(random, 12, 12, spread);
    std::vector<const double*> tables;
    for (const auto& table : model.tables) tables.push_back(table.data());
    CliqueTreeOptions options{.marginals = false, .factor_marginals = false, .maximum = false, .any_range = false};
    options.memory_limit = CliqueTree(model.cardinalities, model.scopes, {}, options).bytes();
    const CliqueTree tree(model.cardinalities, model.scopes, {}, options);
    const std::size_t before = memory_statistics().in_use;
    reset_peak_memory();
    try {
      tree.sums(tables, TableScale::linear, {}, false, false);
    } catch (const NumericalError& error) {
      CHECK(static_cast<double>(memory_statistics().peak - before) <= 1.25 * options.memory_limit + 65536);
      std::ostringstream numbers;
      numbers << "width " << tree.width() << " and " << tree.logarithm_bytes() << " bytes, beyond the limit of ";
      CHECK(std::string(error.what()).find(numbers.str()) != std::string::npos);
      return error.what();
    }
    return "";
  };
  CHECK(refusal(1).empty());
  CHECK(refusal(100).find("logarithms") != std::string::npos);
}
