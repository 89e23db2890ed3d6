#pragma once

#include <atomic>
#include <vector>

#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry::detail {

/// Gradient of some rows (slices along axis 0): values [rows, ...]; a row may occur several times.
struct RowsPiece {
  Indices rows;
  StorageRef values;
};

/// The accumulated gradient of a leaf (or a retained node): a dense part, a part by rows, or both.
struct Gradient {
  std::atomic_flag lock;
  StorageRef dense;
  std::vector<RowsPiece> rows;
};

}  // namespace tapestry::detail
