#pragma once

#include <vector>

#include <tapestry/prob/factor_graph.hpp>

namespace tapestry::detail {

/// Labels of a factor graph's variables by example. An example is a row of the labels, a batch element, or both.
template <class T>
class Labelling {
 public:
  /// @throws ShapeError, IndexError for states that do not exist; -1 is one that is `hidden`, if that is allowed
  Labelling(const FactorGraph<T>& graph, const Indices& labels, bool hidden);

  std::int64_t rows() const { return rows_; }
  bool batched() const { return batched_; }
  /// Shape [] or [rows].
  Shape shape() const { return batched_ ? Shape{rows_} : Shape{}; }
  std::int64_t state(std::int64_t row, std::int64_t variable) const { return data_[row * stride_ + variable]; }
  bool observed(std::int64_t variable) const { return observed_[static_cast<std::size_t>(variable)] >= 0; }
  /// The observed state, or -1.
  std::int64_t evidence(std::int64_t variable) const { return observed_[static_cast<std::size_t>(variable)]; }
  /// The states of a factor's scope. @return whether all are known
  bool states(const FactorStructure& group, std::int64_t factor, std::int64_t row, std::int64_t* out) const;

 private:
  Indices labels_;
  const std::int64_t* data_;
  std::int64_t rows_ = 1, stride_ = 0;
  bool batched_ = false;
  std::vector<std::int64_t> observed_;
};

/// Sum over variables of -log p(label | all other labels): [rows].
template <class T>
Var<T> negative_pseudo_likelihood(const FactorGraph<T>& graph, const Labelling<T>& labels);
/// Sum over factors of the log-partition of each alone, given the evidence: [rows] or [1].
template <class T>
Var<T> piecewise_log_partition(const FactorGraph<T>& graph, const Labelling<T>& labels);

extern template class Labelling<float>;
extern template class Labelling<double>;

}  // namespace tapestry::detail
