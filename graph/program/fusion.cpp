#include <algorithm>
#include <memory>
#include <unordered_map>

#include <tapestry/graph/program/fused_operation.hpp>
#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {
namespace {

/// Gathers elementwise steps of one shape into groups. A group is closed, and stands at that point of the program, when
/// a step outside reads a result of it.
class Fusion {
 public:
  explicit Fusion(ProgramGraph& graph) : graph_(graph), group_of_(graph.values.size(), -1) {}

  void run() {
    std::vector<ProgramStep> steps = std::move(graph_.steps);
    count_reads(steps);
    for (ProgramStep& step : steps) {
      const int joined = fusable(step) ? group_for(step) : -1;
      for (const ValueId input : step.inputs) {
        const int group = group_of_[graph_.values[input].root];
        if (group >= 0 && group != joined) close(group);
      }
      if (joined < 0) {
        done_.push_back(std::move(step));
        continue;
      }
      group_of_[step.outputs[0]] = joined;
      groups_[static_cast<std::size_t>(joined)].push_back(std::move(step));
    }
    for (std::size_t g = 0; g < groups_.size(); ++g) close(static_cast<int>(g));
    graph_.steps = std::move(done_);
  }

 private:
  static constexpr std::size_t longest = 4096;

  const Shape& shape(ValueId id) const { return graph_.values[id].shape; }

  bool fusable(const ProgramStep& step) const {
    if (!step.elementwise) return false;
    if (step.window != nullptr) return true;
    const Shape& result = shape(step.outputs[0]);
    return std::all_of(step.inputs.begin(), step.inputs.end(),
                       [&](ValueId input) { return broadcast_pattern(shape(input), result).has_value(); });
  }

  // The open group of the step's shape.
  int group_for(const ProgramStep& step) {
    const Shape& result = shape(step.outputs[0]);
    const std::string key = to_string(result);
    const auto found = open_.find(key);
    if (found != open_.end()) {
      const auto& group = groups_[static_cast<std::size_t>(found->second)];
      // A reshaped result is another array to the steps of the group, and windows are into whole ones.
      const bool apart = std::any_of(step.inputs.begin(), step.inputs.end(), [&](ValueId input) {
        const ValueId root = graph_.values[input].root;
        return (root != input || step.window != nullptr) && group_of_[root] == found->second;
      });
      if (group.size() < longest && !apart) return found->second;
      close(found->second);
    }
    groups_.emplace_back();
    open_[key] = static_cast<int>(groups_.size()) - 1;
    return open_[key];
  }

  void count_reads(const std::vector<ProgramStep>& steps) {
    reads_.assign(graph_.values.size(), 0);
    for (const ProgramStep& step : steps)
      for (const ValueId input : step.inputs) ++reads_[graph_.values[input].root];
    for (const ValueId output : graph_.outputs) ++reads_[graph_.values[output].root];
  }

  void close(int index) {
    std::vector<ProgramStep> steps = std::move(groups_[static_cast<std::size_t>(index)]);
    groups_[static_cast<std::size_t>(index)].clear();
    if (steps.empty()) return;
    open_.erase(to_string(shape(steps[0].outputs[0])));
    for (const ProgramStep& step : steps) group_of_[step.outputs[0]] = -1;
    emit(std::move(steps));
  }

  void emit(std::vector<ProgramStep> steps) {
    if (steps.size() == 1 && steps[0].operation) {
      done_.push_back(std::move(steps[0]));
      return;
    }
    FusedPlan plan;
    ProgramStep fused;
    plan.shape = shape(steps[0].outputs[0]);
    std::unordered_map<ValueId, std::uint32_t> registers;
    std::unordered_map<ValueId, int> inner_reads;
    for (const ProgramStep& step : steps) registers.emplace(step.outputs[0], 0);
    for (const ProgramStep& step : steps)
      for (const ValueId input : step.inputs)
        if (registers.contains(input)) ++inner_reads[input];
    registers.clear();
    std::unordered_map<ValueId, bool> made;
    for (const ProgramStep& step : steps) made.emplace(step.outputs[0], true);
    for (const ProgramStep& step : steps)
      for (const ValueId input : step.inputs)
        if (!made.contains(input) &&
            registers.try_emplace(input, static_cast<std::uint32_t>(fused.inputs.size())).second) {
          fused.inputs.push_back(input);
          plan.input_shapes.push_back(shape(input));
        }
    for (std::size_t s = 0; s < steps.size(); ++s)
      registers[steps[s].outputs[0]] = static_cast<std::uint32_t>(fused.inputs.size() + s);
    for (std::size_t s = 0; s < steps.size(); ++s) {
      FusedPlan::Step step{steps[s].form, {}, steps[s].window};
      for (const ValueId input : steps[s].inputs) step.operands.push_back(registers[input]);
      plan.steps.push_back(std::move(step));
      const ValueId result = steps[s].outputs[0];
      if (reads_[result] > inner_reads[result]) {
        plan.outputs.push_back(static_cast<std::uint32_t>(s));
        fused.outputs.push_back(result);
      }
    }
    const bool fits =
        graph_.dtype == DType::float32 ? FusedOperation<float>::fits(plan) : FusedOperation<double>::fits(plan);
    if (!fits) {
      const auto middle = static_cast<std::ptrdiff_t>(steps.size() / 2);
      emit({std::make_move_iterator(steps.begin()), std::make_move_iterator(steps.begin() + middle)});
      emit({std::make_move_iterator(steps.begin() + middle), std::make_move_iterator(steps.end())});
      return;
    }
    fused.name = "fused " + name_of(steps);
    fused.scope = steps.back().scope;
    const auto make = [&]<class T>(T) {
      auto operation = std::make_unique<FusedOperation<T>>(fused.name, std::move(plan));
      fused.in_place = operation->in_place();
      fused.operation = SharedOperation(operation.release());
    };
    if (graph_.dtype == DType::float32)
      make(float());
    else
      make(double());
    done_.push_back(std::move(fused));
  }

  static std::string name_of(const std::vector<ProgramStep>& steps) {
    std::string out;
    for (std::size_t i = 0; i < std::min<std::size_t>(steps.size(), 4); ++i) out += (i ? ", " : "") + steps[i].name;
    return steps.size() > 4 ? out + ", ... (" + std::to_string(steps.size()) + ")" : out;
  }

  ProgramGraph& graph_;
  std::vector<int> group_of_;
  std::vector<int> reads_;
  std::vector<std::vector<ProgramStep>> groups_;
  std::unordered_map<std::string, int> open_;
  std::vector<ProgramStep> done_;
};

}  // namespace

void fuse_elementwise_steps(ProgramGraph& graph) {
  Fusion(graph).run();
}

}  // namespace tapestry::detail
