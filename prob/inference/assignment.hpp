#pragma once

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// Moves each variable of the result's assignment to its best state given the others, in turn until the score stays.
/// What messages or marginals say of each variable apart may be far from the best for all.
template <class T>
void refine_assignment(const FactorGraph<T>& graph, InferenceResult<T>& result);

extern template void refine_assignment(const FactorGraph<float>&, InferenceResult<float>&);
extern template void refine_assignment(const FactorGraph<double>&, InferenceResult<double>&);

}  // namespace tapestry
