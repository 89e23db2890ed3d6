#pragma once

#include <tapestry/models/training/optimizers/adam.hpp>

namespace tapestry {

struct AdamWOptions {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  bool amsgrad = false;
};

/// Adam with decoupled weight decay: rate * weight_decay is taken off the parameters (Loshchilov and Hutter 2019).
template <class T>
class AdamW final : public Adam<T> {
 public:
  explicit AdamW(const ParameterGroups<T>& parameters, const AdamWOptions& o = {})
      : Adam<T>(parameters, {.rate = o.rate,
                             .beta1 = o.beta1,
                             .beta2 = o.beta2,
                             .epsilon = o.epsilon,
                             .weight_decay = o.weight_decay,
                             .decoupled = true,
                             .amsgrad = o.amsgrad}) {}
};

}  // namespace tapestry
