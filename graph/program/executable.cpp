#include <tapestry/graph/program/executable.hpp>

#include <tapestry/autodiff/observer.hpp>

namespace tapestry::detail {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

}  // namespace

Executable::Executable(ProgramGraph graph, std::vector<ValueId> apart)
    : graph_(std::move(graph)), apart_(std::move(apart)), plan_(plan_memory(graph_, apart_)) {
  arena_ = StorageRef(new_storage(plan_.arena_bytes));
  external_of_.assign(graph_.values.size(), none);
  for (std::size_t i = 0; i < graph_.inputs.size(); ++i) external_of_[graph_.inputs[i]] = static_cast<std::uint32_t>(i);
  apart_begin_ = graph_.inputs.size();
  const std::size_t variables_begin = apart_begin_ + apart_.size();
  for (ValueId id = 0; id < graph_.values.size(); ++id) {
    const ProgramValue& value = graph_.values[id];
    if (plan_.apart[id] != MemoryPlan::nowhere)
      external_of_[id] = static_cast<std::uint32_t>(apart_begin_ + plan_.apart[id]);
    if (value.kind != ProgramValue::Kind::variable) continue;
    external_of_[id] = static_cast<std::uint32_t>(variables_begin + variables_.size());
    variables_.push_back(id);
  }
  external_.assign(variables_begin + variables_.size(), nullptr);
  for (const ProgramStep& step : graph_.steps) {
    steps_.push_back({step.operation.get(), step.scope, static_cast<std::uint32_t>(inputs_.size()),
                      static_cast<std::uint32_t>(step.inputs.size()), static_cast<std::uint32_t>(outputs_.size()),
                      static_cast<std::uint32_t>(step.outputs.size())});
    for (const ValueId id : step.inputs) {
      resolve(inputs_, external_inputs_, id);
      input_shapes_.push_back(&graph_.values[id].shape);
    }
    for (const ValueId id : step.outputs) {
      resolve(outputs_, external_outputs_, id);
      output_shapes_.push_back(&graph_.values[id].shape);
    }
  }
}

void Executable::resolve(std::vector<void*>& pointers, std::vector<External>& externals, ValueId id) {
  const ValueId root = graph_.values[id].root;
  if (external_of_[root] != none)
    externals.push_back({static_cast<std::uint32_t>(pointers.size()), external_of_[root]});
  pointers.push_back(const_cast<void*>(data(id)));
}

const void* Executable::data(ValueId id) const {
  const ValueId root = graph_.values[id].root;
  if (external_of_[root] != none) return external_[external_of_[root]];
  const ProgramValue& value = graph_.values[root];
  if (value.kind == ProgramValue::Kind::constant) return value.node->value->data;
  return plan_.offset[root] == MemoryPlan::nowhere ? nullptr : arena_.as<const char>() + plan_.offset[root];
}

void Executable::run() {
  for (std::size_t i = 0; i < variables_.size(); ++i)
    external_[apart_begin_ + apart_.size() + i] = graph_.values[variables_[i]].node->value->data;
  for (const External& external : external_inputs_) inputs_[external.at] = external_[external.source];
  for (const External& external : external_outputs_) outputs_[external.at] = external_[external.source];
  Observer* const watching = observer();
  for (const Step& step : steps_) {
    if (watching != nullptr) [[unlikely]]
      watching->begin(*step.operation, step.scope, false);
    step.operation->run_forward({inputs_.data() + step.input, input_shapes_.data() + step.input, step.inputs,
                                 outputs_.data() + step.output, output_shapes_.data() + step.output});
    if (watching != nullptr) [[unlikely]]
      watching->end(*output_shapes_[step.output], 0);
  }
}

}  // namespace tapestry::detail
