#pragma once

#include <tapestry/models/training/optimizers/adam_family.hpp>

namespace tapestry {

struct AdamOptions {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< take rate * weight_decay off the parameters, instead of adding to the gradient
  bool amsgrad = false;    ///< divide by the largest v so far (Reddi et al. 2018), with Adam's corrections
};

/// Adam (Kingma and Ba 2015): m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; the step is
/// rate m' / (sqrt(v') + epsilon), m' and v' being m / (1 - beta1^t) and v / (1 - beta2^t). Subnormal numbers are taken
/// as 0 where epsilon is so large (1e-15 in float) that it makes no difference but in time.
template <class T>
class Adam : public AdamFamily<T> {
 public:
  /// @throws Error for options out of range
  explicit Adam(const ParameterGroups<T>& parameters, const AdamOptions& options = {});

 private:
  void prepare(const typename Optimizer<T>::Step& step) override;
};

extern template class Adam<float>;
extern template class Adam<double>;

}  // namespace tapestry
