#include <tapestry/graph/program/memory_plan.hpp>

#include <algorithm>
#include <map>

namespace tapestry::detail {
namespace {

constexpr std::size_t alignment = 64;

/// Memory of an arena that grows as it must: free pieces by their offsets.
class Arena {
 public:
  std::size_t take(std::size_t bytes) {
    auto best = free_.end();
    for (auto piece = free_.begin(); piece != free_.end(); ++piece)
      if (piece->second >= bytes && (best == free_.end() || piece->second < best->second)) best = piece;
    if (best == free_.end() && !free_.empty() && free_.rbegin()->first + free_.rbegin()->second == end_) {
      best = std::prev(free_.end());
      end_ = best->first + bytes;
      best->second = bytes;
    }
    if (best == free_.end()) {
      end_ += bytes;
      return end_ - bytes;
    }
    const auto [offset, size] = *best;
    free_.erase(best);
    if (size > bytes) free_.emplace(offset + bytes, size - bytes);
    return offset;
  }
  void give_back(std::size_t offset, std::size_t bytes) {
    auto next = free_.upper_bound(offset);
    if (next != free_.end() && offset + bytes == next->first) {
      bytes += next->second;
      next = free_.erase(next);
    }
    if (next != free_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += bytes;
        return;
      }
    }
    free_.emplace(offset, bytes);
  }
  std::size_t bytes() const { return end_; }

 private:
  std::map<std::size_t, std::size_t> free_;
  std::size_t end_ = 0;
};

struct Buffer {
  std::size_t first = MemoryPlan::nowhere;  // step that writes it
  std::size_t last = 0;                     // step that reads it last
  std::size_t bytes = 0;
  std::size_t apart = MemoryPlan::nowhere;
};

}  // namespace

MemoryPlan plan_memory(const ProgramGraph& graph, const std::vector<ValueId>& apart) {
  const auto root = [&](ValueId id) { return graph.values[id].root; };
  const auto computed = [&](ValueId id) { return graph.values[id].kind == ProgramValue::Kind::computed; };
  MemoryPlan plan;
  std::vector<std::size_t> buffer_of(graph.values.size(), MemoryPlan::nowhere);
  std::vector<Buffer> buffers;
  std::vector<std::size_t> last(graph.values.size(), 0);
  for (std::size_t s = 0; s < graph.steps.size(); ++s) {
    for (const ValueId output : graph.steps[s].outputs) last[output] = s;
    for (const ValueId input : graph.steps[s].inputs) last[root(input)] = s;
  }
  for (const ValueId output : graph.outputs) last[root(output)] = graph.steps.size();
  std::vector<std::size_t> wish(graph.values.size(), MemoryPlan::nowhere);
  for (std::size_t k = 0; k < apart.size(); ++k) {
    const ValueId id = apart[k];
    if (id != no_value && id == root(id) && computed(id) && wish[id] == MemoryPlan::nowhere) wish[id] = k;
  }

  for (std::size_t s = 0; s < graph.steps.size(); ++s) {
    const ProgramStep& step = graph.steps[s];
    for (std::size_t k = 0; k < step.outputs.size(); ++k) {
      const ValueId output = step.outputs[k];
      const std::size_t bytes = (graph.bytes(output) + alignment - 1) / alignment * alignment;
      plan.values_bytes += bytes;
      for (const InPlace& pair : step.in_place) {
        const ValueId input = root(step.inputs[pair.input]);
        if (pair.output != k || !computed(input)) continue;
        const std::size_t at = buffer_of[input];
        Buffer& buffer = buffers[at];
        // Read by no later step under another name, by this one once only, and not given to another result.
        const auto readers = std::count_if(step.inputs.begin(), step.inputs.end(),
                                           [&](ValueId other) { return buffer_of[root(other)] == at; });
        if (buffer.last != s || buffer.bytes != bytes || readers != 1 ||
            (buffer.apart != MemoryPlan::nowhere && wish[output] != MemoryPlan::nowhere))
          continue;
        buffer_of[output] = at;
        break;
      }
      if (buffer_of[output] == MemoryPlan::nowhere) {
        buffer_of[output] = buffers.size();
        buffers.push_back({s, s, bytes, MemoryPlan::nowhere});
      }
      Buffer& buffer = buffers[buffer_of[output]];
      buffer.last = std::max(buffer.last, last[output]);
      if (wish[output] != MemoryPlan::nowhere) buffer.apart = wish[output];
    }
  }

  Arena arena;
  std::vector<std::vector<std::size_t>> ends(graph.steps.size() + 1), begins(graph.steps.size());
  for (std::size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].apart != MemoryPlan::nowhere) continue;
    begins[buffers[b].first].push_back(b);
    ends[buffers[b].last].push_back(b);
  }
  std::vector<std::size_t> offset(buffers.size(), MemoryPlan::nowhere);
  for (std::size_t s = 0; s < graph.steps.size(); ++s) {
    for (const std::size_t b : begins[s]) offset[b] = arena.take(buffers[b].bytes);
    for (const std::size_t b : ends[s]) arena.give_back(offset[b], buffers[b].bytes);
  }
  plan.arena_bytes = arena.bytes();
  plan.offset.assign(graph.values.size(), MemoryPlan::nowhere);
  plan.apart = plan.offset;
  for (ValueId id = 0; id < graph.values.size(); ++id) {
    const std::size_t at = buffer_of[root(id)];
    if (at == MemoryPlan::nowhere) continue;
    plan.offset[id] = offset[at];
    plan.apart[id] = buffers[at].apart;
  }
  return plan;
}

}  // namespace tapestry::detail
