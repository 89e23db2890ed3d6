// Inference in a model of the UAI competitions (or a BIF network): partition function, marginals, or the most probable
// assignment, exactly or by any approximate method.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <map>
#include <optional>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/assignment.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/mean_field.hpp>
#include <tapestry/prob/io/bif.hpp>
#include <tapestry/prob/io/uai.hpp>

#include "options.hpp"

using namespace tapestry;

namespace {

struct Settings {
  std::string task = "MAR", method = "exact";
  std::int64_t iterations = 0;  // the method's own number
  double memory = 4e9;
  std::uint64_t seed = 0;
  std::string score;
};

/// What is printed.
struct Answer {
  double log_partition = 0;
  BoundKind kind = BoundKind::exact;
  std::vector<std::vector<double>> marginals;
  std::vector<std::int64_t> assignment;
  bool converged = true, possible = true;
};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

Answer solve_exactly(const DiscreteModel& model, const Evidence& evidence, const Settings& settings) {
  CliqueTreeOptions options;
  options.memory_limit = settings.memory;
  options.order.seed = settings.seed;
  options.marginals = settings.task == "MAR";
  options.factor_marginals = false;
  options.maximum = settings.task == "MAP";
  options.log_partition = !options.maximum;
  options.any_range = false;
  std::vector<std::int64_t> observed, states;
  for (const auto& [variable, state] : evidence) {
    observed.push_back(variable);
    states.push_back(state);
  }
  std::vector<const double*> tables;
  for (const auto& table : model.tables) tables.push_back(table.data());
  const CliqueTree tree(model.cardinalities, model.scopes, observed, options);
  std::cerr << "junction tree: width " << tree.width() << ", " << tree.cliques() << " cliques, " << tree.bytes()
            << " bytes";
  if (settings.task != "MAP")
    std::cerr << ", " << tree.logarithm_bytes() << " where potentials leave the range of a double";
  std::cerr << '\n';
  Answer answer;
  if (settings.task == "MAP") {
    const auto best = tree.maximum(tables, TableScale::linear, states);
    answer.log_partition = best.log_value;
    answer.assignment = best.assignment;
    answer.possible = best.possible;
    return answer;
  }
  const auto sums = tree.sums(tables, TableScale::linear, states, settings.task == "MAR", false);
  answer.log_partition = sums.log_partition;
  answer.possible = sums.possible;
  auto from = sums.variables.begin();
  for (std::size_t v = 0; v < model.cardinalities.size() && sums.possible && settings.task == "MAR"; ++v) {
    answer.marginals.emplace_back(from, from + model.cardinalities[v]);
    from += model.cardinalities[v];
  }
  return answer;
}

/// About how many nanoseconds an iteration of a method takes on one core: so much for each entry of a table and
/// variable of it, and for each state of each variable and of each factor's variables.
double cost_of_iteration(const DiscreteModel& model, const std::string& method) {
  double entries = 0, states = 0, visits = 0, own = 0;
  for (std::size_t f = 0; f < model.scopes.size(); ++f) {
    const auto arity = static_cast<double>(model.scopes[f].size());
    entries += arity * static_cast<double>(model.tables[f].size());
    visits += arity * arity;
    for (const std::int64_t v : model.scopes[f]) states += static_cast<double>(model.cardinalities[v]);
  }
  for (const std::int64_t k : model.cardinalities) own += static_cast<double>(k);
  // Sweeps through more than the caches hold wait for memory.
  if (method == "gibbs") return (own > 5e4 ? 4 : 1) * (4 * states + 8 * visits + 20 * own);
  if (method == "bp" || method == "trw") return 10 * entries + 60 * states;
  return 25 * entries + 250 * states + 50 * own;
}

InferenceResult<double> approximate(const FactorGraph<double>& graph, const DiscreteModel& model,
                                    const Settings& settings) {
  constexpr double nanoseconds = 2.5e9;   // large models make fewer iterations
  constexpr double cluster_memory = 4e6;  // few enough bytes to pass the tables in every iteration
  const NoGradients none;
  const auto& method = settings.method;
  const auto iterations = [&](double usual) {
    if (settings.iterations > 0) return settings.iterations;
    return static_cast<std::int64_t>(std::clamp(nanoseconds / cost_of_iteration(model, method), 5.0, usual));
  };
  if (method == "bp")
    return infer(graph, BeliefPropagation{.iterations = iterations(500),
                                          .damping = 0.3,
                                          .temperature = settings.task == "MAP" ? 0.0 : 1.0,
                                          .schedule = Schedule::sequential,
                                          .seed = settings.seed});
  if (method == "trw")
    return infer(
        graph, TreeReweighted{.iterations = iterations(500), .schedule = Schedule::sequential, .seed = settings.seed});
  if (method == "mean-field") return infer(graph, MeanField{.iterations = iterations(500), .seed = settings.seed});
  if (method == "structured")
    return infer(graph, StructuredMeanField{.iterations = iterations(500), .seed = settings.seed});
  if (method == "gmf")
    return infer(graph, GeneralizedMeanField{.iterations = iterations(500),
                                             .memory_limit = std::min(settings.memory, cluster_memory),
                                             .seed = settings.seed});
  const std::int64_t sweeps = iterations(5000);
  return infer(graph, Gibbs{.iterations = sweeps, .burn_in = (sweeps + 9) / 10, .seed = settings.seed});
}

Answer solve_approximately(const DiscreteModel& model, const Evidence& evidence, const Settings& settings) {
  auto built = factor_graph<double>(model);
  Evidence seen;
  for (const auto& [variable, state] : evidence)
    seen.push_back({built.variable[static_cast<std::size_t>(variable)], state});
  built.graph.observe(seen);
  auto result = approximate(built.graph, model, settings);
  if (settings.task == "MAP" && result.assignment) refine_assignment(built.graph, result);
  Answer answer;
  answer.log_partition = result.log_partition.item();
  answer.possible = result.possible;
  answer.kind = result.possible ? result.kind : BoundKind::exact;
  answer.converged = result.converged;
  // The graph's variables are grouped by cardinality: back to the order of the file.
  std::vector<std::vector<double>> by_number;
  for (std::size_t g = 0; g < result.variables.size(); ++g) {
    const double* p = result.variables[g].data();
    const auto& group = built.graph.variable_groups()[g];
    for (std::int64_t v = 0; v < group.size(); ++v, p += group.cardinality)
      by_number.emplace_back(p, p + group.cardinality);
  }
  for (const std::int64_t v : built.variable) {
    answer.marginals.push_back(by_number[static_cast<std::size_t>(v)]);
    if (result.assignment) answer.assignment.push_back((*result.assignment)(static_cast<std::size_t>(v)));
  }
  std::cerr << "iterations " << result.trace.iterations << ", updates " << result.trace.updates
            << (result.trace.residual.empty() ? "" : ", residual ");
  if (!result.trace.residual.empty()) std::cerr << result.trace.residual.back();
  std::cerr << (result.converged ? ", converged" : ", not converged")
            << (result.trace.oscillates ? ": it oscillates" : "") << '\n';
  if (!result.standard_errors.empty()) {
    double largest = 0;
    for (const auto& group : result.standard_errors)
      for (const double e : group) largest = std::max(largest, e);
    std::cerr << "largest standard error of a marginal " << largest << '\n';
  }
  return answer;
}

void print(const Answer& answer, const DiscreteModel& model, const Settings& settings) {
  if (!answer.possible)
    std::cerr << "the evidence has probability zero\n";
  else if (std::isinf(answer.log_partition))
    std::cerr << "no possible assignment was found\n";
  if (settings.task == "PR") {
    std::cout << format_uai_pr(answer.log_partition);
    return;
  }
  if (!answer.possible) throw Error("uai: evidence of probability zero has no " + settings.task);
  if (settings.task == "MAR") {
    std::cout << format_uai_mar(answer.marginals);
    return;
  }
  if (answer.assignment.empty() && model.variables() > 0) throw Error("uai: no possible assignment was found");
  const double score = log_score(model, answer.assignment);
  std::cerr << "log10 of the assignment's score " << std::setprecision(8) << score / std::log(10.0) << '\n';
  std::cout << format_uai_map(answer.assignment);
}

/// Reports how good an assignment in a file is, as UAI's MAP answers are written: its length and states.
void report_score(const std::string& path, const DiscreteModel& model) {
  std::ifstream file(path);
  std::string header;
  std::int64_t count = -1;
  file >> header >> count;
  if (header != "MAP" || count != model.variables())
    throw Error("uai: " + path + " does not hold a state for each of the model's variables after MAP");
  std::vector<std::int64_t> assignment(model.cardinalities.size());
  for (std::size_t v = 0; v < assignment.size(); ++v)
    if (!(file >> assignment[v]) || assignment[v] < 0 || assignment[v] >= model.cardinalities[v])
      throw Error("uai: " + path + ": state " + std::to_string(v) + " is missing or does not exist");
  std::cerr << "log10 of the given assignment's score " << std::setprecision(8)
            << log_score(model, assignment) / std::log(10.0) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, [](int count, char** arguments) {
    // MODEL and EVIDENCE come before or between the options.
    std::vector<std::string> files;
    std::vector<char*> rest = {arguments[0]};
    for (int i = 1; i < count; ++i) {
      const std::string word = arguments[i];
      if (word.rfind("-", 0) != 0) {
        files.push_back(word);
        continue;
      }
      rest.push_back(arguments[i]);
      if (word.rfind("--", 0) == 0 && word != "--help" && word.find('=') == std::string::npos && i + 1 < count)
        rest.push_back(arguments[++i]);
    }
    Settings settings;
    Options options("Inference in a graphical model: uai MODEL [EVIDENCE] (.uai or .bif, gzipped or not)");
    options.text("--task", settings.task, "PR, MAR or MAP");
    options.text("--method", settings.method, "exact, bp, trw, mean-field, structured, gmf or gibbs");
    options.number("--iterations", settings.iterations,
                   "of approximate methods; 0 for the method's own, fewer on large models");
    options.number("--memory", settings.memory, "most bytes that tables may need");
    options.number("--seed", settings.seed, "of everything random");
    options.text("--score", settings.score, "a file with an assignment (MAP, count, states) to report the score of");
    if (!options.parse(static_cast<int>(rest.size()), rest.data())) return 0;
    const std::vector<std::string> tasks = {"PR", "MAR", "MAP"},
                                   methods = {"exact", "bp", "trw", "mean-field", "structured", "gmf", "gibbs"};
    if (std::find(tasks.begin(), tasks.end(), settings.task) == tasks.end())
      throw Options::UsageError("there is no task " + settings.task + " (see --help)");
    if (std::find(methods.begin(), methods.end(), settings.method) == methods.end())
      throw Options::UsageError("there is no method " + settings.method + " (see --help)");
    if (settings.iterations < 0 || !(settings.memory >= 0))
      throw Options::UsageError("iterations and memory are not negative");
    if (files.empty() || files.size() > 2) throw Options::UsageError("give a model, and at most one evidence file");

    const auto start = std::chrono::steady_clock::now();
    const auto& path = files[0];
    const auto model = ends_with(path, ".bif") || ends_with(path, ".bif.gz") ? read_bif(path) : read_uai(path);
    std::vector<Evidence> samples = {Evidence()};
    if (files.size() == 2) samples = read_uai_evidence(files[1], model.cardinalities);
    std::cerr << path << ": " << model.variables() << " variables, " << model.factors() << " factors\n";
    if (!settings.score.empty()) report_score(settings.score, model);
    for (const auto& evidence : samples) {
      const Answer answer = settings.method == "exact" || model.factors() == 0
                                ? solve_exactly(model, evidence, settings)
                                : solve_approximately(model, evidence, settings);
      const std::map<BoundKind, const char*> kinds = {{BoundKind::exact, "exact"},
                                                      {BoundKind::lower_bound, "a lower bound"},
                                                      {BoundKind::upper_bound, "an upper bound"},
                                                      {BoundKind::estimate, "an estimate"}};
      if (settings.task != "MAP")
        std::cerr << std::setprecision(8) << "log10 of the partition function " << answer.log_partition / std::log(10.0)
                  << ", " << kinds.at(answer.kind) << '\n';
      print(answer, model, settings);
    }
    std::cerr << std::setprecision(3) << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()
              << " s\n";
    return 0;
  });
}
