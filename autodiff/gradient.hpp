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

/// out += x
void accumulate(DType type, void* out, const void* x, std::int64_t n);
StorageRef copy_storage(const Storage& storage);
StorageRef zero_storage(std::size_t bytes);
/// Turns the gradient of a node into an array, if it is one element that stands for all.
void spread_uniform(DType type, std::int64_t n, StorageRef& gradient);
/// Adds rows [rows, row elements] into a dense array.
void scatter_rows(DType type, void* dense, const Shape& shape, const Indices& rows, const void* values);
inline void scatter_rows(DType type, void* dense, const Shape& shape, const RowsPiece& piece) {
  scatter_rows(type, dense, shape, piece.rows, piece.values->data);
}
/// Adds to the node's accumulated gradient, under its lock. Where there is none yet, an array becomes it: a copy if
/// somebody else holds it, too, unless it may be shared. Once there is an array, rows are added into it.
/// @{
void add_to_gradient(const Node& node, StorageRef dense, bool may_share = false);
void add_to_gradient(const Node& node, RowsPiece rows);
/// @}

}  // namespace tapestry::detail
