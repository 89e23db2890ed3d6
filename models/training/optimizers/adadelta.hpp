#pragma once

#include <tapestry/models/training/optimizers/optimizer.hpp>

namespace tapestry {

struct AdadeltaOptions {
  double rate = 1;
  double decay = 0.9;
  double epsilon = 1e-6;
  double weight_decay = 0;
};

/// Adadelta (Zeiler 2012): s = decay s + (1 - decay) g^2; d = sqrt(u + epsilon) / sqrt(s + epsilon) g;
/// u = decay u + (1 - decay) d^2; the step is rate d.
template <class T>
class Adadelta : public Optimizer<T> {
 public:
  /// @throws Error for options out of range
  explicit Adadelta(const ParameterGroups<T>& parameters, const AdadeltaOptions& options = {});

 private:
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;
  void prepare(const Step& step) override;
  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  AdadeltaOptions options_;
  detail::AdadeltaStep<T> step_{};
};

extern template class Adadelta<float>;
extern template class Adadelta<double>;

}  // namespace tapestry
