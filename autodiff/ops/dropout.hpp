#pragma once

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

class Generator;

/// x / (1 - p) with probability 1 - p (to 2^-32), else 0, for each element (Srivastava et al. 2014); x itself where p
/// is 0. The operation splits a generator of its own off the given one: a captured program draws anew each time it
/// runs. A function that is computed again in backward (checkpoint) must make its generator itself, from a fixed state.
/// @throws NumericalError unless 0 <= p <= 1
template <class T>
Var<T> dropout(const Var<T>& x, double p, Generator& generator);

}  // namespace tapestry
