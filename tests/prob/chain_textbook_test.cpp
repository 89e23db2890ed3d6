#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include <tapestry/prob/chain.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;

namespace {

/// A hidden Markov model of two states with what was seen, and what a publication says of it.
struct Published {
  std::string title;
  std::vector<double> start, step;  // step: rows are the states before
  std::vector<double> end;          // the probability to stop, or empty
  std::vector<double> seen;         // of each step's observation under both states
  double tolerance;                 // what the figures are rounded to
  bool normalised;                  // whether forward probabilities are, at each step
  std::vector<double> forward;      // of both states at each step, with the observations so far
  std::vector<double> posterior;    // with all observations
  std::vector<double> best;         // of the most probable path so far
  std::vector<std::int64_t> path;
};

const std::vector<Published> publications = {
    // Russell and Norvig (2010), section 15.2; Wikipedia, "Forward-backward algorithm", example. Rain, none; an
    // umbrella
    // is seen but for the third day.
    {"umbrella",
     {.5, .5},
     {.7, .3, .3, .7},
     {},
     {.9, .2, .9, .2, .1, .8, .9, .2, .9, .2},
     5e-5,
     true,
     {.8182, .1818, .8834, .1166, .1907, .8093, .7308, .2692, .8673, .1327},
     {.8673, .1327, .8204, .1796, .3075, .6925, .8204, .1796, .8673, .1327},
     {},
     {0, 0, 1, 0, 0}},
    // Wikipedia, "Hidden Markov model", a concrete example, whose best path "Viterbi algorithm" worked out (2009).
    // Rainy,
    // sunny; walk, shop, clean.
    {"weather",
     {.6, .4},
     {.7, .3, .4, .6},
     {},
     {.1, .6, .4, .3, .5, .1},
     1e-12,
     false,
     {.06, .24, .0552, .0486, .02904, .004572},
     {},
     {.24, .0432, .01344},
     {1, 0, 0}},
    // Wikipedia, "Viterbi algorithm", example. Healthy, fever; normal, cold, dizzy.
    {"fever",
     {.6, .4},
     {.7, .3, .4, .6},
     {},
     {.5, .1, .4, .3, .1, .6},
     1e-12,
     false,
     {},
     {},
     {.3, .084, .01512},
     {0, 0, 1}},
    // Wikipedia, "Forward-backward algorithm", Python example: as before, but it may stop.
    {"fever with an end",
     {.6, .4},
     {.69, .3, .4, .59},
     {.01, .01},
     {.5, .1, .4, .3, .1, .6},
     1e-15,
     false,
     {.3, .04, .0892, .03408, .007518, .02812032},
     {.8770110375573259, .1229889624426741, .623228030950954, .3767719690490461, .2109527048413057, .7890472951586943},
     {},
     {}}};

Tensor<double> logs(const std::vector<double>& x, const Shape& shape) {
  Tensor<double> out = empty_tensor<double>(shape);
  for (std::size_t i = 0; i < x.size(); ++i) out.data()[i] = std::log(x[i]);
  return out;
}

}  // namespace

TEST_CASE("published hidden Markov models: forward, posterior and Viterbi") {
  for (const auto& model : publications) {
    CAPTURE(model.title);
    const auto steps = static_cast<std::int64_t>(model.seen.size() / 2);
    const auto near = [&](double got, double published) { return std::abs(got - published) <= model.tolerance; };
    // What was seen up to each day, as sequences of a batch.
    std::vector<double> seen;
    std::vector<std::int64_t> lengths;
    for (std::int64_t t = 0; t < steps; ++t) {
      seen.insert(seen.end(), model.seen.begin(), model.seen.end());
      lengths.push_back(t + 1);
    }
    const Var<double> step(logs(model.step, {2, 2})), start(logs(model.start, {2}));
    const ChainPotentials<double> days{Var<double>(logs(seen, {steps, steps, 2})), step,
                                       Indices(index_tensor({steps}, lengths)), start};
    const auto z = chain_log_partition(days);
    const auto marginals = chain_marginals(days).unary.value();
    for (std::size_t i = 0; i < model.forward.size(); ++i) {
      const std::size_t t = i / 2;
      const double scale = model.normalised ? 1 : std::exp(z.data()[t]);
      CHECK(near(scale * marginals(t, t, i % 2), model.forward[i]));
    }
    const auto best = chain_viterbi(days);
    for (std::size_t t = 0; t < model.best.size(); ++t) CHECK(near(std::exp(best.score(t)), model.best[t]));
    for (std::size_t t = 0; t < model.path.size(); ++t)
      CHECK(best.states(static_cast<std::size_t>(steps - 1), t) == model.path[t]);
    ChainPotentials<double> whole{Var<double>(logs(model.seen, {1, steps, 2})), step, std::nullopt, start};
    if (!model.end.empty()) whole.end = Var<double>(logs(model.end, {2}));
    const auto posterior = chain_marginals(whole).unary.value();
    for (std::size_t i = 0; i < model.posterior.size(); ++i)
      CHECK(near(posterior(0, i / 2, i % 2), model.posterior[i]));
  }
}
