#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {

/// Runs all rows of a grid through several steps, each of which makes a row from that row and its two neighbours of the
/// step before. Some steps march down the rows together, so that what one writes is still in the cache when the next
/// reads it. Chunks of rows do so in parallel: first what depends on their own rows only (a row less at each inner
/// border with every step), then the wedges between them. A row may take the place of what it was two steps before.
struct RowTiles {
  std::size_t height, steps;
  std::size_t chunks;    ///< of rows, each of at least 2 * (together - 1)
  std::size_t together;  ///< steps that march together
  std::size_t rows;      ///< most rows of a step at a time

  /// row_bytes: of one step's row; row_work: multiplications of one. Depends on sizes only.
  static RowTiles of(std::size_t height, std::size_t steps, std::size_t row_bytes, std::size_t row_work);

  std::size_t border(std::size_t chunk) const { return height * chunk / chunks; }

  /// f(step, first row, last row, chunk); calls of the same chunk are one after the other.
  template <class F>
  void run(F&& f) const {
    for (std::size_t begin = 0; begin < steps; begin += together) {
      const std::size_t count = std::min(together, steps - begin);
      parallel_for(static_cast<std::int64_t>(chunks), 1,
                   [&](std::int64_t c, std::int64_t) { march(begin, count, static_cast<std::size_t>(c), f); });
      if (chunks > 1 && count > 1)
        parallel_for(static_cast<std::int64_t>(chunks) - 1, 1,
                     [&](std::int64_t c, std::int64_t) { wedge(begin, count, static_cast<std::size_t>(c), f); });
    }
  }

 private:
  template <class F>
  void march(std::size_t begin, std::size_t count, std::size_t chunk, F& f) const {
    const std::size_t top = border(chunk), bottom = border(chunk + 1);
    const bool highest = chunk == 0, lowest = chunk + 1 == chunks;
    const std::size_t end = lowest ? height + count - 1 : bottom;
    for (std::size_t front = top; front < end; front += rows)
      for (std::size_t s = 0; s < count; ++s) {
        // The step is a row behind the one before it.
        const std::size_t low = std::max(highest ? 0 : top + s, front > s ? front - s : 0);
        const std::size_t high = std::min(lowest ? height : bottom - s, front + rows > s ? front + rows - s : 0);
        if (low < high) f(begin + s, low, high, chunk);
      }
  }
  template <class F>
  void wedge(std::size_t begin, std::size_t count, std::size_t chunk, F& f) const {
    const std::size_t middle = border(chunk + 1);
    for (std::size_t s = 1; s < count; ++s)
      for (std::size_t low = middle - s; low < middle + s; low += rows)
        f(begin + s, low, std::min(low + rows, middle + s), chunk);
  }
};

}  // namespace tapestry::detail
