#pragma once

#include <vector>

#include <tapestry/models/layers/dropout.hpp>
#include <tapestry/models/layers/linear.hpp>

namespace tapestry {

struct MlpOptions {
  Activation activation = Activation::relu;  ///< of the hidden layers; the last layer has none
  double dropout = 0;                        ///< of hidden units, while training
  double input_dropout = 0;
};

/// A multi-layer perceptron: Mlp({784, 500, 10}, generator) has one hidden layer of 500 units.
template <class T>
class Mlp {
 public:
  Mlp() = default;
  /// @throws ShapeError for fewer than two sizes
  Mlp(const std::vector<std::int64_t>& sizes, Generator& generator, const MlpOptions& options = {});
  /// [..., in] to [..., out].
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("layers", layers)("dropout", dropout)("input_dropout", input_dropout); }

  std::vector<Linear<T>> layers;
  Dropout<T> dropout, input_dropout;
};

extern template class Mlp<float>;
extern template class Mlp<double>;

}  // namespace tapestry
