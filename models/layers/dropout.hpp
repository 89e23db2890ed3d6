#pragma once

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

/// dropout() while training, nothing in evaluation. The state of its generator is saved with the module, so that a
/// training that is resumed draws what it would have drawn.
template <class T>
struct Dropout {
  Dropout() : Dropout(0, Generator(0)) {}
  /// @throws NumericalError unless 0 <= p <= 1
  Dropout(double p, Generator generator);
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("generator", generator)("mode", mode); }

  double p;
  mutable Buffer<std::int64_t> generator;  ///< Generator::state()
  Mode mode;
};

extern template struct Dropout<float>;
extern template struct Dropout<double>;

}  // namespace tapestry
