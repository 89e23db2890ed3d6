#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <tapestry/autodiff/pool.hpp>
#include <tapestry/prob/kernels/pairwise_belief_propagation.hpp>

namespace tapestry::detail {

/// An order in which an iteration of flooding can replace messages in place, and in one pass over memory: tile by tile
/// of variables, whose cavities are found; then the blocks of factors whose variables all have been seen are stepped
/// while the cavities are in a cache. Cavities have places (slots) only for as long. Chunks of tiles are independent of
/// each other, so that threads share them; blocks that join several chunks come behind all of them.
class PairwiseSchedule {
 public:
  template <class T>
  using Numbers = std::vector<T, PoolAllocator<T>>;

  PairwiseSchedule(const PairwiseGraph& graph, std::size_t lanes);

  std::size_t chunks() const { return (tiles() + chunk_tiles_ - 1) / chunk_tiles_; }
  std::size_t first_tile(std::size_t chunk) const { return std::min(chunk * chunk_tiles_, tiles()); }
  std::size_t tiles() const { return (variables_ + tile_ - 1) / tile_; }
  std::size_t first_variable(std::size_t tile) const { return std::min(tile * tile_, variables_); }
  /// Blocks in their order: those that a tile completes are [first_block(tile), first_block(tile + 1)), and those from
  /// first_block(tiles()) on come last.
  const Numbers<std::int32_t>& blocks() const { return blocks_; }
  std::size_t first_block(std::size_t tile) const { return first_block_[tile]; }
  /// Where a block's cavities are, and how many places there are.
  const Numbers<std::int32_t>& slots() const { return slots_; }
  std::size_t slot_count() const { return slot_count_; }

 private:
  void assign_slots(const Numbers<std::int32_t>& first_tile_of, const Numbers<std::int32_t>& last_tile_of);

  std::size_t variables_, tile_, chunk_tiles_, slot_count_ = 0;
  Numbers<std::int32_t> blocks_, slots_;
  Numbers<std::size_t> first_block_;
};

}  // namespace tapestry::detail
