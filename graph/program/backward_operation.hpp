#pragma once

#include <string>
#include <vector>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

/// What the backward() of a recorded operation reads and writes.
struct BackwardLayout {
  std::vector<Shape> input_shapes, output_shapes;
  bool several_outputs = false;
  std::vector<int> read_inputs;  ///< whose values it reads
  bool reads_outputs = false;
  std::vector<int> gradients;  ///< the outputs that have one
  std::vector<int> place;      ///< for each input the result that is its gradient, or -1; equal inputs share one
  std::vector<int> results;    ///< for each result an input that has it
  std::vector<int> added;      ///< the results that are added to what was collected before
};

/// The backward() of an operation as an operation itself. Inputs: the values that it reads, inputs then outputs; the
/// outputs' gradients; what is to be added to.
template <class T>
class BackwardOperation final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  BackwardOperation(SharedOperation operation, BackwardLayout layout);

  std::string_view name() const override { return name_; }
  int outputs() const override { return static_cast<int>(layout_.results.size()); }
  Shape shape(const Shapes&, int output) const override { return result_shape(static_cast<std::size_t>(output)); }
  void forward(Forward<T>& c) override;

  /// Which inputs the results may take the memory of.
  std::vector<InPlace> in_place() const;
  const Shape& result_shape(std::size_t k) const {
    return layout_.input_shapes[static_cast<std::size_t>(layout_.results[k])];
  }
  const OperationBase& operation() const { return *operation_.get(); }
  const BackwardLayout& layout() const { return layout_; }

 private:
  SharedOperation operation_;
  BackwardLayout layout_;
  std::string name_;
  NodeRef node_;         // stands for the recorded one; its values are pointers into the program's memory
  StorageRef gradient_;  // of the output, where there is one
  Sweep sweep_;
  std::vector<PlannedGradient> results_;
  std::vector<PlannedGradient*> planned_;
};

}  // namespace tapestry::detail
