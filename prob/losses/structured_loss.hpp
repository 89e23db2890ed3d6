#pragma once

#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/method.hpp>

namespace tapestry {

/// What training of a structured model minimises. Sums over a graph's variables or factors, or over a chain's steps.
enum class LossKind {
  /// log-partition - score of the labels. With an approximate log-partition (belief propagation, mean field,
  /// tree-reweighted) the surrogate likelihood (Wainwright 2006), whose bound is the method's.
  likelihood,
  pseudo_likelihood,  ///< -log p(label | labels of all others) of each variable (Besag 1975); no inference
  piecewise,          ///< -log probability of its labels under each factor alone (Sutton, McCallum 2005); no inference
  univariate_log,     ///< -log of the marginal of each label (Kakade, Teh, Roweis 2002; Domke 2013)
  univariate_quadratic,  ///< squared distance of each variable's marginals from its label's indicator (Domke 2013)
  clique_log,            ///< the same for the marginals of each factor over several variables (Domke 2013)
  clique_quadratic,
  max_margin,  ///< structured hinge: the best of score + cost * wrong labels, less the labels' score; a subgradient
  perceptron   ///< the best score less the labels' (Collins 2002)
};

struct StructuredLoss {
  LossKind kind = LossKind::likelihood;
  double cost = 1;  ///< of each wrong label, in max_margin
};

namespace detail {
inline bool of_marginals(LossKind kind) {
  return kind >= LossKind::univariate_log && kind <= LossKind::clique_quadratic;
}
inline bool of_cliques(LossKind kind) {
  return kind == LossKind::clique_log || kind == LossKind::clique_quadratic;
}
inline bool quadratic(LossKind kind) {
  return kind == LossKind::univariate_quadratic || kind == LossKind::clique_quadratic;
}
}  // namespace detail

/// The loss [] of labels [variables], or [batch] of [batch, variables] or a batch of potentials. Variables with
/// evidence count as given: marginal losses and the pseudo-likelihood leave them out. In marginal losses a label of -1
/// is hidden: what it belongs to is left out. Where the best assignment is found approximately, max_margin and
/// perceptron are never below 0.
///
/// Marginal losses need a method with differentiable marginals: JunctionTree, BeliefPropagation, TreeReweighted,
/// MeanField with parallel updates.
/// @throws ShapeError, IndexError for labels that do not fit; NumericalError for labels that factors or evidence
/// forbid; GraphError for a method that gives no gradient, marginals or assignment for the loss
template <class T>
Var<T> structured_loss(const FactorGraph<T>& graph, const Indices& labels, const StructuredLoss& loss = {},
                       const InferenceMethod& method = JunctionTree{});

/// The same for a batch of chains and labels [B, T]: [B]. Inference is exact. Labels behind the lengths are never read.
/// Factors are the unary potentials of each step, start, end, and the transitions.
template <class T>
Var<T> structured_loss(const ChainPotentials<T>& potentials, const Indices& labels, const StructuredLoss& loss = {});

#define TAPESTRY_EXTERN(T)                                                                             \
  extern template Var<T> structured_loss(const FactorGraph<T>&, const Indices&, const StructuredLoss&, \
                                         const InferenceMethod&);                                      \
  extern template Var<T> structured_loss(const ChainPotentials<T>&, const Indices&, const StructuredLoss&);
TAPESTRY_EXTERN(float)
TAPESTRY_EXTERN(double)
#undef TAPESTRY_EXTERN

}  // namespace tapestry
