#pragma once

#include <tapestry/models/training/optimizers/optimizer.hpp>

namespace tapestry {

struct SgdOptions {
  double rate = 0.01;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

/// Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013):
/// v = momentum v + (1 - dampening) g; the step is rate v, with Nesterov's rate (g + momentum v).
template <class T>
class Sgd : public Optimizer<T> {
 public:
  /// @throws Error for options out of range
  explicit Sgd(const ParameterGroups<T>& parameters, const SgdOptions& options = {});

 private:
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;
  void prepare(const Step& step) override;
  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  SgdOptions options_;
  detail::SgdStep<T> step_{};
};

extern template class Sgd<float>;
extern template class Sgd<double>;

}  // namespace tapestry
