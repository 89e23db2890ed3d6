#include <tapestry/prob/row_tiles.hpp>

#include <atomic>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/threads.hpp>

using namespace tapestry;
using detail::RowTiles;

namespace {

/// Runs the tiles over two buffers of row numbers, each row holding the last step that wrote it; false where a row was
/// made from anything but the step before, twice, not at all, or by another chunk at the same time.
bool sound(const RowTiles& tiles) {
  const std::size_t height = tiles.height;
  std::vector<std::atomic<int>> rows(2 * height), inside(tiles.chunks);
  for (auto& row : rows) row = -1;
  std::atomic<bool> good{true};
  const auto at = [&](std::size_t step, std::size_t y) -> std::atomic<int>& { return rows[step % 2 * height + y]; };
  tiles.run([&](std::size_t step, std::size_t first, std::size_t last, std::size_t chunk) {
    if (chunk >= tiles.chunks || first >= last || last > height || last - first > tiles.rows) {
      good = false;
      return;
    }
    if (inside[chunk].fetch_add(1) != 0) good = false;
    const int n = static_cast<int>(step);
    for (std::size_t y = first; y < last; ++y) {
      for (std::size_t z = y == 0 ? 0 : y - 1; n > 0 && z <= y + 1 && z < height; ++z)
        if (at(step - 1, z) != n - 1) good = false;
      if (at(step, y).exchange(n) != (n < 2 ? -1 : n - 2)) good = false;
    }
    --inside[chunk];
  });
  const int steps = static_cast<int>(tiles.steps);
  for (std::size_t y = 0; y < height; ++y) {
    if (at(tiles.steps - 1, y) != steps - 1) good = false;
    if (steps > 1 && at(tiles.steps - 2, y) != steps - 2) good = false;
  }
  return good;
}

}  // namespace

TEST_CASE("row tiles: every row of every step once, after its neighbours of the step before") {
  const int before = threads();
  for (const int count : {1, 2}) {
    set_threads(count);
    for (std::size_t height : {1, 2, 3, 7, 12, 16, 31, 32, 33, 64, 127, 200})
      for (std::size_t steps : {1, 2, 3, 6, 7, 11, 25})
        for (std::size_t row_bytes : {100, 20000, 300000})
          for (std::size_t row_work : {10, 5000, 1000000}) {
            CAPTURE(height);
            CAPTURE(steps);
            CAPTURE(row_bytes);
            CAPTURE(row_work);
            CHECK(sound(RowTiles::of(height, steps, row_bytes, row_work)));
          }
  }
  set_threads(before);
}

TEST_CASE("row tiles: of any extents that wedges leave room for") {
  for (std::size_t height = 1; height < 40; ++height)
    for (std::size_t chunks = 1; chunks <= height; ++chunks)
      for (std::size_t together = 1; 2 * (together - 1) <= height / chunks; ++together)
        for (std::size_t rows : {1, 2, 5})
          CHECK(sound(RowTiles{.height = height, .steps = 7, .chunks = chunks, .together = together, .rows = rows}));
}

TEST_CASE("row tiles: a large grid has many chunks and several steps at a time, wide rows fewer steps") {
  const RowTiles narrow = RowTiles::of(128, 11, 5120, 24576), wide = RowTiles::of(128, 11, 40000, 200000);
  CHECK(narrow.chunks == 8);
  CHECK(narrow.together == 6);
  CHECK(wide.chunks == 8);
  CHECK(wide.together < 6);
  CHECK((wide.together + 1) * (wide.rows + 2) * 40000 <= 512 << 10);
  CHECK(RowTiles::of(16, 11, 5120, 24576).chunks == 8);
  CHECK(RowTiles::of(16, 11, 100, 100).chunks == 1);
}
