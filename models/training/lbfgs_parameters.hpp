#pragma once

#include <functional>

#include <tapestry/models/training/lbfgs.hpp>
#include <tapestry/models/training/optimizers/parameter_groups.hpp>

namespace tapestry {

/// Minimises a loss over all of the data by changing parameters, one after the other as one vector of doubles: those
/// that require a gradient; frozen ones stay. The loss must be the same function in each call: no dropout, no new
/// batches. The groups' own options do not apply; the L1 norm is over all parameters or a range of their elements.
///
///     minimize_lbfgs<float>(network, [&] { return cross_entropy(network.forward(x), labels); }, {.l1 = 1e-3});
///
/// @throws as minimize_lbfgs() on a vector does; the parameters are then as they were
template <class T>
LbfgsResult minimize_lbfgs(const ParameterGroups<T>& parameters, const std::function<Var<T>()>& loss,
                           const LbfgsOptions& options = {}, const LbfgsObserver& observer = {},
                           LbfgsState* state = nullptr);

}  // namespace tapestry
