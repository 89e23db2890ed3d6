#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

/// Changes parameters along their gradients. A parameter without a gradient stays as it is.
template <class T>
class Optimizer {
 public:
  virtual ~Optimizer() = default;

  /// One update from the gradients that the parameters hold.
  void step();
  void zero_gradients();

  double rate() const noexcept { return rate_; }
  /// @throws Error unless finite and not negative
  void set_rate(double rate);
  std::int64_t steps() const noexcept { return steps_; }
  const std::vector<Var<T>>& parameters() const noexcept { return parameters_; }

 protected:
  /// @throws GraphError for a parameter that is the result of an operation
  Optimizer(std::vector<Var<T>> parameters, double rate, int buffers);
  virtual void update(std::size_t i, T* parameter, const T* gradient, std::int64_t n) = 0;
  /// Zeroed memory of the shape of parameter i, kept between steps.
  T* buffer(std::size_t i, int which) { return buffers_[i][static_cast<std::size_t>(which)].data(); }

 private:
  std::vector<Var<T>> parameters_;
  std::vector<std::vector<Tensor<T>>> buffers_;
  double rate_ = 0;
  std::int64_t steps_ = 0;
};

struct SgdOptions {
  double rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

/// Stochastic gradient descent with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013).
template <class T>
class Sgd final : public Optimizer<T> {
 public:
  Sgd(std::vector<Var<T>> parameters, SgdOptions options = {});

 private:
  void update(std::size_t i, T* parameter, const T* gradient, std::int64_t n) override;
  SgdOptions options_;
};

struct AdamOptions {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  /// Take the decay off the parameters instead of adding it to the gradient (AdamW).
  bool decoupled = false;
};

/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019).
template <class T>
class Adam final : public Optimizer<T> {
 public:
  Adam(std::vector<Var<T>> parameters, AdamOptions options = {});

 private:
  void update(std::size_t i, T* parameter, const T* gradient, std::int64_t n) override;
  AdamOptions options_;
};

}  // namespace tapestry
