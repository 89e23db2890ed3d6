#pragma once

#include <tapestry/models/training/optimizers/adam_family.hpp>

namespace tapestry {

struct LambOptions {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-6;
  double weight_decay = 0;
};

/// LAMB, for large batches (You et al. 2020): with Adam's m' and v', d = m' / (sqrt(v') + epsilon) + weight_decay p;
/// the step is rate |p| / |d| d with the norms of the whole parameter (rate d where one of them is 0).
template <class T>
class Lamb final : public AdamFamily<T> {
 public:
  /// @throws Error for options out of range
  explicit Lamb(const ParameterGroups<T>& parameters, const LambOptions& options = {});

 private:
  using typename Optimizer<T>::Step;
  using typename Optimizer<T>::Terms;
  void prepare(const Step& step) override;
  void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const override;
  void update_all(T* parameter, const T* gradient, T* const* state, std::int64_t n, const Terms& terms) const override;
  bool by_rows() const override { return false; }
  double rate_ = 0;
  detail::LambStep<T> lamb_{};
};

extern template class Lamb<float>;
extern template class Lamb<double>;

}  // namespace tapestry
