#pragma once

#include <cstdint>
#include <random>

#include <tapestry/autodiff/tensor.hpp>

namespace testing_models {

template <class T = double>
tapestry::Tensor<T> normal_numbers(const tapestry::Shape& shape, std::uint64_t seed, double spread = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, spread);
  auto out = tapestry::empty_tensor<T>(shape);
  for (T& x : out) x = static_cast<T>(normal(random));
  return out;
}

}  // namespace testing_models
