#pragma once

#include <tapestry/models/training/optimizers/optimizer.hpp>

namespace tapestry {

struct AdagradOptions {
  double rate = 0.01;
  double initial = 0;  ///< of the sums of squares
  double epsilon = 1e-10;
  double weight_decay = 0;
};

/// Adagrad (Duchi, Hazan and Singer 2011): s += g^2; the step is rate g / (sqrt(s) + epsilon).
template <class T>
class Adagrad : public Optimizer<T> {
 public:
  /// @throws Error for options out of range
  explicit Adagrad(const ParameterGroups<T>& parameters, const AdagradOptions& options = {});

 private:
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;
  void prepare(const Step& step) override;
  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  AdagradOptions options_;
  detail::AdagradStep<T> step_{};
};

extern template class Adagrad<float>;
extern template class Adagrad<double>;

}  // namespace tapestry
