#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/program/affine.hpp>
#include <tapestry/graph/program/state.hpp>
#include <tapestry/graph/program/updates.hpp>

namespace tapestry {

template <class T>
void Program<T>::State::attach(ParameterUpdate<T>& rule) {
  if (backward == nullptr)
    fail<GraphError>("attach", "output 0 has no gradient: it must have one element and depend on what requires one");
  auto run = std::make_shared<detail::UpdateRun<T>>();
  run->rule = &rule;
  const std::vector<Var<T>> parameters = rule.parameters();
  detail::UpdatePlan plan;
  std::vector<char> taken(wanted.size(), 0);
  for (std::size_t k = 0; k < variables.size(); ++k) {
    const auto found = std::find_if(parameters.begin(), parameters.end(),
                                    [&](const Var<T>& p) { return p.node() == variables[k].get(); });
    taken[k] = found != parameters.end();
    if (taken[k] != 0) run->parameters.push_back(*found);
    plan.parameters.push_back(taken[k] != 0 ? static_cast<std::size_t>(found - parameters.begin())
                                            : detail::UpdatePlan::nobody);
  }
  for (const detail::ProgramValue& value : source.values)
    for (const Var<T>& p : parameters)
      if (p.node() == value.node.get() && !value.differentiable) run->frozen.push_back(p);
  if (run->parameters.empty())
    fail<GraphError>("attach", "the program reads no parameter of the optimiser that requires a gradient");
  plan.parameters.resize(wanted.size(), detail::UpdatePlan::nobody);

  detail::ProgramGraph graph = source;
  detail::find_windows(graph);
  detail::remove_dead_steps(graph);
  detail::Differentiated both = detail::differentiate(std::move(graph), wanted);
  plan.variables = wanted;
  plan.gradients = both.gradients;
  plan.rows = both.rows;
  detail::insert_updates(both.graph, plan, run);
  detail::stream_few_rows(both.graph);
  both.graph.outputs.resize(both.outputs);
  for (std::size_t k = 0; k < wanted.size(); ++k) {
    if (taken[k] != 0)
      both.gradients[k] = detail::no_value;
    else if (both.gradients[k] != detail::no_value)
      both.graph.outputs.push_back(both.gradients[k]);
  }
  std::erase_if(both.rows, [&](const detail::RowsGradient& part) { return taken[part.wanted] != 0; });
  for (const detail::RowsGradient& part : both.rows) both.graph.outputs.push_back(part.values);
  auto planned = std::make_unique<detail::Executable>(std::move(both.graph), std::move(both.gradients));
  if (latest == training.get()) latest = nullptr;
  training = std::move(planned);
  training_rows = std::move(both.rows);
  updates = std::move(run);
  updated = std::move(taken);
  report.training = detail::part_of(*training);
}

template <class T>
void Program<T>::State::train(std::span<const Var<T>> inputs) {
  if (training == nullptr) fail<GraphError>("train", "no optimiser is attached to the program");
  ParameterUpdate<T>& rule = *updates->rule;
  for (const Var<T>& parameter : updates->frozen)
    if (parameter.requires_grad())
      fail<GraphError>("train", "a parameter of shape ", parameter.shape(),
                       " was frozen when the program was captured, and is no longer: capture it again");
  const auto zero = [&] {
    for (Var<T>& parameter : updates->parameters) parameter.zero_gradient();
  };
  zero();
  if (rule.in_pieces()) {
    updates->begun = false;
    run_gradients(*training, inputs, training_rows, updated);
    updates->begin();
  } else {
    run_backward(inputs);
    rule.step();
    zero();
  }
}

template void Program<float>::State::attach(ParameterUpdate<float>&);
template void Program<double>::State::attach(ParameterUpdate<double>&);
template void Program<float>::State::train(std::span<const Var<float>>);
template void Program<double>::State::train(std::span<const Var<double>>);

}  // namespace tapestry
