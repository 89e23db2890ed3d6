#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <tapestry/graph/archive.hpp>
#include <tapestry/graph/program/update.hpp>
#include <tapestry/models/kernels/optimizer.hpp>
#include <tapestry/models/training/optimizers/parameter_groups.hpp>

namespace tapestry {

/// Limits on gradients before an update; 0: none.
struct Clipping {
  double norm = 0;   ///< of all gradients together: they are scaled down to it (Pascanu et al. 2013)
  double value = 0;  ///< of each element
};

/// A tensor that a method keeps for each parameter.
struct OptimizerTensor {
  std::string name;
  double initial = 0;  ///< value of all elements
};

/// Changes parameters along their gradients. A parameter without a gradient, or that is frozen, stays as it is.
///
/// A gradient that is sparse by rows (embeddings) is applied lazily: only its rows, and their state, are touched. That
/// is the dense update where a zero gradient changes nothing (SGD without momentum, Adagrad; without decay and L1
/// terms). In methods with running means those of the other rows do not decay meanwhile; decay, L1 terms and limits on
/// the norms of rows act on the touched rows only. LAMB makes the gradient dense.
template <class T>
class Optimizer : public ParameterUpdate<T> {
 public:
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// One update from the gradients that the parameters hold.
  /// @throws NumericalError where gradients are to be clipped by a norm that is not finite; nothing is changed then
  void step() final;
  void zero_gradients();

  double rate() const noexcept { return rate_; }
  /// @throws Error unless finite and not negative
  void set_rate(double rate);
  /// @throws Error for negative limits
  void set_clipping(const Clipping& clipping);
  /// Number of calls of step().
  std::int64_t steps() const noexcept { return steps_; }
  std::vector<Var<T>> parameters() const final;
  /// The Euclidean norm of all gradients.
  double gradient_norm() const;

  /// What the method keeps, by names: rate, steps, and its tensors for each parameter.
  void archive(Archive& a);

  // For programs that contain the updates.
  bool in_pieces() const final { return clipping_.norm == 0; }
  bool by_element(std::size_t) const final { return by_rows(); }
  void begin_step() final { ++steps_; }
  bool begin(std::size_t parameter) final;
  void update_elements(std::size_t parameter, const T* gradient, std::int64_t first, std::int64_t count) const final;
  bool update_rows(std::size_t parameter, const detail::GradientProduct<T>& gradient, std::int64_t begin,
                   std::int64_t end) const final;
  void end(std::size_t parameter) final;
  void update_rows(std::size_t parameter, const SparseRows<T>& gradient) final;

 protected:
  struct Setup {
    std::string name;
    double rate;
    double weight_decay = 0;
    /// The decay is rate * weight_decay of the parameter, not a part of the gradient.
    bool decoupled = false;
    std::vector<OptimizerTensor> tensors = {};
  };
  /// @throws Error for a rate or decay out of range, or no parameters
  Optimizer(const ParameterGroups<T>& parameters, Setup setup);

  struct Step {
    double rate;          ///< of this parameter
    double weight_decay;  ///< of this parameter
    std::int64_t count;   ///< of its updates, from 1
  };
  using Terms = detail::UpdateTerms<T>;
  /// Called before the pieces of a parameter, which come in parallel.
  virtual void prepare(const Step& step) = 0;
  virtual void update(T* parameter, const T* gradient, T* const* state, std::size_t n, const Terms& terms) const = 0;
  /// Rows of a matrix, at which the arrays begin, from the factors of the gradient, where the method can.
  virtual bool update_from_factors(T*, T* const*, const detail::GradientProduct<T>&, std::int64_t, std::int64_t,
                                   const Terms&) const {
    return false;
  }
  /// A whole parameter: by default, its pieces.
  virtual void update_all(T* parameter, const T* gradient, T* const* state, std::int64_t n, const Terms& terms) const;
  /// Whether single rows can be updated.
  virtual bool by_rows() const { return true; }
  /// @throws Error "name: what of value" unless good
  void check(bool good, const char* what, double value) const;

 private:
  struct Gradient;
  Gradient gradient_of(const Var<T>& variable) const;
  std::vector<Gradient> gradients() const;
  void apply(std::size_t i, const Gradient& gradient);
  Terms terms_of(std::size_t i, const Step& step, double scale) const;
  void start(std::size_t i, double scale);
  void limit_norms(std::size_t i, const Gradient& gradient);

  Setup setup_;
  std::vector<typename ParameterGroups<T>::Member> members_;
  std::vector<std::vector<Tensor<T>>> tensors_;
  std::vector<std::int64_t> counts_;
  Clipping clipping_;
  // Of the parameter whose update has begun.
  static constexpr std::size_t most_tensors = 4;
  Terms terms_{};
  T* values_ = nullptr;
  T* state_[most_tensors] = {};
  double rate_ = 0;
  std::int64_t steps_ = 0;
};

extern template class Optimizer<float>;
extern template class Optimizer<double>;

}  // namespace tapestry
