#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

/// An array in which parts of another one stand, with a number elsewhere: slices, padding, and one after the other.
struct Window {
  struct Run {
    std::int64_t to, from;
  };
  std::int64_t length = 0;  ///< elements of each run
  std::vector<Run> runs;    ///< in the order of `to`
  bool whole = false;       ///< whether they fill the array
  double fill = 0;
};

/// The gradient's way back.
std::shared_ptr<const Window> transposed(const Window& window, std::int64_t elements);

/// Copies elements [begin, begin + n) of the array.
template <class T>
void copy_window(const Window& window, const T* from, std::int64_t begin, std::int64_t n, T* to);

}  // namespace tapestry::detail
