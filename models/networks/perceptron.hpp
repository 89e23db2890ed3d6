#pragma once

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

/// A linear unit with a threshold (Rosenblatt 1958): the class of x is the sign of x w + b. Examples are [n, in],
/// targets [n] are -1 and 1.
template <class T>
class Perceptron {
 public:
  explicit Perceptron(std::int64_t in);

  /// x w + b: [n].
  Var<T> forward(const Var<T>& x) const;
  /// The perceptron criterion, the sum of -target (x w + b) over the mistakes (a margin of zero is one).
  Var<T> criterion(const Var<T>& x, const Var<T>& targets) const;
  std::int64_t mistakes(const Var<T>& x, const Var<T>& targets) const;

  /// The batch rule: one step along the criterion's gradient over all examples. @return mistakes before the step
  std::int64_t batch_update(const Var<T>& x, const Var<T>& targets, double rate = 1);
  /// The incremental rule: every example in random order, a step at each mistake. @return mistakes on the way; 0 means
  /// that all examples are right
  std::int64_t incremental_update(const Var<T>& x, const Var<T>& targets, Generator& generator, double rate = 1);

  void members(Members& m) { m("weight", weight)("bias", bias); }
  Var<T> weight, bias;  ///< [in], [1]
};

extern template class Perceptron<float>;
extern template class Perceptron<double>;

}  // namespace tapestry
