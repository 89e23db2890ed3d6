#pragma once

#include <tapestry/models/training/optimizers/adam_family.hpp>

namespace tapestry {

struct NAdamOptions {
  double rate = 2e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum_decay = 0.004;
  double weight_decay = 0;
  bool decoupled = false;  ///< take rate * weight_decay off the parameters, instead of adding to the gradient
};

/// Adam with Nesterov's momentum (Dozat 2016): with b_t = beta1 (1 - 0.96^(t decay) / 2), the step is
/// rate (b_{t+1} m / (1 - b_1 ... b_{t+1}) + (1 - b_t) g / (1 - b_1 ... b_t)) / (sqrt(v / (1 - beta2^t)) + epsilon).
template <class T>
class NAdam : public AdamFamily<T> {
 public:
  /// @throws Error for options out of range
  explicit NAdam(const ParameterGroups<T>& parameters, const NAdamOptions& options = {});

 private:
  void prepare(const typename Optimizer<T>::Step& step) override;
  double momentum_decay_;
  double product_ = 1;  ///< b_1 ... b_t at t = product_count_
  std::int64_t product_count_ = 0;
};

extern template class NAdam<float>;
extern template class NAdam<double>;

}  // namespace tapestry
