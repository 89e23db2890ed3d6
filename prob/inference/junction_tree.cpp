#include <tapestry/prob/inference/junction_tree.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/prob/inference/exact_plan.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry {
namespace detail {
namespace {

// The search for an order is repeated, and finds the same.
void exchange(Attributes& a, std::shared_ptr<const ExactPlan>& plan) {
  a.shared(plan, [&a](std::shared_ptr<const ExactPlan>& own) {
    std::shared_ptr<const GraphStructure> structure = own ? own->structure : nullptr;
    EliminationOptions order = own ? own->order : EliminationOptions();
    double limit = own ? own->memory_limit : 0;
    exchange(a, structure);
    a(order.heuristic), a(order.restarts), a(order.seed), a(limit);
    Attributes::require(order.heuristic >= EliminationHeuristic{} && order.heuristic <= EliminationHeuristic::best &&
                        order.restarts >= 0 && order.restarts <= 1 << 16 && limit >= 0 && !structure->factors.empty());
    if (a.reading()) own = std::make_shared<const ExactPlan>(std::move(structure), order, limit);
  });
}

void exchange_batch(Attributes& a, std::int64_t& batch) {
  a(batch);
  Attributes::require(batch >= 0 && batch < std::int64_t{1} << 30);
}

// Of inputs that come from a file: whether the first are potentials.
bool begin_with_potentials(const GraphStructure& graph, const Shapes& in, std::int64_t batch) {
  if (in.size() < static_cast<int>(graph.factors.size())) return false;
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const PotentialLayout layout = PotentialLayout::of(graph.factors[g], in[static_cast<int>(g)]);
    if (layout.batch != 0 && layout.batch != batch) return false;
  }
  return true;
}

/// The change of all marginals with a change of all potentials. Inputs: potentials; directions of each variable group
/// and each factor group, of whole_shape().
template <class T>
class MarginalDerivative final : public Operation<T>, public SavedOperation {
 public:
  explicit MarginalDerivative(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { exchange(a, plan_), exchange_batch(a, batch_); }
  bool suits(const Shapes& in) override {
    const auto& graph = *plan_->structure;
    const auto groups = static_cast<int>(graph.factors.size());
    if (in.size() != groups + outputs() || !begin_with_potentials(graph, in, batch_)) return false;
    for (int i = 0; i < outputs(); ++i)
      if (in[groups + i] != shape(in, i)) return false;
    return true;
  }
  MarginalDerivative(std::shared_ptr<const ExactPlan> plan, std::int64_t batch)
      : plan_(std::move(plan)), batch_(batch) {}
  std::string_view name() const override { return "junction_tree_derivative"; }
  int outputs() const override {
    return static_cast<int>(plan_->structure->variables.size() + plan_->structure->factors.size());
  }
  Shape shape(const Shapes&, int output) const override {
    const auto& graph = *plan_->structure;
    const auto i = static_cast<std::size_t>(output);
    return i < graph.variables.size() ? whole_shape(graph.variables[i], batch_)
                                      : whole_shape(graph.factors[i - graph.variables.size()], batch_);
  }
  void forward(Forward<T>& c) override {
    const auto& graph = *plan_->structure;
    const auto groups = static_cast<int>(graph.factors.size()), variables = static_cast<int>(graph.variables.size());
    std::vector<const T*> inputs;
    std::vector<PotentialLayout> layouts;
    Directions<T> directions;
    for (int g = 0; g < groups; ++g) {
      inputs.push_back(c.input(g).data);
      layouts.push_back(PotentialLayout::of(graph.factors[static_cast<std::size_t>(g)], c.input(g).shape));
    }
    for (int v = 0; v < variables; ++v) directions.variables.push_back(c.input(groups + v).data);
    for (int g = 0; g < groups; ++g) directions.factors.push_back(c.input(groups + variables + g).data);
    DenseTables tables(graph);
    std::vector<double> entries;
    for (std::int64_t b = 0; b < std::max<std::int64_t>(batch_, 1); ++b) {
      tables.load(inputs, layouts, b);
      const MarginalChange change = differentiate(*plan_, layouts, tables, directions, b, true);
      for (int v = 0; v < variables; ++v) {
        const auto& group = graph.variables[static_cast<std::size_t>(v)];
        const std::int64_t n = group.size() * group.cardinality;
        for (std::int64_t i = 0; i < n; ++i)
          c.output(v)[b * n + i] = static_cast<T>(change.variables[static_cast<std::size_t>(group.first_state + i)]);
      }
      for (int g = 0; g < groups; ++g) {
        const auto k = static_cast<std::size_t>(g);
        const std::int64_t factors = graph.factors[k].factors();
        entries.resize(static_cast<std::size_t>(layouts[k].entries));
        T* out = c.output(variables + g).data + b * factors * layouts[k].entries;
        for (std::int64_t f = 0; f < factors; ++f) {
          tables.collapse(k,
                          change.factors.data() + tables.offset(k) + static_cast<std::size_t>(f) * tables.table_size(k),
                          entries.data());
          for (const double x : entries) *out++ = static_cast<T>(x);
        }
      }
    }
  }
  void vjp(Vjp<T>&) override {
    fail<GraphError>("junction_tree",
                     "the log-partition has two derivatives and its marginals one: take Enumeration for more");
  }

 private:
  std::shared_ptr<const ExactPlan> plan_;
  std::int64_t batch_ = 0;
};

/// Outputs: log-partition, marginals of each variable group, marginals of each factor group.
template <class T>
class ExactInference final : public Operation<T>, public SavedOperation {
 public:
  explicit ExactInference(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { exchange(a, plan_), exchange_batch(a, batch_), a(factor_marginals_); }
  bool suits(const Shapes& in) override {
    const auto& graph = *plan_->structure;
    return in.size() == static_cast<int>(graph.factors.size()) && begin_with_potentials(graph, in, batch_);
  }
  ExactInference(std::shared_ptr<const ExactPlan> plan, std::int64_t batch, bool factor_marginals)
      : plan_(std::move(plan)), batch_(batch), factor_marginals_(factor_marginals) {}

  std::string_view name() const override { return "junction_tree"; }
  int outputs() const override {
    return 1 + static_cast<int>(plan_->structure->variables.size() + plan_->structure->factors.size());
  }
  Shape shape(const Shapes&, int output) const override {
    if (output == 0) return batch_ > 0 ? Shape{batch_} : Shape{};
    const auto& graph = *plan_->structure;
    const auto i = static_cast<std::size_t>(output - 1);
    return i < graph.variables.size() ? whole_shape(graph.variables[i], batch_)
                                      : whole_shape(graph.factors[i - graph.variables.size()], batch_);
  }

  void forward(Forward<T>& c) override {
    const auto& graph = *plan_->structure;
    std::vector<const T*> inputs;
    std::vector<PotentialLayout> layouts;
    for (int g = 0; g < c.inputs(); ++g) {
      inputs.push_back(c.input(g).data);
      layouts.push_back(PotentialLayout::of(graph.factors[static_cast<std::size_t>(g)], c.input(g).shape));
    }
    DenseTables tables(graph);
    const std::vector<double> unary(static_cast<std::size_t>(graph.states()), 0.0);
    for (std::int64_t b = 0; b < batches(); ++b) {
      tables.load(inputs, layouts, b);
      const ExactSums sums = plan_->tree->sums(plan_->pointers(tables, unary.data()), TableScale::logarithm,
                                               plan_->states, true, factor_marginals_);
      c.output(0)[b] = static_cast<T>(sums.log_partition);
      std::size_t at = 0;
      for (std::size_t v = 0; v < graph.variables.size(); ++v) {
        const auto n = static_cast<std::size_t>(graph.variables[v].size() * graph.variables[v].cardinality);
        T* out = c.output(1 + static_cast<int>(v)).data + static_cast<std::size_t>(b) * n;
        for (std::size_t i = 0; i < n; ++i) out[i] = sums.possible ? static_cast<T>(sums.variables[at + i]) : T(0);
        at += n;
      }
      std::vector<double> entries;
      for (std::size_t g = 0; g < graph.factors.size(); ++g) {
        const std::int64_t factors = graph.factors[g].factors();
        entries.resize(static_cast<std::size_t>(layouts[g].entries));
        T* out = c.output(1 + static_cast<int>(graph.variables.size() + g)).data +
                 static_cast<std::size_t>(b * factors) * entries.size();
        for (std::int64_t f = 0; f < factors; ++f) {
          std::fill(entries.begin(), entries.end(), 0.0);
          if (sums.possible && factor_marginals_)
            tables.collapse(g,
                            sums.factors.data() + tables.offset(g) + static_cast<std::size_t>(f) * tables.table_size(g),
                            entries.data());
          for (const double p : entries) *out++ = static_cast<T>(p);
        }
      }
    }
  }

  void backward(Backward<T>& c) override {
    require_factor_marginals();
    const auto& graph = *plan_->structure;
    const int first_factor = 1 + static_cast<int>(graph.variables.size());
    std::vector<PotentialLayout> layouts;
    std::vector<const T*> inputs;
    for (int g = 0; g < c.inputs(); ++g) {
      layouts.push_back(PotentialLayout::of(graph.factors[static_cast<std::size_t>(g)], c.input_shape(g)));
      inputs.push_back(c.input(g).data);
    }
    bool curved = false;
    Directions<T> directions;
    for (int i = 1; i < outputs(); ++i) {
      curved = curved || c.has_gradient(i);
      auto& list = i < first_factor ? directions.variables : directions.factors;
      list.push_back(c.has_gradient(i) ? c.gradient(i).data : nullptr);
    }
    DenseTables tables(graph);
    MarginalChange change;
    std::vector<double> entries;
    for (std::int64_t b = 0; b < batches(); ++b) {
      if (curved) {
        tables.load(inputs, layouts, b);
        change = differentiate(*plan_, layouts, tables, directions, b, false);
      }
      const double g0 = c.has_gradient(0) ? static_cast<double>(c.gradient(0)[b]) : 0;
      for (int g = 0; g < c.inputs(); ++g) {
        if (!c.wants(g)) continue;
        const auto group = static_cast<std::size_t>(g);
        const auto& layout = layouts[group];
        const std::int64_t factors = graph.factors[group].factors();
        T* out = c.add_to(g) + (layout.batch > 0 ? b * layout.batch_stride : 0);
        const T* marginal = c.output(first_factor + g).data + b * factors * layout.entries;
        entries.assign(static_cast<std::size_t>(layout.entries), 0.0);
        for (std::int64_t f = 0; f < factors; ++f, marginal += layout.entries) {
          if (curved)
            tables.collapse(
                group,
                change.factors.data() + tables.offset(group) + static_cast<std::size_t>(f) * tables.table_size(group),
                entries.data());
          for (std::int64_t e = 0; e < layout.entries; ++e)
            out[f * layout.factor_stride + e] +=
                static_cast<T>(g0 * static_cast<double>(marginal[e]) + entries[static_cast<std::size_t>(e)]);
        }
      }
    }
  }

  void vjp(Vjp<T>& c) override {
    require_factor_marginals();
    const auto& graph = *plan_->structure;
    const int first_factor = 1 + static_cast<int>(graph.variables.size());
    std::vector<Var<T>> change;
    for (int i = 1; i < outputs() && change.empty(); ++i)
      if (c.has_gradient(i)) {
        std::vector<Var<T>> inputs;
        for (int g = 0; g < c.inputs(); ++g) inputs.push_back(c.input(g));
        for (int k = 1; k < outputs(); ++k) inputs.push_back(c.gradient(k));
        change = apply_all<T>(std::make_unique<MarginalDerivative<T>>(plan_, batch_), inputs);
      }
    for (int g = 0; g < c.inputs(); ++g) {
      if (!c.wants(g)) continue;
      const auto& group = graph.factors[static_cast<std::size_t>(g)];
      Var<T> total;
      if (c.has_gradient(0)) {
        const Var<T> marginal = c.output(first_factor + g);
        Shape spread;
        for (int axis = 0; axis < marginal.rank(); ++axis) spread.push_back(axis == 0 && batch_ > 0 ? batch_ : 1);
        total = reshape(c.gradient(0), spread) * marginal;
      }
      if (!change.empty()) {
        const Var<T>& own = change[static_cast<std::size_t>(first_factor - 1 + g)];
        total = total.defined() ? total + own : own;
      }
      if (total.defined()) c.add(g, reduce_potentials(group, total, c.shape(g), batch_));
    }
  }

  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    require_factor_marginals();
    const auto& graph = *plan_->structure;
    const auto variables = static_cast<int>(graph.variables.size());
    std::vector<Var<T>> inputs, whole;
    for (int g = 0; g < c.inputs(); ++g) {
      inputs.push_back(c.input(g));
      whole.push_back(expand_potentials(graph.factors[static_cast<std::size_t>(g)], c.tangent(g), batch_));
    }
    for (const auto& group : graph.variables) inputs.push_back(Var<T>::zeros(whole_shape(group, batch_)));
    inputs.insert(inputs.end(), whole.begin(), whole.end());
    Var<T> total = Var<T>::zeros(batch_ > 0 ? Shape{batch_} : Shape{});
    for (int g = 0; g < c.inputs(); ++g) {
      const Var<T> product = c.output(1 + variables + g) * whole[static_cast<std::size_t>(g)];
      Axes axes;
      for (int axis = batch_ > 0 ? 1 : 0; axis < product.rank(); ++axis) axes.push_back(axis);
      total = total + sum(product, axes);
    }
    auto out = apply_all<T>(std::make_unique<MarginalDerivative<T>>(plan_, batch_), inputs);
    out.insert(out.begin(), total);
    return out;
  }

 private:
  std::int64_t batches() const { return std::max<std::int64_t>(batch_, 1); }

  void require_factor_marginals() const {
    if (!factor_marginals_)
      fail<GraphError>("junction_tree", "gradients need the factors' marginals: set JunctionTree::factor_marginals");
  }

  std::shared_ptr<const ExactPlan> plan_;
  std::int64_t batch_ = 0;
  bool factor_marginals_ = true;
};

}  // namespace

void register_junction_tree() {
  register_operations<ExactInference>("junction_tree");
  register_operations<MarginalDerivative>("junction_tree_derivative");
}

}  // namespace detail

template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const JunctionTree& options) {
  const auto start = std::chrono::steady_clock::now();
  if (graph.factor_groups().empty()) fail<GraphError>("junction_tree", "the graph has no factors");
  const std::int64_t batch = graph.batch();
  const auto plan = std::make_shared<const detail::ExactPlan>(graph.structure(), options.order, options.memory_limit);
  const auto outputs = apply_all<T>(std::make_unique<detail::ExactInference<T>>(plan, batch, options.factor_marginals),
                                    graph.all_potentials());
  InferenceResult<T> result;
  const std::size_t groups = graph.variable_groups().size();
  result.kind = BoundKind::exact;
  result.log_partition = outputs[0];
  result.variables.assign(outputs.begin() + 1, outputs.begin() + 1 + static_cast<std::ptrdiff_t>(groups));
  if (options.factor_marginals)
    result.factors.assign(outputs.begin() + 1 + static_cast<std::ptrdiff_t>(groups), outputs.end());
  // In a program only the variables are of use.
  if (detail::capturing()) return result;
  for (std::int64_t b = 0; b < result.log_partition.size(); ++b)
    result.possible = result.possible && result.log_partition.data()[b] != -std::numeric_limits<T>::infinity();
  if (options.maximum && result.possible) {
    std::vector<const T*> inputs;
    std::vector<PotentialLayout> layouts;
    for (std::size_t g = 0; g < graph.factor_groups().size(); ++g) {
      inputs.push_back(graph.all_potentials()[g].data());
      layouts.push_back(PotentialLayout::of(graph.factor_groups()[g], graph.all_potentials()[g].shape()));
    }
    detail::DenseTables tables(*graph.structure());
    const std::vector<double> unary(static_cast<std::size_t>(graph.structure()->states()), 0.0);
    const std::int64_t n = graph.variables();
    IndexTensor best = batch > 0 ? empty_tensor<std::int64_t>({batch, n}) : empty_tensor<std::int64_t>({n});
    for (std::int64_t b = 0; b < std::max<std::int64_t>(batch, 1); ++b) {
      tables.load(inputs, layouts, b);
      const auto maximum =
          plan->tree->maximum(plan->pointers(tables, unary.data()), TableScale::logarithm, plan->states);
      std::copy(maximum.assignment.begin(), maximum.assignment.end(), best.data() + b * n);
    }
    result.assignment_score = graph.score(best);
    result.assignment = std::move(best);
  }
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

template InferenceResult<float> infer(const FactorGraph<float>&, const JunctionTree&);
template InferenceResult<double> infer(const FactorGraph<double>&, const JunctionTree&);

}  // namespace tapestry
