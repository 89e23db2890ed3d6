#include <tapestry/prob/row_tiles.hpp>

namespace tapestry::detail {

RowTiles RowTiles::of(std::size_t height, std::size_t steps, std::size_t row_bytes, std::size_t row_work) {
  // Half of a second-level cache of a megabyte, and about ten microseconds of multiplications.
  constexpr std::size_t cache = 512 << 10, chunk_work = 65536;
  constexpr std::size_t most_together = 6, most_rows = 4;
  const std::size_t rounds = (steps + most_together - 1) / most_together;
  RowTiles t{height, steps, 1, (steps + rounds - 1) / rounds, most_rows};
  // Several steps' wedges are small beside chunks of 16 rows; lower grids still give eight threads something to do.
  const std::size_t least_rows = std::clamp<std::size_t>(height / 8, 1, 16);
  t.chunks = std::max<std::size_t>(1, height / std::max(least_rows, chunk_work / (row_work + 1)));
  t.together = std::clamp<std::size_t>(height / t.chunks / 2, 1, t.together);
  // Each step's rows stay until the next step has gone over them.
  const auto fits = [&] { return (t.together + 1) * (t.rows + 2) * row_bytes <= cache; };
  while (t.together > 1 && !fits()) {
    if (t.rows > 1)
      t.rows /= 2;
    else
      --t.together;
  }
  if (t.together == 1) t.rows = most_rows;
  return t;
}

}  // namespace tapestry::detail
