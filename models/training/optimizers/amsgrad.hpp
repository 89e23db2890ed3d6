#pragma once

#include <tapestry/models/training/optimizers/adam.hpp>

namespace tapestry {

/// Adam that divides by the largest of the variances so far (Reddi, Kale and Kumar 2018), with Adam's corrections.
template <class T>
class AmsGrad final : public Adam<T> {
 public:
  explicit AmsGrad(const ParameterGroups<T>& parameters, AdamOptions options = {})
      : Adam<T>(parameters, with_largest(options)) {}

 private:
  static AdamOptions with_largest(AdamOptions options) {
    options.amsgrad = true;
    return options;
  }
};

}  // namespace tapestry
