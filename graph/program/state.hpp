#pragma once

#include <memory>
#include <span>
#include <vector>

#include <tapestry/graph/program/executable.hpp>
#include <tapestry/graph/program/program.hpp>

namespace tapestry {

template <class T>
struct Program<T>::State {
  std::unique_ptr<detail::Executable> forward, backward;
  std::vector<detail::ValueId> wanted;  // of the captured graph: variables, then inputs
  std::vector<detail::NodeRef> variables;
  std::vector<std::size_t> input_gradient;  // place in `gradients`, or nowhere
  std::vector<detail::StorageRef> gradients;
  detail::Executable* latest = nullptr;
  ProgramReport report;
  detail::ProgramGraph source;  // what was captured, without gradients, before fusion

  void build(detail::ProgramGraph graph);
  void bind(detail::Executable& executable, std::span<const Var<T>> inputs) const;
  void add_to_variable(std::size_t k);
};

}  // namespace tapestry
