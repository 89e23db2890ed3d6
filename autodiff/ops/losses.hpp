#pragma once

#include <optional>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// What a loss gives: one value for each example (or element), or their mean or sum. The mean of none is a ShapeError.
enum class Reduction { none, mean, sum };

template <class T>
struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  /// Examples with this label count for nothing, whatever their scores; it need not be a class.
  std::optional<std::int64_t> ignored_label = std::nullopt;
  /// The part of each label that is spread evenly over all classes (Szegedy et al. 2016).
  double smoothing = 0;
  /// [classes], not negative. The mean is then divided by the weights of the labels.
  std::optional<Tensor<T>> class_weights = std::nullopt;
};

/// -log softmax(logits)[label] over the last axis: logits [..., classes], labels [...]; in one pass. The mean is taken
/// over the examples that count, and is zero where none does.
/// @throws ShapeError where these do not fit, IndexError for a class that does not exist, NumericalError for options
/// out of range
/// @{
template <class T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels, Reduction reduction = Reduction::mean);
template <class T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels,
                     const CrossEntropyOptions<std::type_identity_t<T>>& options);
/// @}

/// -sum targets log softmax(logits) over the last axis, for targets [..., classes] that are probabilities (or weights);
/// where a target is 0, a probability may be, too. Differentiable in both.
/// @throws ShapeError where the shapes differ
template <class T>
Var<T> cross_entropy_with_probabilities(const Var<T>& logits, const Var<T>& targets,
                                        Reduction reduction = Reduction::mean);

/// -log_probabilities[label] over the last axis. @throws as cross_entropy
template <class T>
Var<T> negative_log_likelihood(const Var<T>& log_probabilities, const Indices& labels,
                               Reduction reduction = Reduction::mean);

// Elementwise losses: x and target broadcast (@throws ShapeError), and the reduction is made in the same pass.

/// -t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), without overflow; targets in [0, 1].
template <class T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets,
                                        Reduction reduction = Reduction::mean);

/// (x - target)^2.
template <class T>
Var<T> squared_error(const Var<T>& x, const Var<T>& target, Reduction reduction = Reduction::mean);

/// |x - target|.
template <class T>
Var<T> absolute_error(const Var<T>& x, const Var<T>& target, Reduction reduction = Reduction::mean);

/// r^2 / 2 where |r| <= delta, else delta (|r| - delta / 2), of r = x - target (Huber 1964).
/// @throws Error unless delta > 0
template <class T>
Var<T> huber(const Var<T>& x, const Var<T>& target, std::type_identity_t<T> delta = T(1),
             Reduction reduction = Reduction::mean);

/// max(0, 1 - t x) for targets of -1 and 1.
template <class T>
Var<T> hinge(const Var<T>& x, const Var<T>& targets, Reduction reduction = Reduction::mean);

// Margins.

/// sum_k max(0, margin - x[label] + x[k])^power over the classes k other than the label, along the last axis (Weston
/// and Watkins 1999); power 1 or 2. @throws as cross_entropy, Error for another power
template <class T>
Var<T> multiclass_margin(const Var<T>& scores, const Indices& labels, std::type_identity_t<T> margin = T(1),
                         int power = 1, Reduction reduction = Reduction::mean);

/// max(0, margin - x[label] + max_k x[k]) over the classes k other than the label, along the last axis (Crammer and
/// Singer 2001). @throws as cross_entropy
template <class T>
Var<T> multiclass_hinge(const Var<T>& scores, const Indices& labels, std::type_identity_t<T> margin = T(1),
                        Reduction reduction = Reduction::mean);

/// max(0, margin - order (a - b)) for orders of 1 (a is to be larger) and -1, elementwise.
template <class T>
Var<T> margin_ranking(const Var<T>& a, const Var<T>& b, const Var<T>& order, std::type_identity_t<T> margin = T(0),
                      Reduction reduction = Reduction::mean);

/// max(0, |anchor - positive| - |anchor - negative| + margin) with Euclidean norms over the last axis (Schroff,
/// Kalenichenko and Philbin 2015, without their squares).
template <class T>
Var<T> triplet(const Var<T>& anchor, const Var<T>& positive, const Var<T>& negative,
               std::type_identity_t<T> margin = T(1), Reduction reduction = Reduction::mean);

/// KL(p || q) of distributions given by their logarithms along the last axis; 0 log 0 is 0.
template <class T>
Var<T> kl_divergence(const Var<T>& log_p, const Var<T>& log_q, Reduction reduction = Reduction::mean);

}  // namespace tapestry
