#include <tapestry/prob/losses/structured_loss.hpp>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/losses/labelling.hpp>
#include <tapestry/prob/losses/marginal_loss.hpp>

namespace tapestry {
namespace {

using detail::LabelledMarginal;
using detail::Labelling;

constexpr auto loss_name = "structured_loss";

template <class T>
void require_gradient(const FactorGraph<T>& graph, const Var<T>& x, const InferenceMethod& method, const char* what) {
  if (detail::differentiable(graph) && !x.requires_grad())
    fail<GraphError>(loss_name, "the ", what, " by ", method.name(), " is a constant: it gives no gradient");
}

template <class T>
InferenceResult<T> run(const FactorGraph<T>& graph, const InferenceMethod& method) {
  InferenceResult<T> result = method(graph);
  if (!result.possible) fail<NumericalError>(loss_name, "no assignment agrees with the evidence and all factors");
  return result;
}

template <class T>
Var<T> marginal_losses(const FactorGraph<T>& graph, const Indices& given, const StructuredLoss& loss,
                       const InferenceMethod& method) {
  const Labelling<T> labels(graph, given, true);
  const bool cliques = detail::of_cliques(loss.kind);
  const bool quadratic = detail::quadratic(loss.kind);
  const InferenceResult<T> result = run(graph, method);
  if (cliques && result.factors.empty()) fail<GraphError>(loss_name, method.name(), " gives no marginals of factors");
  const bool batched = graph.batch() > 0;
  Var<T> total = Var<T>::zeros({labels.rows()});
  const auto add = [&](const Var<T>& marginals, const std::vector<LabelledMarginal>& labelled) {
    if (labelled.empty()) return;
    require_gradient(graph, marginals, method, "marginal");
    total = total + detail::marginal_loss(marginals, labelled, labels.rows(), quadratic);
  };
  for (std::size_t g = 0; !cliques && g < graph.variable_groups().size(); ++g) {
    const auto& group = graph.variable_groups()[g];
    const std::int64_t K = group.cardinality, stride = batched ? group.size() * K : 0;
    std::vector<LabelledMarginal> labelled;
    for (std::int64_t r = 0; r < labels.rows(); ++r)
      for (std::int64_t v = 0; v < group.size(); ++v)
        if (const std::int64_t y = labels.state(r, group.first + v); y >= 0 && !labels.observed(group.first + v))
          labelled.push_back({r, r * stride + v * K, K, y});
    add(result.variables[g], labelled);
  }
  std::vector<std::int64_t> states;
  for (std::size_t g = 0; cliques && g < graph.factor_groups().size(); ++g) {
    const auto& group = graph.factor_groups()[g];
    if (group.arity() < 2) continue;
    states.resize(static_cast<std::size_t>(group.arity()));
    const std::int64_t entries = group.table().elements(), stride = batched ? group.factors() * entries : 0;
    std::vector<LabelledMarginal> labelled;
    for (std::int64_t r = 0; r < labels.rows(); ++r)
      for (std::int64_t f = 0; f < group.factors(); ++f) {
        if (!labels.states(group, f, r, states.data())) continue;
        const std::int64_t entry = group.entry(states.data());
        if (entry < 0) fail<NumericalError>(loss_name, "factor ", f, " of group '", group.name, "' forbids its labels");
        labelled.push_back({r, r * stride + f * entries, entries, entry});
      }
    add(result.factors[g], labelled);
  }
  return reshape(total, labels.shape());
}

template <class T>
Var<T> positive_part(const Var<T>& x) {
  const Var<T> zero = Var<T>::zeros({});
  return where(greater(x, zero), x, zero);
}

/// The best assignment, where `cost` is not zero with that much for each wrong label.
template <class T>
IndexTensor decode(const FactorGraph<T>& graph, const Labelling<T>& labels, double cost,
                   const InferenceMethod& method) {
  const NoGradients off;
  FactorGraph<T> augmented = graph;
  const std::int64_t rows = labels.rows();
  for (std::size_t g = 0; cost != 0 && g < graph.variable_groups().size(); ++g) {
    const auto& group = graph.variable_groups()[g];
    Shape shape;
    if (labels.batched()) shape.push_back(rows);
    for (const std::int64_t extent : group.shape) shape.push_back(extent);
    shape.push_back(group.cardinality);
    Tensor<T> costs = empty_tensor<T>(shape);
    T* out = costs.data();
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t v = group.first; v < group.first + group.size(); ++v)
        for (std::int64_t k = 0; k < group.cardinality; ++k)
          *out++ = k == labels.state(r, v) ? T(0) : static_cast<T>(cost);
    augmented.add_unary("wrong labels", static_cast<std::int64_t>(g), Var<T>(std::move(costs)));
  }
  auto result = method.decode(augmented);
  if (!result.possible) fail<NumericalError>(loss_name, "no assignment agrees with the evidence and all factors");
  if (!result.assignment) fail<GraphError>(loss_name, method.name(), " found no assignment");
  return std::move(*result.assignment);
}

}  // namespace

template <class T>
Var<T> structured_loss(const FactorGraph<T>& graph, const Indices& given, const StructuredLoss& loss,
                       const InferenceMethod& method) {
  if (detail::of_marginals(loss.kind)) return marginal_losses(graph, given, loss, method);
  const Labelling<T> labels(graph, given, false);
  const Var<T> score = graph.score(given.tensor());
  for (std::int64_t r = 0; r < score.size(); ++r)
    if (score.data()[r] == -std::numeric_limits<T>::infinity())
      fail<NumericalError>(loss_name, "the factors or the evidence forbid the labels of example ", r);
  switch (loss.kind) {
    case LossKind::pseudo_likelihood:
      return reshape(detail::negative_pseudo_likelihood(graph, labels), labels.shape());
    case LossKind::piecewise:
      return reshape(detail::piecewise_log_partition(graph, labels) - reshape(score, Shape{labels.rows()}),
                     labels.shape());
    case LossKind::max_margin:
    case LossKind::perceptron: {
      const double cost = loss.kind == LossKind::max_margin ? loss.cost : 0;
      const IndexTensor best = decode(graph, labels, cost, method);
      const std::int64_t n = graph.variables();
      Tensor<T> costs = empty_tensor<T>(labels.shape());
      for (std::int64_t r = 0; r < labels.rows(); ++r) {
        const std::int64_t* own = best.data() + (best.dimension() == 2 ? r * n : 0);
        std::int64_t wrong = 0;
        for (std::int64_t v = 0; v < n; ++v) wrong += own[v] != labels.state(r, v);
        costs.data()[r] = static_cast<T>(cost * static_cast<double>(wrong));
      }
      return positive_part(graph.score(best) + Var<T>(std::move(costs)) - score);
    }
    default: {
      const InferenceResult<T> result = run(graph, method);
      require_gradient(graph, result.log_partition, method, "log-partition");
      return result.log_partition - score;
    }
  }
}

template Var<float> structured_loss(const FactorGraph<float>&, const Indices&, const StructuredLoss&,
                                    const InferenceMethod&);
template Var<double> structured_loss(const FactorGraph<double>&, const Indices&, const StructuredLoss&,
                                     const InferenceMethod&);

}  // namespace tapestry
