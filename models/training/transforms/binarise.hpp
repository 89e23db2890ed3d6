#pragma once

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// 1 where an element is above the threshold, else 0.
template <class T>
Tensor<T> binarise(const Tensor<T>& data, T threshold);

/// 1 with the element as probability, else 0. @throws NumericalError for elements outside [0, 1]
template <class T>
Tensor<T> binarise(const Tensor<T>& probabilities, Generator& generator);

/// Flips elements of binary data, each with the given probability (salt and pepper). @throws NumericalError
template <class T>
Tensor<T> flip_bits(const Tensor<T>& bits, T probability, Generator& generator);

}  // namespace tapestry
