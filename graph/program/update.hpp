#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/program/gradient_product.hpp>

namespace tapestry {

/// What a program needs of an optimiser to make its updates part of a run.
template <class T>
class ParameterUpdate {
 public:
  virtual ~ParameterUpdate() = default;
  /// Those that it updates; numbers of parameters below are places in it.
  virtual std::vector<Var<T>> parameters() const = 0;
  /// One update from the gradients that the parameters hold.
  virtual void step() = 0;

  /// Whether a parameter may be updated now before the gradients of the others are known.
  virtual bool in_pieces() const = 0;
  /// Whether the elements of a parameter may be updated before the gradient of the others is known.
  virtual bool by_element(std::size_t parameter) const = 0;
  /// What step() does before it updates parameters.
  virtual void begin_step() = 0;
  /// @return whether the parameter is to be updated, and not frozen
  virtual bool begin(std::size_t parameter) = 0;
  /// Updates `count` elements from `first` on of the parameter that was begun; several threads may call it. All
  /// elements at once where by_element() is false.
  virtual void update_elements(std::size_t parameter, const T* gradient, std::int64_t first,
                               std::int64_t count) const = 0;
  /// Updates the rows of a matrix from `begin` to `end` (excluded) from the factors of its gradient, which then is
  /// never in memory; several threads may call it. @return false, with nothing done, where the elements of the gradient
  /// are needed
  virtual bool update_rows(std::size_t, const detail::GradientProduct<T>&, std::int64_t, std::int64_t) const {
    return false;
  }
  virtual void end(std::size_t parameter) = 0;
  /// Updates the parameter that was begun from a gradient by rows, and ends it.
  virtual void update_rows(std::size_t parameter, const SparseRows<T>& gradient) = 0;
};

namespace detail {

/// The updates of one run.
template <class T>
struct UpdateRun {
  ParameterUpdate<T>* rule = nullptr;
  std::vector<Var<T>> parameters;  ///< that the program changes
  std::vector<Var<T>> frozen;      ///< those of the rule's that it reads only
  bool begun = false;

  void begin() {
    if (!begun) rule->begin_step();
    begun = true;
  }
  bool begin(std::size_t parameter) {
    begin();
    return rule->begin(parameter);
  }
};

}  // namespace detail
}  // namespace tapestry
