// Explaining away, in the belief network of Hinton's lectures: a house jumps when a truck hits it or the earth quakes,
// both of which are rare. Once it is seen to jump, each cause makes the other needless: the posterior has two equal
// peaks, which no distribution that treats the causes as independent can have.
#include <array>
#include <cmath>

#include <tapestry/autodiff/tape.hpp>
#include <tapestry/models/report/report.hpp>
#include <tapestry/prob.hpp>

#include "program.hpp"

namespace {

using namespace tapestry;

enum Variable { truck, earthquake, house };

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// Sigmoid units: the causes have the bias -b, the house has -2b and hears 2b from each cause.
DiscreteModel network(double bias) {
  const double rare = sigmoid(-bias);
  std::vector<double> jumps;
  for (const int causes : {0, 1, 1, 2}) {
    const double x = 2 * bias * (causes - 1);
    jumps.insert(jumps.end(), {sigmoid(-x), sigmoid(x)});
  }
  return bayesian_network({2, 2, 2}, {{}, {}, {truck, earthquake}}, {{1 - rare, rare}, {1 - rare, rare}, jumps});
}

/// What a method makes of the network.
struct Answer {
  std::string method, key;
  std::array<double, 4> joint{};  ///< of no cause, the earthquake alone, the truck alone, both
  double log_partition = 0;
  BoundKind kind = BoundKind::exact;
  double seconds = 0;
};

std::string describe(const Answer& a) {
  const char* const sign = a.kind == BoundKind::exact         ? "= "
                           : a.kind == BoundKind::lower_bound ? ">= "
                           : a.kind == BoundKind::upper_bound ? "<= "
                                                              : "~ ";
  return sign + fixed(a.log_partition, 4);
}

int run(int argc, char** argv) {
  ExampleProgram program;
  double bias = std::log(9999.0);
  Options options("The truck, the earthquake and the house that jumps: its causes' posterior by every method.");
  options.number("--bias", bias, "of the causes is minus this: at the default one in ten thousand");
  program.add_options(options);
  if (!options.parse(argc, argv)) return 0;
  if (!(bias > 0 && bias < 15)) throw Options::UsageError("a bias between 0 and 15");
  program.start();

  const NoGradients off;
  const DiscreteModel model = network(bias);
  ModelGraph<double> built = factor_graph<double>(model);
  FactorGraph<double>& graph = built.graph;
  const auto node = [&](Variable v) { return built.variable[static_cast<std::size_t>(v)]; };

  // What one cause is worth before and after the other is known.
  const auto probability = [&](Variable v, const Evidence& evidence) {
    return exact_marginals(model, evidence).variables[static_cast<std::size_t>(v)][1];
  };
  const double before = probability(truck, {}), jumped = probability(truck, {{house, 1}}),
               quaked = probability(truck, {{house, 1}, {earthquake, 1}});
  std::cout << "p(truck) = " << fixed(before, 6) << ", after the house jumped " << fixed(jumped, 4)
            << ", and with news of an earthquake " << fixed(quaked, 6) << '\n';

  graph.observe(node(house), 1);
  std::vector<Answer> answers;
  answers.push_back({"enumeration", "enumeration"});
  for (std::int64_t t = 0; t < 2; ++t)
    for (std::int64_t e = 0; e < 2; ++e)
      answers[0].joint[static_cast<std::size_t>(2 * t + e)] = std::exp(log_score(model, {t, e, 1}));
  double total = 0;
  for (const double p : answers[0].joint) total += p;
  for (double& p : answers[0].joint) p /= total;
  answers[0].log_partition = std::log(total);

  const std::int64_t together[] = {0, 0, 0};
  const std::vector<std::pair<std::string, InferenceMethod>> methods{
      {"junction_tree", JunctionTree{}},
      {"belief_propagation", BeliefPropagation{}},
      {"tree_reweighted", TreeReweighted{}},
      {"generalized_mean_field",
       InferenceMethod("mean field, causes together", GeneralizedMeanField{.clusters = {together, together + 3}})},
      {"mean_field", MeanField{.seed = program.seed}},
      {"gibbs", InferenceMethod("Gibbs sampling, 2 million sweeps",
                                Gibbs{.iterations = 2000000, .burn_in = 1000, .seed = program.seed})}};
  const auto [group, place] = built.factor[house];
  for (const auto& [key, method] : methods) {
    const InferenceResult<double> result = method(graph);
    Answer a{method.name(), key, {}, result.log_partition.item(), result.kind, result.trace.seconds};
    // The factor of the house knows both causes: its states are [truck, earthquake, house].
    const double* const table = result.factors.at(static_cast<std::size_t>(group)).data() + 8 * place;
    for (std::size_t s = 0; s < 4; ++s) a.joint[s] = table[2 * s] + table[2 * s + 1];
    answers.push_back(std::move(a));
  }

  const std::vector<std::string> header{"method", "neither", "earthquake", "truck", "both", "log p(jumps)", "time"};
  std::vector<std::vector<std::string>> rows;
  std::string json = "{";
  for (const Answer& a : answers) {
    rows.push_back({a.method, fixed(a.joint[0], 4), fixed(a.joint[1], 4), fixed(a.joint[2], 4), fixed(a.joint[3], 4),
                    describe(a), fixed(1000 * a.seconds, 2) + " ms"});
    json += (json.size() > 1 ? ", " : "") + json_string(a.key) + ": " +
            to_json({{"neither", a.joint[0]},
                     {"earthquake", a.joint[1]},
                     {"truck", a.joint[2]},
                     {"both", a.joint[3]},
                     {"log_partition", a.log_partition}});
  }
  print_table(header, rows);
  if (!program.report.empty()) {
    Report report("Explaining away");
    report
        .paragraph("A house jumps when a truck hits it or the earth quakes. Either happens once in " +
                   fixed(1 / before, 0) + " cases. When the house has jumped, the truck has a probability of " +
                   fixed(jumped, 4) + "; with news of an earthquake as well, of " + fixed(quaked, 6) +
                   ": the one cause explains the other away.")
        .heading("What caused it?")
        .table(header, rows)
        .paragraph(
            "Mean field that treats the causes as independent settles on one of them. Gibbs sampling gets from "
            "one to the other only through states that are nearly impossible.")
        .heading("Posteriors")
        .paragraph("Rows: no truck, truck; columns: no earthquake, earthquake. Dark: 0, yellow: a half or more.");
    std::vector<Picture> maps;
    for (const Answer& a : answers) {
      Tensor<double> map = empty_tensor<double>({2, 2});
      std::copy(a.joint.begin(), a.joint.end(), map.data());
      maps.push_back(heat_map(map, 0.0, 0.5));
      report.picture(maps.back(), a.method, 32);
    }
    write_png(program.report_file("posteriors.png"),
              enlarge(tiles(maps, static_cast<std::int64_t>(maps.size()), 1), 32));
    report.write(program.report_file("index.html"));
  }
  program.finish(json + ", \"seconds\": " + fixed(program.seconds(), 2) + "}");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run);
}
