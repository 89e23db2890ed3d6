#pragma once

#include <tapestry/models/training/optimizers/optimizer.hpp>

namespace tapestry {

struct RpropOptions {
  double rate = 1;
  double initial = 0.01;  ///< step size
  double increase = 1.2;
  double decrease = 0.5;
  double smallest = 1e-6;
  double largest = 50;
  double weight_decay = 0;
};

/// Resilient propagation (Riedmiller and Braun 1993), without taking steps back (iRprop-: Igel and Huesken 2000): each
/// element has a step size of its own, which grows while the gradient keeps its sign and shrinks, for a step of 0, when
/// it changes. For full batches. The rate multiplies all step sizes.
template <class T>
class Rprop : public Optimizer<T> {
 public:
  /// @throws Error for options out of range
  explicit Rprop(const ParameterGroups<T>& parameters, const RpropOptions& options = {});

 private:
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;
  void prepare(const Step& step) override;
  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  RpropOptions options_;
  detail::RpropStep<T> step_{};
};

extern template class Rprop<float>;
extern template class Rprop<double>;

}  // namespace tapestry
