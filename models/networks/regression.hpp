#pragma once

#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/models/layers/linear.hpp>

namespace tapestry {

/// P(1 | x) = sigmoid(x w + b) for examples [n, in].
template <class T>
struct LogisticRegression {
  LogisticRegression() = default;
  explicit LogisticRegression(std::int64_t in)
      : weight(Var<T>::filled({in, 1}, 0, true)), bias(Var<T>::filled({1}, 0, true)) {}
  /// Log-odds [n].
  Var<T> forward(const Var<T>& x) const;
  /// Mean negative log-likelihood of targets [n] in [0, 1].
  Var<T> loss(const Var<T>& x, const Var<T>& targets) const {
    return binary_cross_entropy_with_logits(forward(x), targets);
  }
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
};

/// P(class | x) = softmax(x W + b) for examples [n, in].
template <class T>
struct SoftmaxRegression {
  SoftmaxRegression() = default;
  SoftmaxRegression(std::int64_t in, std::int64_t classes)
      : weight(Var<T>::filled({in, classes}, 0, true)), bias(Var<T>::filled({classes}, 0, true)) {}
  /// Scores [n, classes].
  Var<T> forward(const Var<T>& x) const { return linear(x, weight, bias); }
  /// Mean negative log-likelihood of labels [n].
  Var<T> loss(const Var<T>& x, const Indices& labels) const { return cross_entropy(forward(x), labels); }
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
};

/// The class with the highest score (the lowest of equal ones) along the last axis of scores.
template <class T>
IndexTensor predictions(const Var<T>& scores);

extern template struct LogisticRegression<float>;
extern template struct LogisticRegression<double>;

}  // namespace tapestry
