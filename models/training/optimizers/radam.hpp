#pragma once

#include <tapestry/models/training/optimizers/adam_family.hpp>

namespace tapestry {

struct RAdamOptions {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< take rate * weight_decay off the parameters, instead of adding to the gradient
};

/// Rectified Adam (Liu et al. 2020): with r = 2 / (1 - beta2) - 1 and r_t = r - 2 t beta2^t / (1 - beta2^t), the step
/// is rate m' while r_t <= 4, and then Adam's times sqrt((r_t - 4) (r_t - 2) r / ((r - 4) (r - 2) r_t)).
template <class T>
class RAdam : public AdamFamily<T> {
 public:
  /// @throws Error for options out of range
  explicit RAdam(const ParameterGroups<T>& parameters, const RAdamOptions& options = {});

 private:
  void prepare(const typename Optimizer<T>::Step& step) override;
};

extern template class RAdam<float>;
extern template class RAdam<double>;

}  // namespace tapestry
