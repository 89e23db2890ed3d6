#pragma once

#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/strided_view.hpp>

// What captured programs know of operations beside the elementwise ones.
namespace tapestry::detail {

/// Elements of an array at other places: a view of it, or its place in an array that is `fill` elsewhere.
struct Relocation {
  View view;
  bool place = false;
  double fill = 0;
};
class RelocatingOperation {
 public:
  virtual ~RelocatingOperation() = default;
  virtual Relocation relocation() const = 0;
};

/// A sum over axes.
class SummingOperation {
 public:
  virtual ~SummingOperation() = default;
};

/// Slices of input 0 along axis 0, whose gradient is by rows.
class RowsOperation {
 public:
  virtual ~RowsOperation() = default;
  /// Null for other operations of the same class.
  virtual const Indices* rows() const = 0;
};

/// activation(x W + b), where input 1 has rank 2.
class AffineOperation {
 public:
  virtual ~AffineOperation() = default;
  /// False for other products of the same class.
  virtual bool affine() const = 0;
  virtual Activation activation() const { return Activation::none; }
};

}  // namespace tapestry::detail
