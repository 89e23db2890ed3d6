#include <tapestry/prob/inference/plain_result.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/fixed_point.hpp>
#include <tapestry/prob/inference/field_ascent.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry::detail {
namespace {

/// What a run tells beside its outputs; of all batch elements.
struct PlainReport {
  InferenceTrace trace;
  bool converged = true;
  std::vector<double> errors, effective;
  std::vector<std::int64_t> assignment;
};

template <class T>
class PlainInference : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  PlainInference(std::string name, std::shared_ptr<const GraphStructure> structure, std::int64_t batch,
                 PlainMethod method, std::shared_ptr<PlainReport> report)
      : name_(std::move(name)),
        structure_(std::move(structure)),
        layout_{*structure_, batch},
        method_(std::move(method)),
        report_(std::move(report)) {}
  std::string_view name() const override { return name_; }
  int outputs() const override { return layout_.outputs(); }
  Shape shape(const Shapes&, int output) const override { return layout_.shape(output); }

  void forward(Forward<T>& c) override {
    const auto potentials = potentials_of(*structure_, c, 0);
    DenseTables tables(*structure_);
    *report_ = PlainReport();
    runs_.clear();
    std::vector<double> table, entries;
    for (std::int64_t b = 0; b < layout_.batches(); ++b) {
      tables.load(potentials.data, potentials.layouts, b);
      PlainResult one = method_(tables, *structure_, b == 0 ? &report_->trace : nullptr, static_cast<std::uint64_t>(b));
      c.output(0)[b] = static_cast<T>(one.log_partition);
      for (std::size_t v = 0; v < structure_->variables.size(); ++v) {
        const auto& group = structure_->variables[v];
        const std::int64_t count = group.size() * group.cardinality;
        std::copy_n(one.variables.begin() + group.first_state, count,
                    c.output(1 + static_cast<int>(v)).data + b * count);
      }
      std::size_t number = 0;
      for (std::size_t g = 0; g < structure_->factors.size(); ++g) {
        const std::int64_t count = structure_->factors[g].factors(), each = potentials.layouts[g].entries;
        table.resize(tables.table_size(g));
        entries.resize(static_cast<std::size_t>(each));
        T* out = c.output(factor_output(g)).data + b * count * each;
        for (std::int64_t f = 0; f < count; ++f, ++number, out += each) {
          one.factor(number, table.data());
          tables.collapse(g, table.data(), entries.data());
          std::copy(entries.begin(), entries.end(), out);
        }
      }
      report_->converged = report_->converged && one.converged;
      for (const auto& [from, to] : {std::pair{&one.errors, &report_->errors}, {&one.effective, &report_->effective}})
        to->insert(to->end(), from->begin(), from->end());
      report_->assignment.insert(report_->assignment.end(), one.assignment.begin(), one.assignment.end());
      runs_.push_back({one.converged, std::move(one.backward)});
    }
  }

  void vjp(Vjp<T>&) override {
    fail<GraphError>(this->name(),
                     "there are neither second derivatives nor forward mode: take MeanField with "
                     "MeanFieldUpdate::parallel, or Enumeration");
  }

  void backward(Backward<T>& c) override {
    const auto potentials = potentials_of(*structure_, c, 0);
    DenseTables tables(*structure_);
    std::vector<double> change, entries;
    for (std::int64_t b = 0; b < layout_.batches(); ++b) {
      const auto& run = runs_[static_cast<std::size_t>(b)];
      // Around -inf there is no change.
      const bool found = c.output(0)[b] != -std::numeric_limits<T>::infinity();
      const double partition = found && c.has_gradient(0) ? static_cast<double>(c.gradient(0)[b]) : 0;
      PlainGradients given;
      // The bound's derivative by the marginals is zero where these stay.
      given.partition = run.converged ? 0 : partition;
      bool through = given.partition != 0;
      for (int output = 1; output < outputs(); ++output) through = through || c.has_gradient(output);
      through = through && run.backward && found;
      if (through) {
        tables.load(potentials.data, potentials.layouts, b);
        gather(c, tables, potentials, b, given);
        change.assign(tables.total(), 0.0);
        run.backward(given, tables, change);
      }
      for (std::size_t g = 0; g < structure_->factors.size(); ++g) {
        const int input = static_cast<int>(g);
        if (!c.wants(input)) continue;
        const auto& layout = potentials.layouts[g];
        const std::int64_t count = structure_->factors[g].factors();
        entries.assign(static_cast<std::size_t>(layout.entries), 0.0);
        const T* marginal = c.output(factor_output(g)).data + b * count * layout.entries;
        T* out = c.add_to(input) + (layout.batch > 0 ? b * layout.batch_stride : 0);
        for (std::int64_t f = 0; f < count; ++f, marginal += layout.entries) {
          if (through)
            tables.collapse(g, change.data() + tables.offset(g) + static_cast<std::size_t>(f) * tables.table_size(g),
                            entries.data());
          for (std::int64_t e = 0; e < layout.entries; ++e)
            out[f * layout.factor_stride + e] +=
                static_cast<T>(partition * static_cast<double>(marginal[e]) + entries[static_cast<std::size_t>(e)]);
        }
      }
    }
  }

 private:
  int factor_output(std::size_t g) const { return 1 + static_cast<int>(structure_->variables.size() + g); }

  /// Gradients of a batch element's marginals.
  void gather(Backward<T>& c, const DenseTables& tables, const PotentialInputs<T>& potentials, std::int64_t b,
              PlainGradients& out) const {
    out.variables.assign(static_cast<std::size_t>(structure_->states()), 0.0);
    out.factors.assign(tables.total(), 0.0);
    std::vector<double> entries;
    for (int output = 1; output < outputs(); ++output) {
      if (!c.has_gradient(output)) continue;
      const std::int64_t n = layout_.elements(output);
      const T* from = c.gradient(output).data + b * n;
      if (layout_.variables(output)) {
        std::copy_n(from, n, out.variables.begin() + layout_.variable_group(output).first_state);
        continue;
      }
      const std::size_t g = layout_.factor_group(output);
      const std::int64_t each = potentials.layouts[g].entries;
      double* to = out.factors.data() + tables.offset(g);
      for (std::int64_t i = 0; i < n; i += each, to += tables.table_size(g)) {
        entries.assign(from + i, from + i + each);
        tables.expand(g, entries.data(), to);
      }
    }
  }

  struct Run {
    bool converged;
    decltype(PlainResult::backward) backward;
  };
  std::string name_;
  std::shared_ptr<const GraphStructure> structure_;
  BeliefLayout layout_;
  PlainMethod method_;
  std::shared_ptr<PlainReport> report_;
  std::vector<Run> runs_;
};

/// Mean field over clusters as a file has it.
struct SavedField {
  explicit SavedField(Attributes& a) {
    exchange(a, structure), a(batch);
    Attributes::require(batch >= 0 && batch < std::int64_t{1} << 30 && !structure->factors.empty());
    exchange(a, clusters, ascent);
    require_clusters(*structure, clusters);
    require_iterations(ascent.iterations, 0);
  }
  PlainMethod method() const {
    return [ascent = ascent, clusters = clusters, adjoint = std::make_shared<FixedPointReport>(solved_adjoint())](
               const DenseTables& tables, const GraphStructure& graph, InferenceTrace* trace, std::uint64_t) {
      return field_ascent(tables, graph, clusters, ascent, trace, adjoint);
    };
  }

  std::shared_ptr<const GraphStructure> structure;
  std::int64_t batch = 0;
  std::vector<std::int64_t> clusters;
  Ascent ascent{};
};

/// One that programs can save.
template <class T>
class SavedInference final : public PlainInference<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  SavedInference(std::string name, std::shared_ptr<const GraphStructure> structure, std::int64_t batch,
                 PlainMethod method, std::function<void(Attributes&)> attributes, std::shared_ptr<PlainReport> report)
      : PlainInference<T>(std::move(name), structure, batch, std::move(method), std::move(report)),
        structure_(std::move(structure)),
        batch_(batch),
        attributes_(std::move(attributes)) {}
  SavedInference(Attributes& a, std::string_view name) : SavedInference(SavedField(a), name) {}

  void attributes(Attributes& a) override { exchange(a, structure_), a(batch_), attributes_(a); }
  bool suits(const Shapes& in) override { return are_potentials(*structure_, in, 0, batch_); }

 private:
  SavedInference(const SavedField& saved, std::string_view name)
      : SavedInference(
            std::string(name), saved.structure, saved.batch, saved.method(),
            [clusters = saved.clusters, ascent = saved.ascent](Attributes& a) mutable {
              exchange(a, clusters, ascent);
            },
            std::make_shared<PlainReport>()) {}

  std::shared_ptr<const GraphStructure> structure_;
  std::int64_t batch_;
  std::function<void(Attributes&)> attributes_;
};

/// Numbers of all states, batch element by batch element, as the marginals are shaped.
template <class T>
std::vector<Tensor<T>> as_marginals(const InferenceResult<T>& result, const GraphStructure& graph,
                                    const std::vector<double>& all) {
  std::vector<Tensor<T>> out;
  for (std::size_t v = 0; v < graph.variables.size(); ++v) {
    out.push_back(empty_tensor<T>(result.variables[v].shape()));
    const std::int64_t n = graph.variables[v].size() * graph.variables[v].cardinality;
    for (std::int64_t i = 0; i < result.variables[v].size(); ++i)
      out.back().data()[i] = static_cast<T>(
          all[static_cast<std::size_t>(i / n * graph.states() + graph.variables[v].first_state + i % n)]);
  }
  return out;
}

}  // namespace

void register_mean_field() {
  register_operations<SavedInference>("mean_field", "structured_mean_field", "generalized_mean_field");
}

template <class T>
InferenceResult<T> infer_plainly(const FactorGraph<T>& graph, std::string name, BoundKind kind, PlainGradient gradient,
                                 PlainMethod method, std::function<void(Attributes&)> attributes) {
  const auto start = std::chrono::steady_clock::now();
  if (graph.factor_groups().empty()) fail<GraphError>(name, "the graph has no factors");
  const auto report = std::make_shared<PlainReport>();
  std::unique_ptr<Operation<T>> operation;
  if (attributes)
    operation = std::make_unique<SavedInference<T>>(std::move(name), graph.structure(), graph.batch(),
                                                    std::move(method), std::move(attributes), report);
  else
    operation = std::make_unique<PlainInference<T>>(std::move(name), graph.structure(), graph.batch(),
                                                    std::move(method), report);
  auto outputs = apply_all<T>(std::move(operation), graph.all_potentials());
  for (std::size_t i = gradient == PlainGradient::partition ? 1 : 0;
       gradient != PlainGradient::all && i < outputs.size(); ++i)
    outputs[i] = outputs[i].detach();
  InferenceResult<T> result = result_of(graph, std::move(outputs));
  result.possible = true;  // a bound or an estimate of -inf proves nothing; the search for an assignment may
  result.kind = kind;
  if (capturing()) return result;
  result.trace = std::move(report->trace);
  result.converged = report->converged;
  if (!report->errors.empty()) {
    result.standard_errors = as_marginals(result, *graph.structure(), report->errors);
    result.effective_samples = as_marginals(result, *graph.structure(), report->effective);
  }
  set_assignment(graph, result, report->assignment, graph.variables());
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

#define TAPESTRY_INSTANTIATE(T)                                                                                        \
  template InferenceResult<T> infer_plainly(const FactorGraph<T>&, std::string, BoundKind, PlainGradient, PlainMethod, \
                                            std::function<void(Attributes&)>);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
