#pragma once

#include <algorithm>
#include <cstddef>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {

/// parallel_for over unsigned ranges: f(begin, end).
template <class F>
void split(std::size_t n, std::size_t grain, F&& f) {
  parallel_for(
      static_cast<std::int64_t>(n), static_cast<std::int64_t>(std::max<std::size_t>(1, grain)),
      [&](std::int64_t begin, std::int64_t end) { f(static_cast<std::size_t>(begin), static_cast<std::size_t>(end)); });
}

}  // namespace tapestry::detail
