#pragma once

#include <string>
#include <vector>

#include <tapestry/models/training/optimizers/optimizer.hpp>

namespace tapestry {

/// What the methods with running means of the gradient and of its square share: the tensors for them and the update.
template <class T>
class AdamFamily : public Optimizer<T> {
 protected:
  using typename Optimizer<T>::Setup;
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;

  struct Means {
    double beta1, beta2, epsilon;
  };
  /// `largest` keeps the largest square so far, too. @throws Error for values out of range
  AdamFamily(const ParameterGroups<T>& parameters, Setup setup, const Means& means, bool largest = false);

  /// 1 - beta^t, by which a mean that started at 0 is divided.
  double correction1(const Step& step) const;
  double correction2(const Step& step) const;
  const Means& means() const noexcept { return means_; }

  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  bool update_from_factors(T* parameter, T* const* state, const detail::GradientProduct<T>& gradient,
                           std::int64_t begin, std::int64_t end, const Terms& terms) const override;

  /// The means' weights are set, the rest is for prepare().
  detail::AdamStep<T> step_{};

 private:
  Means means_;
};

extern template class AdamFamily<float>;
extern template class AdamFamily<double>;

}  // namespace tapestry
