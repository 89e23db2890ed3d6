#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <tapestry/autodiff/derivatives.hpp>

namespace tapestry {

/// A function of several variables with several results.
template <class T>
using MultiFunction = std::function<std::vector<Var<T>>(const std::vector<Var<T>>&)>;

/// f(inputs), of which only the inputs and results are kept: backward computes f again (Griewank and Walther 2000).
/// f must give the same results every time, and what it refers to must live until then. It may use variables that it
/// captured (by value): leaves as well as computed ones get their gradients.
template <class T>
std::vector<Var<T>> checkpoint(const MultiFunction<T>& f, const std::vector<Var<T>>& inputs);
template <class T>
Var<T> checkpoint(const Function<T>& f, const std::vector<Var<T>>& inputs);

/// state = step(t, state) for t = 0 .. steps-1, checkpointed in segments: memory for about 2 sqrt(steps) states instead
/// of all that the steps keep, for one more forward computation.
/// @param segments 0 picks ceil(sqrt(steps))
template <class T>
std::vector<Var<T>> checkpoint_steps(
    const std::function<std::vector<Var<T>>(std::int64_t t, const std::vector<Var<T>>& state)>& step,
    std::vector<Var<T>> state, std::int64_t steps, std::int64_t segments = 0);

}  // namespace tapestry
