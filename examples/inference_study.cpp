// How far each inference is off, and how long it takes: random grids of rising coupling, chains, and layered sigmoid
// networks under mean fields of several partitions (in the manner of Xing, Jordan and Russell 2003).
#include <cmath>
#include <ctime>
#include <map>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/models/report/report.hpp>
#include <tapestry/models/training/progress.hpp>
#include <tapestry/prob.hpp>

#include "program.hpp"

namespace {

using namespace tapestry;

/// A method's errors and times, added up over graphs.
struct Score {
  double marginal = 0, partition = 0, seconds = 0;
  std::int64_t graphs = 0, converged = 0;
  double mean(double sum) const { return graphs > 0 ? sum / static_cast<double>(graphs) : 0; }
};
using Scores = std::vector<std::pair<std::string, Score>>;

Score& of(Scores& scores, const std::string& name) {
  for (auto& [known, score] : scores)
    if (known == name) return score;
  scores.emplace_back(name, Score{});
  return scores.back().second;
}

/// Runs the methods on a graph, against the exact answer.
void add(Scores& scores, const FactorGraph<double>& graph, const std::vector<InferenceMethod>& methods) {
  const InferenceResult<double> exact = infer(graph, JunctionTree{.factor_marginals = false});
  for (const InferenceMethod& method : methods) {
    const std::clock_t began = std::clock();  // of the processor: what else the machine does is no matter
    const InferenceResult<double> result = method(graph);
    Score& score = of(scores, method.name());
    score.seconds += static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
    const InferenceQuality quality = inference_quality(graph, result, exact);
    score.marginal += quality.mean_error;
    score.partition += quality.log_partition_error;
    score.converged += result.converged;
    ++score.graphs;
  }
}

Tensor<double> couplings(std::int64_t edges, double strength, Generator& random) {
  const Tensor<double> j = random.normal<double>({edges}, 0.0, strength);
  Tensor<double> out = empty_tensor<double>({edges, 2, 2});
  for (std::int64_t e = 0; e < edges; ++e)
    for (int k = 0; k < 4; ++k) out.data()[4 * e + k] = (k == 0 || k == 3 ? 1 : -1) * j.data()[e];
  return out;
}

/// Spins with random fields, and couplings of random sign.
FactorGraph<double> random_grid(std::int64_t side, double strength, Generator& random) {
  FactorGraph<double> graph;
  const auto spins = graph.add_variables("spins", {side, side}, 2);
  graph.add_unary("fields", spins, Var<double>(random.normal<double>({side, side, 2}, 0.0, 0.5)));
  for (const IndexTensor& edges : grid_edges(graph.ids(spins)))
    graph.add_factors("couplings", edges,
                      Var<double>(couplings(static_cast<std::int64_t>(edges.shape()[0]), strength, random)));
  return graph;
}

FactorGraph<double> random_chain(std::int64_t steps, std::int64_t states, double strength, Generator& random) {
  FactorGraph<double> graph;
  const auto chain = graph.add_variables("chain", {steps}, states);
  graph.add_unary("unary", chain, Var<double>(random.normal<double>({steps, states})));
  graph.add_factors("transitions", chain_edges(graph.ids(chain)),
                    Var<double>(random.normal<double>({steps - 1, states, states}, 0.0, strength)));
  return graph;
}

/// Layers of sigmoid units, each with all units of the layer above as parents; the last layer is seen in a state drawn
/// from the network. `numbers` become those of the hidden units, layer by layer.
FactorGraph<double> random_network(std::int64_t layers, std::int64_t width, double strength, Generator& random,
                                   std::vector<std::vector<std::int64_t>>& numbers) {
  const std::int64_t units = layers * width;
  std::vector<std::vector<std::int64_t>> parents(static_cast<std::size_t>(units));
  std::vector<std::vector<double>> tables(static_cast<std::size_t>(units));
  std::vector<std::int64_t> drawn;
  for (std::int64_t u = 0; u < units; ++u) {
    auto& above = parents[static_cast<std::size_t>(u)];
    if (u >= width)
      for (std::int64_t k = 0; k < width; ++k) above.push_back(u / width * width - width + k);
    std::vector<double> weights;
    for (std::size_t k = 0; k < above.size(); ++k) weights.push_back(strength * random.normal());
    const double bias = 0.5 * random.normal();
    std::size_t state = 0;
    for (const std::int64_t p : above) state = 2 * state + static_cast<std::size_t>(drawn[static_cast<std::size_t>(p)]);
    for (std::size_t s = 0; s < std::size_t{1} << above.size(); ++s) {
      double x = bias;
      for (std::size_t k = 0; k < above.size(); ++k) x += weights[k] * (s >> (above.size() - 1 - k) & 1 ? 0.5 : -0.5);
      const double p = 1 / (1 + std::exp(-x));
      tables[static_cast<std::size_t>(u)].insert(tables[static_cast<std::size_t>(u)].end(), {1 - p, p});
      if (s == state) drawn.push_back(random.uniform() < p);
    }
  }
  const auto built = factor_graph<double>(
      bayesian_network(std::vector<std::int64_t>(static_cast<std::size_t>(units), 2), parents, tables));
  FactorGraph<double> graph = built.graph;
  for (std::int64_t u = units - width; u < units; ++u)
    graph.observe(built.variable[static_cast<std::size_t>(u)], drawn[static_cast<std::size_t>(u)]);
  numbers.assign(static_cast<std::size_t>(layers - 1), {});
  for (std::int64_t u = 0; u < units - width; ++u)
    numbers[static_cast<std::size_t>(u / width)].push_back(built.variable[static_cast<std::size_t>(u)]);
  return graph;
}

/// Blocks of hidden units: `across` units of a layer, `down` layers; each seen unit is by itself.
std::vector<std::int64_t> blocks(const std::vector<std::vector<std::int64_t>>& hidden, std::int64_t all,
                                 std::size_t across, std::size_t down) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(all), -1);
  std::map<std::pair<std::size_t, std::size_t>, std::int64_t> known;
  std::int64_t next = 0;
  for (std::size_t l = 0; l < hidden.size(); ++l)
    for (std::size_t k = 0; k < hidden[l].size(); ++k) {
      const auto [found, fresh] = known.try_emplace({l / down, k / across}, next);
      next += fresh;
      out[static_cast<std::size_t>(hidden[l][k])] = found->second;
    }
  for (std::int64_t& c : out)
    if (c < 0) c = next++;
  return out;
}

struct Settings {
  std::int64_t graphs = 5, side = 8, sweeps = 2000;
};

std::vector<InferenceMethod> all_methods(const Settings& settings, std::uint64_t seed) {
  return {MeanField{.seed = seed},
          StructuredMeanField{.seed = seed},
          GeneralizedMeanField{.seed = seed},
          BeliefPropagation{.iterations = 500, .tolerance = 1e-6, .damping = 0.3},
          TreeReweighted{.iterations = 500, .tolerance = 1e-6},
          Gibbs{.iterations = settings.sweeps, .burn_in = settings.sweeps / 10, .seed = seed}};
}

/// One part of the study: a table of methods, and curves.
struct Part {
  std::string title, about;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows = {};
  Plot plot = {};
  std::string caption = {};
};

void add_point(Plot& plot, const std::string& name, double x, double y) {
  for (Curve& c : plot.curves)
    if (c.name == name) {
      c.x.push_back(x);
      c.y.push_back(y);
      return;
    }
  plot.curves.push_back({name, {x}, {y}});
}

std::vector<std::string> row_of(const std::string& first, const std::string& name, const Score& s) {
  return {first,
          name,
          fixed(s.mean(s.marginal), 5),
          fixed(s.mean(s.partition), 4),
          fixed(1000 * s.mean(s.seconds), 2) + " ms",
          std::to_string(s.converged) + " of " + std::to_string(s.graphs)};
}

const std::vector<std::string> columns{"method", "error of marginals", "error of log Z", "processor time", "converged"};
std::vector<std::string> header_of(const std::string& first) {
  std::vector<std::string> out{first};
  out.insert(out.end(), columns.begin(), columns.end());
  return out;
}

class Study {
 public:
  Study(const Settings& settings, const ExampleProgram& program)
      : settings_(settings), program_(program), progress_("study", {.total = settings.graphs * 12}) {}

  Part grids() {
    Part part{"Grids of rising coupling",
              "Spins on " + std::to_string(settings_.side) + " x " + std::to_string(settings_.side) +
                  " grids with random fields and couplings of random sign.",
              header_of("coupling")};
    part.plot = {.x_label = "coupling", .y_label = "mean error of marginals", .log_y = true};
    part.caption = "Error of marginals by the strength of the couplings";
    for (const double strength : {0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0}) {
      Scores scores;
      for (std::int64_t g = 0; g < settings_.graphs && !program_.stop(); ++g, step()) {
        Generator random(program_.seed + static_cast<std::uint64_t>(1000 * g));
        add(scores, random_grid(settings_.side, strength, random), all_methods(settings_, program_.seed));
      }
      for (const auto& [name, score] : scores) {
        part.rows.push_back(row_of(fixed(strength, 2), name, score));
        add_point(part.plot, name, strength, score.mean(score.marginal));
        if (strength == 1) result_.push_back({"grid: " + name, score.mean(score.marginal)});
      }
    }
    return part;
  }

  Part time() {
    Part part{"Error against time",
              "The same grids at a coupling of 0.75, with more and more iterations (sweeps, in sampling).",
              header_of("iterations")};
    part.plot = {.x_label = "milliseconds of processor time",
                 .y_label = "mean error of marginals",
                 .log_x = true,
                 .log_y = true};
    part.caption = "Error of marginals by time";
    for (const std::int64_t n : {1, 3, 10, 30, 100, 1000, 10000}) {
      Scores scores;
      std::vector<InferenceMethod> methods;
      if (n <= 100)
        methods = {MeanField{.iterations = n}, StructuredMeanField{.iterations = n},
                   GeneralizedMeanField{.iterations = n}, BeliefPropagation{.iterations = n, .damping = 0.3},
                   TreeReweighted{.iterations = n}};
      if (n >= 10) methods.push_back(Gibbs{.iterations = n, .burn_in = n / 10, .seed = program_.seed});
      for (std::int64_t g = 0; g < settings_.graphs && !program_.stop(); ++g) {
        Generator random(program_.seed + static_cast<std::uint64_t>(1000 * g));
        add(scores, random_grid(settings_.side, 0.75, random), methods);
      }
      for (const auto& [name, score] : scores) {
        part.rows.push_back(row_of(std::to_string(n), name, score));
        add_point(part.plot, name, 1000 * score.mean(score.seconds), score.mean(score.marginal));
      }
    }
    for (std::int64_t g = 0; g < settings_.graphs; ++g) step();
    return part;
  }

  Part chains() {
    Part part{"Chains", "60 steps of 5 states: where there are no cycles, message passing is exact.",
              header_of("coupling")};
    part.plot = {.x_label = "coupling", .y_label = "mean error of marginals", .log_y = true};
    part.caption = "Error of marginals by the strength of the transitions; exact methods are below the picture";
    for (const double strength : {0.5, 1.0, 2.0}) {
      Scores scores;
      for (std::int64_t g = 0; g < settings_.graphs && !program_.stop(); ++g, step()) {
        Generator random(program_.seed + static_cast<std::uint64_t>(1000 * g + 1));
        add(scores, random_chain(60, 5, strength, random), all_methods(settings_, program_.seed));
      }
      for (const auto& [name, score] : scores) {
        part.rows.push_back(row_of(fixed(strength, 1), name, score));
        if (score.mean(score.marginal) > 1e-6) add_point(part.plot, name, strength, score.mean(score.marginal));
        if (strength == 1) result_.push_back({"chain: " + name, score.mean(score.marginal)});
      }
    }
    return part;
  }

  Part networks() {
    Part part{"Layered sigmoid networks",
              "Three layers of six sigmoid units, the last one seen. Mean field between blocks of hidden units, each "
              "exact within (generalized mean field): from every unit by itself to whole layers.",
              header_of("weights")};
    part.plot = {.x_label = "weights", .y_label = "log Z less the bound", .log_y = true};
    part.caption = "What the bound lacks, by the size of the weights";
    for (const double strength : {1.0, 2.0, 4.0, 6.0}) {
      Scores scores;
      for (std::int64_t g = 0; g < settings_.graphs && !program_.stop(); ++g) {
        Generator random(program_.seed + static_cast<std::uint64_t>(1000 * g + 2));
        std::vector<std::vector<std::int64_t>> hidden;
        const FactorGraph<double> graph = random_network(3, 6, strength, random, hidden);
        const auto field = [&](const char* name, std::size_t across, std::size_t down) {
          return InferenceMethod(name,
                                 GeneralizedMeanField{.clusters = blocks(hidden, graph.variables(), across, down)});
        };
        add(scores, graph,
            {field("units alone", 1, 1), field("2 units of a layer", 2, 1), field("1 unit of each layer", 1, 2),
             field("2 units of each layer", 2, 2), field("3 units of each layer", 3, 2), field("whole layers", 6, 1),
             InferenceMethod("found by partitioning, 4 units", GeneralizedMeanField{.cluster_size = 4}),
             BeliefPropagation{.iterations = 500, .tolerance = 1e-6, .damping = 0.3}});
      }
      for (const auto& [name, score] : scores) {
        part.rows.push_back(row_of(fixed(strength, 0), name, score));
        if (name != "belief propagation") add_point(part.plot, name, strength, score.mean(score.partition));
        if (strength == 2) result_.push_back({"network: " + name, score.mean(score.partition)});
      }
    }
    for (std::int64_t g = 0; g < settings_.graphs; ++g) step();
    return part;
  }

  const Metrics& result() const { return result_; }

 private:
  void step() { progress_.update(++done_); }

  const Settings& settings_;
  const ExampleProgram& program_;
  ProgressLine progress_;
  std::int64_t done_ = 0;
  Metrics result_;
};

int run(int argc, char** argv) {
  ExampleProgram program;
  Settings settings;
  Options options("Compares methods of inference by error and time, on graphs small enough for the exact answer.");
  options.number("--graphs", settings.graphs, "random ones of each kind")
      .number("--side", settings.side, "of the grids")
      .number("--sweeps", settings.sweeps, "of Gibbs sampling");
  program.add_options(options);
  if (!options.parse(argc, argv)) return 0;
  if (settings.graphs < 1 || settings.side < 2 || settings.sweeps < 10)
    throw Options::UsageError("at least one graph, a side of 2, 10 sweeps");
  program.start();

  const NoGradients off;
  std::vector<Part> parts;
  Metrics result;
  {
    Study study(settings, program);
    for (const auto run_part : {&Study::grids, &Study::time, &Study::chains, &Study::networks})
      if (!program.stop()) parts.push_back((study.*run_part)());
    result = study.result();
  }
  Report report("A study of inference");
  report.paragraph("Means over " + std::to_string(settings.graphs) +
                   " random graphs of each kind. The error of marginals is the mean difference from the exact "
                   "probabilities; that of log Z, of the logarithm of the partition function.");
  for (const Part& part : parts) {
    std::cout << '\n' << part.title << ". " << part.about;
    print_table(part.header, part.rows);
    report.heading(part.title).paragraph(part.about);
    if (!part.plot.curves.empty()) report.plot(part.plot, part.caption);
    report.table(part.header, part.rows);
  }
  if (!program.report.empty()) {
    for (std::size_t p = 0; p < parts.size(); ++p)
      if (!parts[p].plot.curves.empty())
        write_plot(program.report_file("plot_" + std::to_string(p + 1) + ".png"), parts[p].plot);
    report.write(program.report_file("index.html"));
  }
  result.push_back({"seconds", program.seconds()});
  program.finish(result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run);
}
