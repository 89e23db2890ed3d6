#pragma once

#include <tapestry/models/training/optimizers/optimizer.hpp>

namespace tapestry {

struct RmspropOptions {
  double rate = 0.01;
  double decay = 0.99;
  double epsilon = 1e-8;
  double momentum = 0;
  bool centered = false;
  double weight_decay = 0;
};

/// RMSProp (Tieleman and Hinton 2012): s = decay s + (1 - decay) g^2; the step is rate g / (sqrt(s) + epsilon), through
/// a velocity where there is momentum. Centered (Graves 2013), the variance s - m^2 takes the place of s, with m a
/// running mean of g.
template <class T>
class Rmsprop : public Optimizer<T> {
 public:
  /// @throws Error for options out of range
  explicit Rmsprop(const ParameterGroups<T>& parameters, const RmspropOptions& options = {});

 private:
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;
  void prepare(const Step& step) override;
  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  RmspropOptions options_;
  detail::RmspropStep<T> step_{};
};

extern template class Rmsprop<float>;
extern template class Rmsprop<double>;

}  // namespace tapestry
