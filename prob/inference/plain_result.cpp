#include <tapestry/prob/inference/plain_result.hpp>

#include <algorithm>
#include <chrono>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {
namespace {

/// The log-partition as an operation on the potentials: value and gradient are given.
template <class T>
class GivenGradient final : public Operation<T> {
 public:
  GivenGradient(std::string_view name, Tensor<T> value, std::vector<Tensor<T>> gradients)
      : name_(name), value_(std::move(value)), gradients_(std::move(gradients)) {}
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes&, int) const override { return shape_of(value_); }
  std::uint32_t needs() const override { return Needs::nothing; }
  void forward(Forward<T>& c) override { std::copy(value_.begin(), value_.end(), c.output().data); }
  void backward(Backward<T>& c) override {
    for (int g = 0; g < c.inputs(); ++g) {
      if (!c.wants(g)) continue;
      const auto& gradient = gradients_[static_cast<std::size_t>(g)];
      T* out = c.add_to(g);
      // Gradients of each batch element apart are [batch, elements]; shared potentials get their sum.
      const auto batch = static_cast<std::int64_t>(value_.size());
      const std::int64_t each = static_cast<std::int64_t>(gradient.size()) / batch;
      const bool shared = each * batch != c.input_shape(g).elements() || batch == 1;
      for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t i = 0; i < each; ++i)
          out[(shared ? 0 : b * each) + i] += c.gradient()[b] * gradient.data()[b * each + i];
    }
  }

 private:
  std::string name_;
  Tensor<T> value_;
  std::vector<Tensor<T>> gradients_;
};

}  // namespace

template <class T>
InferenceResult<T> infer_plainly(const FactorGraph<T>& graph, std::string_view name, BoundKind kind,
                                 bool differentiable, const PlainMethod& method) {
  const auto start = std::chrono::steady_clock::now();
  if (graph.factor_groups().empty()) fail<GraphError>(name, "the graph has no factors");
  const auto structure = graph.structure();
  const std::int64_t batch = graph.batch(), batches = std::max<std::int64_t>(batch, 1);
  std::vector<const T*> inputs;
  std::vector<PotentialLayout> layouts;
  for (std::size_t g = 0; g < structure->factors.size(); ++g) {
    inputs.push_back(graph.all_potentials()[g].data());
    layouts.push_back(PotentialLayout::of(structure->factors[g], graph.all_potentials()[g].shape()));
  }
  const auto batched = [&](Shape shape) {
    if (batch > 0) shape.insert(0, batch);
    return shape;
  };
  Tensor<T> log_partition = empty_tensor<T>(batched({}));
  std::vector<Tensor<T>> variables, errors, effective, factors, gradients;
  for (const auto& group : structure->variables) {
    Shape shape = batched(group.shape);
    shape.push_back(group.cardinality);
    variables.push_back(empty_tensor<T>(shape));
    errors.push_back(empty_tensor<T>(shape));
    effective.push_back(empty_tensor<T>(shape));
  }
  for (std::size_t g = 0; g < structure->factors.size(); ++g) {
    Shape shape = batched({structure->factors[g].factors()});
    for (const std::int64_t extent : structure->factors[g].table()) shape.push_back(extent);
    factors.push_back(empty_tensor<T>(shape));
    gradients.push_back(empty_tensor<T>(
        {batches, (layouts[g].factor_stride > 0 ? structure->factors[g].factors() : 1) * layouts[g].entries}));
    std::fill(gradients.back().begin(), gradients.back().end(), T(0));
  }
  const std::int64_t n = graph.variables();
  IndexTensor best = empty_tensor<std::int64_t>(batched({n}));
  InferenceResult<T> result;
  result.kind = kind;
  bool decoded = true, with_factors = true, with_errors = true;
  DenseTables tables(*structure);
  for (std::int64_t b = 0; b < batches; ++b) {
    tables.load(inputs, layouts, b);
    const PlainResult one = method(tables, *structure, b == 0 ? &result.trace : nullptr, static_cast<std::uint64_t>(b));
    log_partition.data()[b] = static_cast<T>(one.log_partition);
    result.converged = result.converged && one.converged;
    with_errors = !one.errors.empty();
    for (std::size_t v = 0; v < structure->variables.size(); ++v) {
      const auto& group = structure->variables[v];
      const std::int64_t count = group.size() * group.cardinality;
      std::copy_n(one.variables.begin() + group.first_state, count, variables[v].data() + b * count);
      if (!with_errors) continue;
      std::copy_n(one.errors.begin() + group.first_state, count, errors[v].data() + b * count);
      std::copy_n(one.effective.begin() + group.first_state, count, effective[v].data() + b * count);
    }
    with_factors = static_cast<bool>(one.factor);
    std::size_t number = 0;
    std::vector<double> table, entries;
    for (std::size_t g = 0; with_factors && g < structure->factors.size(); ++g) {
      table.resize(tables.table_size(g));
      entries.resize(static_cast<std::size_t>(layouts[g].entries));
      const std::int64_t count = structure->factors[g].factors();
      for (std::int64_t f = 0; f < count; ++f, ++number) {
        one.factor(number, table.data());
        tables.collapse(g, table.data(), entries.data());
        for (std::int64_t e = 0; e < layouts[g].entries; ++e) {
          factors[g].data()[(b * count + f) * layouts[g].entries + e] =
              static_cast<T>(entries[static_cast<std::size_t>(e)]);
          gradients[g](static_cast<std::size_t>(b), static_cast<std::size_t>(f * layouts[g].factor_stride + e)) +=
              static_cast<T>(entries[static_cast<std::size_t>(e)]);
        }
      }
    }
    decoded = decoded && !one.assignment.empty();
    if (decoded) std::copy(one.assignment.begin(), one.assignment.end(), best.data() + b * n);
  }
  result.log_partition =
      differentiable && with_factors
          ? apply<T>(std::make_unique<GivenGradient<T>>(name, std::move(log_partition), std::move(gradients)),
                     graph.all_potentials())
          : Var<T>(std::move(log_partition));
  for (auto& marginals : variables) result.variables.emplace_back(std::move(marginals));
  if (with_factors)
    for (auto& marginals : factors) result.factors.emplace_back(std::move(marginals));
  if (with_errors) {
    result.standard_errors = std::move(errors);
    result.effective_samples = std::move(effective);
  }
  if (decoded) {
    result.assignment_score = graph.score(best);
    result.assignment = std::move(best);
  }
  result.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

template InferenceResult<float> infer_plainly(const FactorGraph<float>&, std::string_view, BoundKind, bool,
                                              const PlainMethod&);
template InferenceResult<double> infer_plainly(const FactorGraph<double>&, std::string_view, BoundKind, bool,
                                               const PlainMethod&);

}  // namespace tapestry::detail
