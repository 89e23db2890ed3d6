#pragma once

#include <tapestry/autodiff/registry.hpp>

namespace tapestry::detail {

// One function a family of operations, beside its source: register_<file>.cpp.
void register_arithmetic(Registry& r);
void register_convolution(Registry& r);
void register_decompositions(Registry& r);
void register_elementary(Registry& r);
void register_losses(Registry& r);
void register_matmul(Registry& r);
void register_normalization(Registry& r);
void register_pooling(Registry& r);
void register_recurrent(Registry& r);
void register_reductions(Registry& r);
void register_shaping(Registry& r);
void register_sparse(Registry& r);
void register_slicing(Registry& r);
void register_indexing(Registry& r);
void register_statistics(Registry& r);

/// A reference result of that shape, element by element: f is given the position.
template <class F>
Tensor<double> tabulate(const Shape& shape, F f) {
  Tensor<double> out = empty_tensor<double>(shape);
  std::vector<std::size_t> position(shape.size(), 0);
  for (double& value : out) {
    value = f(static_cast<const std::vector<std::size_t>&>(position));
    for (int i = shape.rank() - 1; i >= 0; --i) {
      if (++position[static_cast<std::size_t>(i)] < static_cast<std::size_t>(shape[i])) break;
      position[static_cast<std::size_t>(i)] = 0;
    }
  }
  return out;
}

/// An elementwise operation f with its value for numbers.
template <class F, class G>
RegisteredOperation& add_elementwise(Registry& r, std::string name, std::vector<ExampleInput> inputs, F f, G value) {
  RegisteredOperation& entry = r.add(std::move(name), std::move(inputs), f);
  entry.elementwise = true;
  entry.reference = [value](const std::vector<Tensor<double>>& x) {
    Tensor<double> out = x[0];
    for (std::size_t i = 0; i < out.size(); ++i) {
      if constexpr (std::is_invocable_v<G, double>)
        out.data()[i] = value(x[0].data()[i]);
      else
        out.data()[i] = value(x[0].data()[i], x[1].data()[i]);
    }
    return out;
  };
  return entry;
}

}  // namespace tapestry::detail
