#pragma once

#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry::detail {

/// The variables of a structured state, in its order, whatever their element type.
using Nodes = std::vector<NodeRef>;

template <class S>
inline constexpr bool is_variable = false;
template <class T>
inline constexpr bool is_variable<Var<T>> = true;

template <class S>
concept TupleLike = requires {
  std::tuple_size<S>::value;
};

template <class F>
class StateMembers final : public Members {
 public:
  explicit StateMembers(F& f) : f_(f) {}

 private:
  void parameter(Var<float>& x) override { f_(x); }
  void parameter(Var<double>& x) override { f_(x); }
  F& f_;
};

/// Calls f with each variable of a state: a Var, a struct with members(), a tuple, pair or array, a range of these.
template <class S, class F>
void for_each_variable(S& state, F& f) {
  if constexpr (is_variable<S>) {
    f(state);
  } else if constexpr (Module<S>) {
    StateMembers<F> members(f);
    state.members(members);
  } else if constexpr (TupleLike<S>) {
    std::apply([&](auto&... parts) { (for_each_variable(parts, f), ...); }, state);
  } else {
    for (auto& part : state) for_each_variable(part, f);
  }
}

/// Appends the variables of a state.
template <class S>
void append_nodes(const S& state, Nodes& out) {
  auto f = [&](const auto& x) { out.push_back(x.reference()); };
  for_each_variable(const_cast<S&>(state), f);
}
template <class S>
Nodes nodes_of(const S& state) {
  Nodes out;
  append_nodes(state, out);
  return out;
}

[[noreturn]] void fail_state(std::size_t variables, std::size_t expected);
/// @throws GraphError unless the node is of the type that the state has in this place
void check_state_type(const Node* node, DType expected);

/// The state with other variables, in the order of for_each_variable().
template <class S>
S with_nodes(S state, const NodeRef* nodes, std::size_t count) {
  std::size_t i = 0;
  auto f = [&]<class T>(Var<T>& x) {
    if (i >= count) fail_state(count, i + 1);
    check_state_type(nodes[i].get(), dtype_of<T>);
    x = Var<T>(nodes[i++]);
  };
  for_each_variable(state, f);
  if (i != count) fail_state(count, i);
  return state;
}

}  // namespace tapestry::detail
