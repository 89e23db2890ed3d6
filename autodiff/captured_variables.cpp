#include <tapestry/autodiff/captured_variables.hpp>

#include <unordered_set>

#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {

std::vector<NodeRef> captured_variables(const Tape& tape, std::span<const NodeRef> inputs,
                                        std::span<const NodeRef> results) {
  std::unordered_set<const Node*> seen;
  for (const NodeRef& x : inputs) seen.insert(x.get());
  std::vector<NodeRef> out;
  const auto note = [&](Node* node) {
    if (node->requires_grad && node->tape != &tape && seen.insert(node).second) out.push_back(NodeRef::share(node));
  };
  for (const Node* node = TapeAccess::first(tape); node != nullptr; node = node->next)
    for (std::size_t i = 0; i < node->input_count; ++i) note(node->inputs[i].node);
  for (const NodeRef& result : results) note(result.get());
  return out;
}

}  // namespace tapestry::detail
