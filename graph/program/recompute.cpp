#include <algorithm>
#include <unordered_map>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {
namespace {

// Steps that are computed again for one value.
constexpr int deepest = 8;
// Below this nothing is won; from `large` on a value is read from memory, and any function is cheaper.
constexpr std::size_t small = 4096, large = std::size_t{1} << 18;

bool cheap(const ElementwiseForm& form) {
  using Kind = ElementwiseForm::Kind;
  switch (form.kind) {
    case Kind::window:
    case Kind::broadcast:
    case Kind::select:
      return true;
    case Kind::unary:
      return form.function <= static_cast<int>(Unary::square) || form.function == static_cast<int>(Unary::relu);
    case Kind::binary:
      return form.function <= static_cast<int>(Binary::minimum) && form.function != static_cast<int>(Binary::divide);
    default:
      return false;
  }
}

class Recomputation {
 public:
  Recomputation(ProgramGraph& graph, std::size_t forward)
      : graph_(graph),
        forward_(forward),
        maker_(graph.values.size(), none),
        stored_(graph.values.size(), false),
        depth_(graph.values.size(), unknown) {}

  void run() {
    for (std::size_t s = 0; s < forward_; ++s)
      for (const ValueId output : graph_.steps[s].outputs) maker_[output] = s;
    // What other than elementwise steps read later stays in memory anyway.
    std::vector<bool> read_later(graph_.values.size(), false);
    for (std::size_t s = forward_; s < graph_.steps.size(); ++s)
      for (const ValueId input : graph_.steps[s].inputs) read_later[root(input)] = true;
    for (const ValueId output : graph_.outputs) stored_[root(output)] = true;
    for (ValueId id = 0; id < read_later.size(); ++id)
      if (read_later[id] && !candidate(id)) stored_[id] = true;
    std::vector<ProgramStep> steps(
        std::make_move_iterator(graph_.steps.begin()),
        std::make_move_iterator(graph_.steps.begin() + static_cast<std::ptrdiff_t>(forward_)));
    std::vector<ProgramStep> backward(
        std::make_move_iterator(graph_.steps.begin() + static_cast<std::ptrdiff_t>(forward_)),
        std::make_move_iterator(graph_.steps.end()));
    graph_.steps = std::move(steps);
    for (ProgramStep& step : backward) {
      for (ValueId& input : step.inputs)
        if (again(root(input))) input = clone(input);
      graph_.steps.push_back(std::move(step));
    }
  }

 private:
  static constexpr std::size_t none = ~std::size_t{0};
  static constexpr int unknown = -1, impossible = 1000;

  ValueId root(ValueId id) const { return graph_.values[id].root; }
  // Of values that have memory of their own: whether one may be computed again, were its inputs there.
  bool candidate(ValueId id) const {
    if (maker_[id] == none || graph_.bytes(id) < small) return false;
    const ProgramStep& step = graph_.steps[maker_[id]];
    return step.elementwise && (cheap(step.form) || graph_.bytes(id) >= large);
  }
  bool there(ValueId id) const { return stored_[id] || graph_.values[id].kind != ProgramValue::Kind::computed; }
  // How many steps in a row lead to a value from those that are there.
  int depth(ValueId id) {
    if (there(id)) return 0;
    if (depth_[id] != unknown) return depth_[id];
    depth_[id] = impossible;
    if (!candidate(id)) return impossible;
    int most = 0;
    for (const ValueId input : graph_.steps[maker_[id]].inputs) most = std::max(most, depth(root(input)));
    if (most < deepest) return depth_[id] = most + 1;
    // Kept, so that later ones start from here.
    stored_[id] = most < impossible;
    return stored_[id] ? 0 : impossible;
  }
  bool again(ValueId id) {
    if (id >= maker_.size() || maker_[id] == none || there(id)) return false;
    const int steps = depth(id);
    return steps > 0 && steps <= deepest;
  }
  ValueId clone(ValueId id) {
    const ValueId of = root(id);
    auto found = clones_.find(of);
    if (found == clones_.end()) {
      ProgramStep step = graph_.steps[maker_[of]];
      for (ValueId& input : step.inputs)
        if (!there(root(input))) input = clone(input);
      step.outputs = {graph_.add(Shape(graph_.values[of].shape))};
      found = clones_.emplace(of, step.outputs[0]).first;
      graph_.steps.push_back(std::move(step));
    }
    return id == of ? found->second : graph_.alias(found->second, Shape(graph_.values[id].shape));
  }

  ProgramGraph& graph_;
  std::size_t forward_;
  std::vector<std::size_t> maker_;
  std::vector<bool> stored_;
  std::vector<int> depth_;
  std::unordered_map<ValueId, ValueId> clones_;
};

}  // namespace

void recompute_cheap_steps(ProgramGraph& graph, std::size_t forward) {
  Recomputation(graph, forward).run();
}

}  // namespace tapestry::detail
