#pragma once

#include <vector>

#include <tapestry/autodiff/node.hpp>

namespace tapestry::detail {

/// The outputs of an operation that has several: values for derivative rules that read them, and gradients collected
/// from the nodes that stand for the outputs.
struct Bundle {
  struct Slot {
    Shape shape;
    StorageRef value;
    StorageRef pending;
    NodeRef pending_variable;
  };
  std::vector<Slot> slots;
  bool pending = false;  ///< whether a sweep has put a gradient into a slot
};

}  // namespace tapestry::detail
