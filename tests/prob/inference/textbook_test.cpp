#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/io/bif.hpp>

using namespace tapestry;

namespace {

/// P(variable = state | evidence), all by name.
double posterior(const DiscreteModel& model, const std::string& variable, const std::string& state,
                 const std::vector<std::pair<std::string, std::string>>& seen = {}) {
  Evidence evidence;
  for (const auto& [name, value] : seen)
    evidence.push_back({model.variable(name), model.state(model.variable(name), value)});
  const auto v = model.variable(variable);
  return exact_marginals(model, evidence)
      .variables[static_cast<std::size_t>(v)][static_cast<std::size_t>(model.state(v, state))];
}

DiscreteModel named(DiscreteModel model, std::vector<std::string> names,
                    const std::vector<std::vector<std::string>>& states) {
  model.names = std::move(names);
  model.states = states;
  return model;
}

const std::vector<std::string> no_yes = {"no", "yes"};

}  // namespace

TEST_CASE("explaining away: a truck or an earthquake makes the house jump") {
  // A sigmoid belief network: biases -10 of the causes, -20 of the jump, weights 20.
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  std::vector<double> jump;
  for (const double causes : {0, 1, 1, 2}) {
    jump.push_back(sigmoid(20 - 20 * causes));
    jump.push_back(sigmoid(20 * causes - 20));
  }
  const std::vector<double> rare = {sigmoid(10), sigmoid(-10)};
  const auto network = bayesian_network({2, 2, 2}, {{}, {}, {0, 1}}, {rare, rare, jump});
  auto built = factor_graph<double>(network);
  built.graph.observe(built.variable[2], 1);
  const auto result = infer(built.graph, JunctionTree{});
  const auto p = result.factors[static_cast<std::size_t>(built.factor[2].first)].value();
  CHECK(std::abs(p(0, 0, 0, 1) - .0001) < 6e-5);
  CHECK(std::abs(p(0, 0, 1, 1) - .4999) < 6e-5);
  CHECK(std::abs(p(0, 1, 0, 1) - .4999) < 6e-5);
  CHECK(std::abs(p(0, 1, 1, 1) - .0001) < 6e-5);
}

TEST_CASE("sprinkler") {
  const auto model =
      named(bayesian_network({2, 2, 2, 2}, {{}, {0}, {0}, {1, 2}},
                             {{.5, .5}, {.5, .5, .9, .1}, {.8, .2, .2, .8}, {1, 0, .1, .9, .1, .9, .01, .99}}),
            {"cloudy", "sprinkler", "rain", "wet"}, {no_yes, no_yes, no_yes, no_yes});
  CHECK(posterior(model, "wet", "yes") == doctest::Approx(.6471));
  CHECK(posterior(model, "sprinkler", "yes", {{"wet", "yes"}}) == doctest::Approx(.2781 / .6471).epsilon(1e-4));
  CHECK(posterior(model, "rain", "yes", {{"wet", "yes"}}) == doctest::Approx(.4581 / .6471).epsilon(1e-4));
  CHECK(posterior(model, "sprinkler", "yes", {{"wet", "yes"}, {"rain", "yes"}}) ==
        doctest::Approx(.1945).epsilon(1e-3));
}

TEST_CASE("student (Koller and Friedman 2009, chapter 3)") {
  // Difficulty, intelligence, grade (A, B, C), SAT, letter.
  const auto model = bayesian_network({2, 2, 3, 2, 2}, {{}, {}, {1, 0}, {1}, {2}},
                                      {{.6, .4},
                                       {.7, .3},
                                       {.3, .4, .3, .05, .25, .7, .9, .08, .02, .5, .3, .2},
                                       {.95, .05, .2, .8},
                                       {.1, .9, .4, .6, .99, .01}});
  const auto p = [&](std::size_t variable, std::size_t state, const Evidence& evidence = {}) {
    return exact_marginals(model, evidence).variables[variable][state];
  };
  CHECK(p(4, 1) == doctest::Approx(.502).epsilon(1e-3));
  CHECK(p(4, 1, {{1, 0}}) == doctest::Approx(.389).epsilon(1e-3));
  CHECK(p(4, 1, {{1, 0}, {0, 0}}) == doctest::Approx(.513).epsilon(1e-3));
  CHECK(p(1, 1, {{2, 2}}) == doctest::Approx(.079).epsilon(5e-3));
  CHECK(p(0, 1, {{2, 2}}) == doctest::Approx(.629).epsilon(1e-3));
  CHECK(p(1, 1, {{2, 2}, {4, 0}}) == doctest::Approx(.079).epsilon(5e-3));
  CHECK(p(1, 1, {{2, 2}, {3, 1}}) == doctest::Approx(.578).epsilon(1e-3));
  CHECK(p(1, 1, {{2, 1}}) == doctest::Approx(.175).epsilon(1e-2));
  CHECK(p(1, 1, {{2, 1}, {0, 1}}) == doctest::Approx(.34).epsilon(1e-2));
}

TEST_CASE("the weather and the umbrella: forward, posterior and Viterbi") {
  // Russell and Norvig's umbrella world: rain persists with .7, is seen by an umbrella with .9, else .2.
  FactorGraph<double> graph;
  const auto rain = graph.add_variables("rain", {5}, 2);
  Tensor<double> step = {{std::log(.7), std::log(.3)}, {std::log(.3), std::log(.7)}};
  graph.add_factors("transition", chain_edges(graph.ids(rain)), Var<double>(std::move(step)));
  Tensor<double> seen = Tensor<double>::from_shape({5, 2});
  const bool umbrella[] = {true, true, false, true, true};
  for (std::size_t t = 0; t < 5; ++t) {
    seen(t, 0) = std::log(umbrella[t] ? .9 : .1);
    seen(t, 1) = std::log(umbrella[t] ? .2 : .8);
  }
  graph.add_unary("umbrella", rain, Var<double>(std::move(seen)));
  graph.add_unary("start", rain, [] {
    Tensor<double> start = Tensor<double>::from_shape({5, 2});
    start.fill(0);
    start(0, 0) = start(0, 1) = std::log(.5);
    return Var<double>(std::move(start));
  }());
  const auto result = infer(graph, JunctionTree{.maximum = true});
  const double smoothed[] = {.8673, .8204, .3075, .8204, .8673};
  for (std::size_t t = 0; t < 5; ++t)
    CHECK(result.variables[0].value()(t, 0) == doctest::Approx(smoothed[t]).epsilon(1e-3));
  const std::int64_t viterbi[] = {0, 0, 1, 0, 0};
  for (std::size_t t = 0; t < 5; ++t) CHECK((*result.assignment)(t) == viterbi[t]);
}

TEST_CASE("Wikipedia's hidden Markov models: Rainy or Sunny, Healthy or Fever") {
  struct Case {
    std::vector<double> start, step, seen;  // seen: of each day's observation under both states
    double probability, best;               // of the observations, and with the best path
    std::vector<std::int64_t> path;
    std::vector<double> forward;  // of the last state with all observations
  };
  const std::vector<Case> cases = {
      // Rainy, Sunny; walk, shop, clean.
      {{.6, .4}, {.7, .3, .4, .6}, {.1, .6, .4, .3, .5, .1}, .033612, .01344, {1, 0, 0}, {.02904, .004572}},
      // Healthy, Fever; normal, cold, dizzy.
      {{.6, .4}, {.7, .3, .4, .6}, {.5, .1, .4, .3, .1, .6}, .03628, .01512, {0, 0, 1}, {.007696, .028584}}};
  for (const auto& c : cases) {
    FactorGraph<double> graph;
    const auto days = graph.add_variables("days", {3}, 2);
    Tensor<double> step = empty_tensor<double>({2, 2}), seen = empty_tensor<double>({3, 2});
    for (std::size_t i = 0; i < 4; ++i) step.data()[i] = std::log(c.step[i]);
    for (std::size_t i = 0; i < 6; ++i) seen.data()[i] = std::log(c.seen[i] * (i < 2 ? c.start[i] : 1));
    graph.add_factors("step", chain_edges(graph.ids(days)), Var<double>(std::move(step)));
    graph.add_unary("seen", days, Var<double>(std::move(seen)));
    const auto result = infer(graph, JunctionTree{.maximum = true});
    CHECK(std::exp(result.log_partition.item()) == doctest::Approx(c.probability).epsilon(1e-12));
    CHECK(std::exp(result.assignment_score.item()) == doctest::Approx(c.best).epsilon(1e-12));
    for (std::size_t t = 0; t < 3; ++t) CHECK((*result.assignment)(t) == c.path[t]);
    // Posteriors of all days, from the eight paths.
    double posterior[3][2] = {}, total = 0;
    for (std::size_t path = 0; path < 8; ++path) {
      const std::size_t x[] = {path & 1, path >> 1 & 1, path >> 2};
      double p = c.start[x[0]] * c.seen[x[0]];
      for (std::size_t t = 1; t < 3; ++t) p *= c.step[2 * x[t - 1] + x[t]] * c.seen[2 * t + x[t]];
      total += p;
      for (std::size_t t = 0; t < 3; ++t) posterior[t][x[t]] += p;
    }
    for (std::size_t t = 0; t < 3; ++t)
      for (std::size_t k = 0; k < 2; ++k)
        CHECK(result.variables[0].value()(t, k) == doctest::Approx(posterior[t][k] / total).epsilon(1e-12));
    // That of the last is the forward probability over that of all observations.
    for (std::size_t k = 0; k < 2; ++k)
      CHECK(result.variables[0].value()(2, k) == doctest::Approx(c.forward[k] / c.probability).epsilon(1e-12));
  }
}

TEST_CASE("posteriors of the networks in the repository of Bayesian networks") {
  const char* data = std::getenv("TAPESTRY_DATA");
  if (data == nullptr) {
    MESSAGE("TAPESTRY_DATA is not set");
    return;
  }
  const auto read = [&](const std::string& name) { return read_bif(std::string(data) + "/bif/" + name + ".bif.gz"); };
  const auto asia = read("asia");
  CHECK(posterior(asia, "tub", "yes") == doctest::Approx(.0104));
  CHECK(posterior(asia, "lung", "yes") == doctest::Approx(.055));
  CHECK(posterior(asia, "bronc", "yes") == doctest::Approx(.45));
  CHECK(posterior(asia, "dysp", "yes") == doctest::Approx(.4359706));
  CHECK(posterior(asia, "xray", "yes") == doctest::Approx(.11029));
  CHECK(posterior(asia, "lung", "yes", {{"asia", "yes"}, {"dysp", "yes"}}) == doctest::Approx(.0995).epsilon(1e-3));
  const auto cancer = read("cancer");
  CHECK(posterior(cancer, "Cancer", "True") == doctest::Approx(.01163));
  CHECK(posterior(cancer, "Cancer", "True", {{"Xray", "positive"}}) == doctest::Approx(.01163 * .9 / .208141));
  const auto earthquake = read("earthquake");
  // Both call with .63 after an alarm, with .0005 without.
  const double alarm = .02 * .95 + .98 * .94, false_alarm = .02 * .29 + .98 * .001;
  const double burglary = .01 * (alarm * .63 + (1 - alarm) * .0005),
               none = .99 * (false_alarm * .63 + (1 - false_alarm) * .0005);
  CHECK(posterior(earthquake, "Burglary", "True", {{"JohnCalls", "True"}, {"MaryCalls", "True"}}) ==
        doctest::Approx(burglary / (burglary + none)));
  CHECK(posterior(earthquake, "Alarm", "True") ==
        doctest::Approx(.01 * .02 * .95 + .01 * .98 * .94 + .99 * .02 * .29 + .99 * .98 * .001));
  for (const char* name : {"child", "insurance", "alarm"}) CHECK(std::abs(exact_log_partition(read(name))) < 1e-3);
}
