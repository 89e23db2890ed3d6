#pragma once

#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry::detail {

/// The vjp() rule of a fused operation from the same computation in operations: f of the operation's inputs gives its
/// outputs, is recorded anew, and differentiated any number of times. What f captures counts as constant.
template <class T>
void vjp_through(Vjp<T>& context, const MultiFunction<T>& f);

extern template void vjp_through(Vjp<float>&, const MultiFunction<float>&);
extern template void vjp_through(Vjp<double>&, const MultiFunction<double>&);

}  // namespace tapestry::detail
