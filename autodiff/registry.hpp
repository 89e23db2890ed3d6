#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tapestry/autodiff/derivatives.hpp>

namespace tapestry {

/// An example input inside an operation's domain: its shape, and values made from a seed, for that shape or another.
struct ExampleInput {
  Shape shape;
  std::function<Tensor<double>(const Shape& shape, std::uint64_t seed)> make;

  Tensor<double> operator()(std::uint64_t seed) const { return make(shape, seed); }
};

/// Uniform in [low, high).
ExampleInput uniform_example(const Shape& shape, double low = -2, double high = 2);
/// Pairwise different values at least 0.1 apart, in random order: away from the kinks of max, sort and the like.
ExampleInput distinct_example(const Shape& shape);
/// A symmetric positive definite matrix (batch).
ExampleInput positive_definite_example(const Shape& shape);
/// Given values; for another shape they are repeated.
ExampleInput fixed_example(Tensor<double> values);

/// An operation with an example of its use, from which tests and documentation work.
struct RegisteredOperation {
  std::string name;
  std::vector<ExampleInput> inputs;
  Function<double> apply;
  Function<float> apply_float;
  /// What the result must be, computed from scratch with xtensor or loops.
  std::function<Tensor<double>(const std::vector<Tensor<double>>&)> reference = nullptr;
  /// Where there is no reference: why.
  std::string no_reference = {};
  /// Whether an output element depends only on the inputs' elements in its place, after broadcasting. The inputs may
  /// then have any shapes that broadcast, and the reference takes any one shape.
  bool elementwise = false;
  /// False for operations without a gradient (comparisons, argmax).
  bool differentiable = true;
  /// Float results agree with double ones to this (relative to the largest element).
  double float_tolerance = 1e-5;
  /// Relative error allowed of derivatives, see CheckGradientsOptions.
  double gradient_tolerance = 1e-6;
};

/// The list of all operations, in the order of the modules.
class Registry {
 public:
  /// f is generic over the variables' type: [](const auto& x) { return exp(x[0]); }
  template <class F>
  RegisteredOperation& add(std::string name, std::vector<ExampleInput> inputs, F f) {
    return entries_.emplace_back(RegisteredOperation{std::move(name), std::move(inputs), f, f});
  }
  const std::vector<RegisteredOperation>& operations() const noexcept { return entries_; }

 private:
  std::vector<RegisteredOperation> entries_;
};

/// All operations of autodiff.
const Registry& registry();

}  // namespace tapestry
