#pragma once

#include <tapestry/prob/grid.hpp>

// Fused inference once more, in operations on the tape: what higher derivatives are made of.
namespace tapestry::detail {

/// Flooding sum-product on pairwise factors: logarithms of the beliefs, shaped as unary [variables, states] or
/// [batch, variables, states]; tables [factors, states, states] or with the batch. Damping keeps nothing of what is
/// impossible.
template <class T>
Var<T> composed_propagation(const Var<T>& unary, const Var<T>& tables, const std::int64_t* first,
                            const std::int64_t* second, const UnrolledOptions& options);

/// Parallel mean field on grids: log q, shaped as unary [batch, height, width, states]. Compatibility as
/// grid_mean_field() has it.
template <class T>
Var<T> composed_grid_mean_field(const Var<T>& unary, const Var<T>& compatibility, const UnrolledOptions& options);

}  // namespace tapestry::detail
