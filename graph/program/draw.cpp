#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/drawing.hpp>
#include <tapestry/graph/program/state.hpp>

namespace tapestry {

template <class T>
Drawing draw(const Program<T>& program, bool backward) {
  const detail::Executable* executable = backward ? program.state().backward.get() : program.state().forward.get();
  if (executable == nullptr) fail<GraphError>("draw", "the program computes no gradients");
  const detail::ProgramGraph& graph = executable->graph();
  Drawing out;
  std::vector<std::size_t> node(graph.values.size(), detail::MemoryPlan::nowhere);
  std::vector<char> is_output(graph.values.size(), 0);
  for (const detail::ValueId id : graph.outputs) is_output[graph.values[id].root] = 1;
  const auto enter = [&](detail::ValueId id) {
    const detail::ValueId root = graph.values[id].root;
    if (node[root] != detail::MemoryPlan::nowhere) return node[root];
    const detail::ProgramValue& value = graph.values[root];
    Drawing::Node drawn;
    drawn.kind = Drawing::Kind::leaf;
    drawn.name = value.kind == detail::ProgramValue::Kind::input ? "input" : "variable";
    if (value.kind == detail::ProgramValue::Kind::constant)
      drawn.name = "constant", drawn.kind = Drawing::Kind::constant;
    drawn.shape = value.shape;
    drawn.bytes = graph.bytes(root);
    node[root] = out.nodes.size();
    out.nodes.push_back(std::move(drawn));
    return node[root];
  };
  for (const detail::ValueId input : graph.inputs) enter(input);
  for (const detail::ProgramStep& step : graph.steps) {
    Drawing::Node drawn;
    drawn.name = step.name;
    drawn.scope = detail::scope_name(step.scope);
    for (const detail::ValueId input : step.inputs) drawn.inputs.push_back(enter(input));
    drawn.shape = graph.values[step.outputs[0]].shape;
    for (const detail::ValueId output : step.outputs) {
      node[output] = out.nodes.size();
      drawn.bytes += graph.bytes(output);
      if (is_output[output] != 0) drawn.kind = Drawing::Kind::output;
    }
    out.nodes.push_back(std::move(drawn));
  }
  return out;
}

template Drawing draw(const Program<float>&, bool);
template Drawing draw(const Program<double>&, bool);

}  // namespace tapestry
