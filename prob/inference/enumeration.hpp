#pragma once

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// Exact inference by going through all assignments that agree with the evidence: for tiny graphs, and as what other
/// methods are compared with. Composed of operations on the tape: derivatives of any order.
struct Enumeration {
  static constexpr const char* name = "enumeration";
  double limit = 1 << 24;  ///< on assignments times (factors and variables) times batch elements
  bool factor_marginals = true;
};

/// @throws NumericalError where there is more to go through than the limit, and for NaN potentials
template <class T>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Enumeration& options);

extern template InferenceResult<float> infer(const FactorGraph<float>&, const Enumeration&);
extern template InferenceResult<double> infer(const FactorGraph<double>&, const Enumeration&);

}  // namespace tapestry
