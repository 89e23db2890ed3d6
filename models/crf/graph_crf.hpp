#pragma once

#include <utility>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/module.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

namespace tapestry {

/// A conditional random field of any structure: a model of yours makes the factor graph of an input, unary potentials
/// by any network among them, and is trained end to end by any loss through any inference.
///
///     struct Model {
///       FactorGraph<float> graph(const Input& x) const;
///       void members(Members& m);
///     };
///     GraphCrf<float, Model> crf(Model(...), BeliefPropagation{.iterations = 10}, {LossKind::univariate_log});
///     crf.loss(x, labels).backward();
///
/// examples/skip_chain.cpp is a program with one.
template <class T, class Model>
class GraphCrf {
 public:
  explicit GraphCrf(Model structure, InferenceMethod by = JunctionTree{}, const StructuredLoss& what = {})
      : model(std::move(structure)), method(std::move(by)), structured(what) {}

  /// Of labels [variables], or [batch, variables] where the graph has a batch. @throws what structured_loss() throws
  template <class Input>
  Var<T> loss(const Input& x, const Indices& labels) const {
    return structured_loss(model.graph(x), labels, structured, method);
  }
  /// Marginals, log-partition and trace.
  template <class Input>
  InferenceResult<T> infer(const Input& x) const {
    return method(model.graph(x));
  }
  /// A probable assignment [variables] or [batch, variables]. @throws GraphError where the method gives none
  template <class Input>
  IndexTensor decode(const Input& x) const {
    auto result = method.decode(model.graph(x));
    if (!result.assignment) fail<GraphError>("GraphCrf::decode", method.name(), " gives no assignment");
    return *std::move(result.assignment);
  }

  void members(Members& m) { m("model", model); }

  Model model;
  InferenceMethod method;
  StructuredLoss structured;
};

}  // namespace tapestry
