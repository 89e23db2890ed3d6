#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// What a loss gives: one value for each example, or their mean or sum.
enum class Reduction { none, mean, sum };

/// -log softmax(logits)[label] over the last axis: logits [..., classes], labels [...].
/// @throws ShapeError where these do not fit, IndexError for a class that does not exist
template <class T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels, Reduction reduction = Reduction::mean);

/// -log_probabilities[label] over the last axis. @throws as cross_entropy
template <class T>
Var<T> negative_log_likelihood(const Var<T>& log_probabilities, const Indices& labels,
                               Reduction reduction = Reduction::mean);

/// -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), elementwise, without overflow; targets in [0, 1].
template <class T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets,
                                        Reduction reduction = Reduction::mean);

/// (x - target)^2, elementwise.
template <class T>
Var<T> squared_error(const Var<T>& x, const Var<T>& target, Reduction reduction = Reduction::mean);

/// r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), of r = x - target (Huber 1964).
/// @throws Error unless delta > 0
template <class T>
Var<T> huber(const Var<T>& x, const Var<T>& target, std::type_identity_t<T> delta = T(1),
             Reduction reduction = Reduction::mean);

/// max(0, 1 - t x) for targets of -1 and 1, elementwise.
template <class T>
Var<T> hinge(const Var<T>& x, const Var<T>& targets, Reduction reduction = Reduction::mean);

/// KL(p || q) of distributions given by their logarithms along the last axis; 0 log 0 is 0.
template <class T>
Var<T> kl_divergence(const Var<T>& log_p, const Var<T>& log_q, Reduction reduction = Reduction::mean);

}  // namespace tapestry
