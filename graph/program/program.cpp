#include <tapestry/graph/program/program.hpp>

#include <algorithm>
#include <cstring>
#include <iomanip>
#include <ostream>
#include <sstream>

#include <tapestry/autodiff/gradient.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/program/affine.hpp>
#include <tapestry/graph/program/recorder.hpp>
#include <tapestry/graph/program/state.hpp>

namespace tapestry {
namespace {

void print_part(std::ostream& out, const char* name, const ProgramReport::Part& part) {
  out << std::left << std::setw(10) << name << std::right << std::setw(8) << part.steps << std::setw(16)
      << part.values_bytes << std::setw(16) << part.peak_bytes << std::setw(9) << std::fixed << std::setprecision(2)
      << (part.peak_bytes > 0 ? static_cast<double>(part.values_bytes) / static_cast<double>(part.peak_bytes) : 1)
      << '\n';
}

// Steps that give an array another shape take no time.
void remove_renamings(detail::ProgramGraph& graph) {
  std::erase_if(graph.steps,
                [](const detail::ProgramStep& step) { return step.operation && step.operation->shares_input(); });
}

}  // namespace

ProgramReport::Part detail::part_of(const Executable& executable) {
  return {executable.graph().steps.size(), executable.plan().values_bytes, executable.plan().arena_bytes};
}

detail::Differentiated detail::differentiate(ProgramGraph graph, const std::vector<ValueId>& wanted) {
  Differentiated out;
  out.outputs = graph.outputs.size();
  const std::size_t before = graph.values.size();
  AppendedGradients found = append_gradients(graph, wanted);
  std::vector<bool> is_gradient(graph.values.size(), true);
  std::fill_n(is_gradient.begin(), before, false);
  for (const ValueId id : found.whole)
    if (id != no_value) graph.outputs.push_back(id);
  for (const RowsGradient& part : found.rows) graph.outputs.push_back(part.values);
  merge_common_steps(graph);
  remove_dead_steps(graph);
  std::size_t next = out.outputs;
  for (const ValueId id : found.whole) out.gradients.push_back(id == no_value ? id : graph.outputs[next++]);
  for (RowsGradient& part : found.rows) part.values = graph.outputs[next++];
  out.rows = std::move(found.rows);
  remove_renamings(graph);
  std::size_t forward_steps = 0;
  while (forward_steps < graph.steps.size() && !is_gradient[graph.steps[forward_steps].outputs[0]]) ++forward_steps;
  recompute_cheap_steps(graph, forward_steps);
  remove_dead_steps(graph);
  fuse_elementwise_steps(graph);
  out.graph = std::move(graph);
  return out;
}

std::ostream& operator<<(std::ostream& out, const ProgramReport& report) {
  std::ostringstream text;
  text << report.recorded << " operations recorded: " << report.folded << " constant, " << report.merged
       << " computed twice, " << report.dead << " not needed\n"
       << "              steps    bytes before     bytes after    ratio\n";
  print_part(text, "forward", report.forward);
  if (report.backward.steps > 0) print_part(text, "backward", report.backward);
  if (report.training.steps > 0) print_part(text, "training", report.training);
  return out << text.str();
}

template <class T>
void Program<T>::State::build(detail::ProgramGraph graph) {
  using Kind = detail::ProgramValue::Kind;
  report.recorded = graph.steps.size();
  detail::fold_constants(graph);
  report.folded = report.recorded - graph.steps.size();
  report.merged = detail::merge_common_steps(graph);
  report.dead = detail::remove_dead_steps(graph);
  source = graph;
  detail::find_windows(graph);
  detail::remove_dead_steps(graph);
  for (detail::ValueId id = 0; id < graph.values.size(); ++id)
    if (graph.values[id].kind == Kind::variable && graph.values[id].differentiable) {
      wanted.push_back(id);
      variables.push_back(graph.values[id].node);
    }
  input_gradient.assign(graph.inputs.size(), detail::MemoryPlan::nowhere);
  for (std::size_t i = 0; i < graph.inputs.size(); ++i)
    if (graph.values[graph.inputs[i]].differentiable) {
      input_gradient[i] = wanted.size();
      wanted.push_back(graph.inputs[i]);
    }
  const detail::ProgramValue& result = graph.values[graph.outputs[0]];
  const bool differentiable = result.differentiable && result.shape.elements() == 1 && !wanted.empty();
  if (differentiable) {
    detail::Differentiated both = detail::differentiate(graph, wanted);
    backward_rows = std::move(both.rows);
    pieces.resize(backward_rows.size());
    detail::stream_few_rows(both.graph);
    backward = std::make_unique<detail::Executable>(std::move(both.graph), std::move(both.gradients));
    gradients.resize(wanted.size());
    report.backward = detail::part_of(*backward);
  }
  remove_renamings(graph);
  detail::fuse_elementwise_steps(graph);
  detail::stream_few_rows(graph);
  forward = std::make_unique<detail::Executable>(std::move(graph), std::vector<detail::ValueId>{});
  report.forward = detail::part_of(*forward);
}

template <class T>
void Program<T>::State::bind(detail::Executable& executable, std::span<const Var<T>> inputs) const {
  const detail::ProgramGraph& graph = executable.graph();
  if (inputs.size() != graph.inputs.size())
    fail<ShapeError>("program", "takes ", graph.inputs.size(), " inputs, not ", inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Shape& expected = graph.values[graph.inputs[i]].shape;
    if (!inputs[i].defined()) fail<GraphError>("program", "input ", i, " is a variable without a value");
    if (inputs[i].shape() != expected)
      fail<ShapeError>("program", "input ", i, " has shape ", inputs[i].shape(), ", was captured with ", expected);
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) executable.set_input(i, inputs[i].data());
}

template <class T>
Program<T>::Program() = default;
template <class T>
Program<T>::~Program() = default;
template <class T>
Program<T>::Program(Program&&) noexcept = default;
template <class T>
Program<T>& Program<T>::operator=(Program&&) noexcept = default;
template <class T>
Program<T>::Program(std::unique_ptr<State> state) : state_(std::move(state)) {}

template <class T>
const typename Program<T>::State& Program<T>::state() const {
  if (!state_) fail<GraphError>("program", "nothing was captured");
  return *state_;
}

template <class T>
std::size_t Program<T>::inputs() const {
  return state().forward->graph().inputs.size();
}
template <class T>
std::size_t Program<T>::outputs() const {
  return state().forward->graph().outputs.size();
}
template <class T>
const Shape& Program<T>::input_shape(std::size_t i) const {
  const detail::ProgramGraph& graph = state().forward->graph();
  if (i >= graph.inputs.size()) fail("program", "has ", graph.inputs.size(), " inputs, no number ", i);
  return graph.values[graph.inputs[i]].shape;
}
template <class T>
const Shape& Program<T>::output_shape(std::size_t i) const {
  const detail::ProgramGraph& graph = state().forward->graph();
  if (i >= graph.outputs.size()) fail("program", "has ", graph.outputs.size(), " outputs, no number ", i);
  return graph.values[graph.outputs[i]].shape;
}

template <class T>
void Program<T>::run(std::span<const Var<T>> inputs) {
  state().bind(*state_->forward, inputs);
  state_->forward->run();
  state_->latest = state_->forward.get();
}

template <class T>
void Program<T>::State::run_gradients(detail::Executable& executable, std::span<const Var<T>> inputs,
                                      const std::vector<detail::RowsGradient>& rows,
                                      const std::vector<char>& left_out) {
  bind(executable, inputs);
  // A variable without a gradient, or with one by rows, needs no array.
  const auto asked = [&](std::size_t k) {
    return (left_out.empty() || left_out[k] == 0) &&
           (k >= variables.size() || executable.apart()[k] != detail::no_value);
  };
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (!asked(k)) continue;
    // What somebody else holds now is left to them.
    const auto bytes = executable.graph().bytes(wanted[k]);
    if (!gradients[k] || !gradients[k].unique()) gradients[k] = detail::StorageRef(detail::new_storage(bytes));
    executable.set_apart(k, gradients[k]->data);
  }
  executable.run();
  latest = &executable;
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (!asked(k)) continue;
    const detail::ValueId id = executable.apart()[k];
    detail::Storage& to = *gradients[k].get();
    if (id == detail::no_value)
      std::memset(to.data, 0, to.bytes);
    else if (!executable.is_apart(k))
      std::memcpy(to.data, executable.data(id), to.bytes);
    if (k < variables.size()) add_to_gradient(*variables[k].get(), gradients[k], true);
  }
  for (std::size_t r = 0; r < rows.size(); ++r) {
    // The rows that are named now: the program around may name others before the next run.
    detail::RowsPiece& piece = pieces[r];
    const auto bytes = executable.graph().bytes(rows[r].values);
    if (!piece.values || !piece.values.unique())
      piece = {rows[r].rows.tensor(), detail::StorageRef(detail::new_storage(bytes))};
    else
      piece.rows.assign(rows[r].rows.tensor());
    if (bytes > 0) std::memcpy(piece.values->data, executable.data(rows[r].values), bytes);
    add_to_gradient(*variables[rows[r].wanted].get(), piece);
  }
}

template <class T>
void Program<T>::State::run_backward(std::span<const Var<T>> inputs) {
  if (backward == nullptr) {
    const Shape& result = source.values[source.outputs[0]].shape;
    if (result.elements() != 1)
      fail<ShapeError>("program", "the gradient of output 0 of shape ", result, ", which must have one element");
    fail<GraphError>("program", "output 0 depends on nothing that requires a gradient");
  }
  run_gradients(*backward, inputs, backward_rows, {});
}

template <class T>
void Program<T>::run_backward(std::span<const Var<T>> inputs) {
  state();
  state_->run_backward(inputs);
}

template <class T>
void Program<T>::attach(ParameterUpdate<T>& optimizer) {
  state();
  state_->attach(optimizer);
}

template <class T>
void Program<T>::train(std::span<const Var<T>> inputs) {
  state();
  state_->train(inputs);
}

template <class T>
TensorView<const T> Program<T>::output(std::size_t i) const {
  const State& own = state();
  if (own.latest == nullptr) fail<GraphError>("program", "has not run yet");
  const Shape& shape = output_shape(i);
  const detail::ValueId id = own.latest->graph().outputs[i];
  return detail::adapt<const T>(static_cast<const T*>(own.latest->data(id)), shape, own.latest->arena());
}

template <class T>
const IndexTensor& Program<T>::positions(std::size_t i) const {
  const State& own = state();
  const std::vector<Indices>& all = own.source.positions;
  if (i >= all.size()) fail("program", "finds ", all.size(), " arrays of positions, no number ", i);
  if (own.latest == nullptr) fail<GraphError>("program", "has not run yet");
  return all[i].tensor();
}

template <class T>
TensorView<const T> Program<T>::gradient(std::size_t i) const {
  const State& own = state();
  const Shape& shape = input_shape(i);
  if (own.input_gradient[i] == detail::MemoryPlan::nowhere || own.backward == nullptr)
    fail<GraphError>("program", "the example for input ", i, " did not require a gradient");
  const detail::StorageRef& memory = own.gradients[own.input_gradient[i]];
  if (!memory) fail<GraphError>("program", "run_backward() was not called yet");
  return detail::adapt<const T>(memory.template as<const T>(), shape, memory);
}

template <class T>
const ProgramReport& Program<T>::report() const {
  return state().report;
}

template <class T>
std::vector<Var<T>> Program<T>::variables() const {
  std::vector<Var<T>> out;
  for (const detail::NodeRef& node : state().variables) out.emplace_back(node);
  for (const detail::ProgramValue& value : state().source.values)
    if (value.kind == detail::ProgramValue::Kind::variable && !value.differentiable) out.emplace_back(value.node);
  return out;
}

template <class T>
Program<T> capture(const MultiFunction<T>& f, const std::vector<Var<T>>& inputs) {
  return capture<T>(std::function<CapturedResults<T>(const std::vector<Var<T>>&)>([&f](const std::vector<Var<T>>& x) {
                      return CapturedResults<T>{f(x), {}};
                    }),
                    inputs);
}

template <class T>
Program<T> capture(const std::function<CapturedResults<T>(const std::vector<Var<T>>&)>& f,
                   const std::vector<Var<T>>& inputs) {
  if (detail::capturing()) fail<GraphError>("capture", "is called in a function that is captured");
  detail::Recorder recorder(detail::dtype_of<T>);
  std::vector<detail::NodeRef> results;
  std::vector<Indices> positions;
  {
    Tape tape;
    detail::TapeAccess::set_nested(tape);
    const UseTape use(tape);
    const EnableGradients on;
    std::vector<Var<T>> examples;
    for (const Var<T>& input : inputs) {
      if (!input.defined()) fail<GraphError>("capture", "an example is a variable without a value");
      examples.push_back(input.detach());
      examples.back().set_requires_grad(input.requires_grad());
      recorder.add_input(examples.back().reference());
    }
    const detail::UseObserver observe(&recorder);
    CapturedResults<T> found = f(examples);
    for (const Var<T>& result : found.variables) results.push_back(result.reference());
    positions = std::move(found.positions);
    if (results.empty()) fail<GraphError>("capture", "the function gives no result");
  }
  auto state = std::make_unique<typename Program<T>::State>();
  state->build(recorder.finish(std::move(results), std::move(positions)));
  return Program<T>(std::move(state));
}

template class Program<float>;
template class Program<double>;
template Program<float> capture(const MultiFunction<float>&, const std::vector<Var<float>>&);
template Program<double> capture(const MultiFunction<double>&, const std::vector<Var<double>>&);
template Program<float> capture(const std::function<CapturedResults<float>(const std::vector<Var<float>>&)>&,
                                const std::vector<Var<float>>&);
template Program<double> capture(const std::function<CapturedResults<double>(const std::vector<Var<double>>&)>&,
                                 const std::vector<Var<double>>&);

}  // namespace tapestry
