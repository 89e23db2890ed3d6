#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

void fold_constants(ProgramGraph& graph) {
  const auto is_constant = [&](ValueId id) {
    return graph.values[graph.values[id].root].kind == ProgramValue::Kind::constant;
  };
  std::erase_if(graph.steps, [&](const ProgramStep& step) {
    if (!step.operation || step.operation->random() || step.operation->shares_input() || step.outputs.size() != 1 ||
        !std::all_of(step.inputs.begin(), step.inputs.end(), is_constant))
      return false;
    // Labels and what other operations find may change.
    if (auto* saved = dynamic_cast<SavedOperation*>(step.operation.get())) {
      Attributes a;
      saved->attributes(a);
      if (!a.arrays_read().empty()) return false;
    }
    std::vector<const void*> data;
    std::vector<const Shape*> shapes;
    for (const ValueId input : step.inputs) {
      data.push_back(graph.values[graph.values[input].root].node->value->data);
      shapes.push_back(&graph.values[input].shape);
    }
    ProgramValue& result = graph.values[step.outputs[0]];
    result.kind = ProgramValue::Kind::constant;
    result.differentiable = false;
    result.node = make_leaf(graph.dtype, result.shape, false);
    void* const output = result.node->value->data;
    const Shape* const shape = &result.shape;
    step.operation->run_forward({data.data(), shapes.data(), data.size(), &output, &shape});
    return true;
  });
}

namespace {

// What a step computes of its inputs, where that is known: a name and attributes. Otherwise the operation itself.
std::pair<std::string, const void*> identity(const ProgramStep& step) {
  if (step.window != nullptr) return {"window", step.window.get()};
  if (step.elementwise) {
    Attributes a;
    ElementwiseForm form = step.form;
    a(form.kind), a(form.function), a(form.p), a(form.q);
    return {a.bytes(), nullptr};
  }
  if (auto* saved = dynamic_cast<SavedOperation*>(step.operation.get())) {
    Attributes a;
    saved->attributes(a);
    if (a.arrays_read().empty() && a.arrays_written().empty())
      return {std::string(step.operation->name()) + '\0' + a.bytes(), nullptr};
  }
  return {"", step.operation.get()};
}

}  // namespace

std::size_t merge_common_steps(ProgramGraph& graph) {
  std::vector<ValueId> same(graph.values.size());
  for (std::size_t i = 0; i < same.size(); ++i) same[i] = static_cast<ValueId>(i);
  using Key = std::tuple<std::string, const void*, std::vector<std::int64_t>, std::vector<ValueId>, bool>;
  std::map<Key, ValueId> known;
  const std::size_t before = graph.steps.size();
  std::erase_if(graph.steps, [&](ProgramStep& step) {
    for (ValueId& input : step.inputs) input = same[input];
    if (step.outputs.size() != 1 || (step.operation && step.operation->random())) return false;
    const ProgramValue& result = graph.values[step.outputs[0]];
    auto [name, operation] = identity(step);
    const auto [entry, added] = known.try_emplace(
        Key{std::move(name), operation, {result.shape.begin(), result.shape.end()}, step.inputs, result.differentiable},
        step.outputs[0]);
    if (added) return false;
    same[step.outputs[0]] = entry->second;
    return true;
  });
  for (ValueId& output : graph.outputs) output = same[output];
  for (ProgramValue& value : graph.values) value.root = same[value.root];
  // Renamed values follow what they stand for.
  for (ProgramValue& value : graph.values) value.root = graph.values[value.root].root;
  return before - graph.steps.size();
}

std::size_t remove_dead_steps(ProgramGraph& graph) {
  std::vector<char> read(graph.values.size(), 0);
  // What operations compute beside their results, for others to read.
  std::set<const void*> arrays;
  for (const Indices& positions : graph.positions) arrays.insert(positions.data());
  const auto mark = [&](ValueId id) { read[id] = read[graph.values[id].root] = 1; };
  for (const ValueId output : graph.outputs) mark(output);
  std::vector<ProgramStep> kept;
  for (auto step = graph.steps.rbegin(); step != graph.steps.rend(); ++step) {
    Attributes a;
    if (auto* saved = step->elementwise ? nullptr : dynamic_cast<SavedOperation*>(step->operation.get()))
      saved->attributes(a);
    const auto needed = [&](const void* array) { return arrays.contains(array); };
    if (std::none_of(step->outputs.begin(), step->outputs.end(), [&](ValueId id) { return read[id] != 0; }) &&
        std::none_of(a.arrays_written().begin(), a.arrays_written().end(), needed))
      continue;
    for (const ValueId input : step->inputs) mark(input);
    arrays.insert(a.arrays_read().begin(), a.arrays_read().end());
    kept.push_back(std::move(*step));
  }
  const std::size_t removed = graph.steps.size() - kept.size();
  graph.steps.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
  return removed;
}

}  // namespace tapestry::detail
