#include <tapestry/prob/pairwise_schedule.hpp>

#include <algorithm>

namespace tapestry::detail {
namespace {

// Messages of a tile fit in a first-level cache.
constexpr std::size_t tile_states = 2048;
constexpr std::size_t most_chunks = 32;

}  // namespace

PairwiseSchedule::PairwiseSchedule(const PairwiseGraph& graph, std::size_t lanes)
    : variables_(graph.variables), tile_(std::max<std::size_t>(1, tile_states / graph.states)) {
  const std::size_t blocks = (graph.factors + lanes - 1) / lanes;
  chunk_tiles_ = std::max<std::size_t>(2, (tiles() + most_chunks - 1) / most_chunks);
  // Of each block the tiles that it joins; behind the last tile where these are in several chunks.
  Numbers<std::int32_t> low(blocks), high(blocks);
  first_block_.assign(tiles() + 3, 0);
  for (std::size_t b = 0; b < blocks; ++b) {
    std::int64_t least = graph.first[b * lanes], most = least;
    for (std::size_t f = b * lanes; f < std::min((b + 1) * lanes, graph.factors); ++f) {
      least = std::min({least, graph.first[f], graph.second[f]});
      most = std::max({most, graph.first[f], graph.second[f]});
    }
    const std::size_t from = static_cast<std::size_t>(least) / tile_, to = static_cast<std::size_t>(most) / tile_;
    const bool within = from / chunk_tiles_ == to / chunk_tiles_;
    low[b] = static_cast<std::int32_t>(from);
    high[b] = static_cast<std::int32_t>(within ? to : tiles());
    ++first_block_[static_cast<std::size_t>(high[b]) + 2];
  }
  for (std::size_t t = 2; t < first_block_.size(); ++t) first_block_[t] += first_block_[t - 1];
  blocks_.resize(blocks);
  for (std::size_t b = 0; b < blocks; ++b)
    blocks_[first_block_[static_cast<std::size_t>(high[b]) + 1]++] = static_cast<std::int32_t>(b);
  assign_slots(low, high);
}

void PairwiseSchedule::assign_slots(const Numbers<std::int32_t>& low, const Numbers<std::int32_t>& high) {
  const std::size_t blocks = low.size();
  slots_.assign(blocks, 0);
  // Blocks by the tile that they begin in.
  Numbers<std::size_t> begin(tiles() + 2, 0);
  Numbers<std::int32_t> opened(blocks), free;
  for (std::size_t b = 0; b < blocks; ++b) ++begin[static_cast<std::size_t>(low[b]) + 2];
  for (std::size_t t = 2; t < begin.size(); ++t) begin[t] += begin[t - 1];
  for (std::size_t b = 0; b < blocks; ++b)
    opened[begin[static_cast<std::size_t>(low[b]) + 1]++] = static_cast<std::int32_t>(b);
  for (std::size_t t = 0; t < tiles(); ++t) {
    if (t % chunk_tiles_ == 0) free.clear();  // another thread may still use them
    for (std::size_t n = begin[t]; n < begin[t + 1]; ++n) {
      const auto b = static_cast<std::size_t>(opened[n]);
      const bool reused = !free.empty() && static_cast<std::size_t>(high[b]) < tiles();
      slots_[b] = reused ? free.back() : static_cast<std::int32_t>(slot_count_++);
      if (reused) free.pop_back();
    }
    for (std::size_t n = first_block_[t]; n < first_block_[t + 1]; ++n)
      free.push_back(slots_[static_cast<std::size_t>(blocks_[n])]);
  }
}

}  // namespace tapestry::detail
