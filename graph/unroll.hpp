#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/graph/state.hpp>

namespace tapestry {

/// How gradients pass through the steps of a loop.
enum class LoopGradient {
  full,          ///< all steps are recorded
  truncated,     ///< only the last steps are: the state before them counts as a constant
  checkpointed,  ///< exact, in memory for O(sqrt(steps)) states: backward computes the steps again, segment by segment
};

struct UnrollOptions {
  LoopGradient gradient = LoopGradient::full;
  /// truncated: how many steps are recorded.
  std::int64_t last = 0;
  /// checkpointed: the number of segments; 0 picks about the square root of the number of steps.
  std::int64_t segments = 0;
  /// Stop after a step that changes no element of the state by more than this. Negative: never.
  double tolerance = -1;
  /// Keep the state after each step. The steps that `truncated` leaves out give constants.
  bool trajectory = false;
  /// Record step t in the scope "name[t]", for drawings and profiles. Empty: in none.
  std::string scope = "";
};

/// What a loop leaves.
template <class State>
struct Unrolled {
  State state;
  std::int64_t steps = 0;
  /// Whether `tolerance` was reached.
  bool converged = false;
  /// The largest change of an element in each step; only where a tolerance was given.
  std::vector<double> residuals;
  /// The states after each step, where asked for.
  std::vector<State> trajectory;
};

/// What a scan leaves: the last state, and each step's output.
template <class State, class Output>
struct Scanned {
  State state;
  std::vector<Output> outputs = {};
};
template <class State>
struct Scanned<State, void> {
  State state;
};

namespace detail {

/// The state after step t, followed by what the step puts out.
using Step = std::function<Nodes(std::int64_t t, const Nodes& state)>;

struct Steps {
  Nodes state;
  std::int64_t count = 0;
  bool converged = false;
  std::vector<double> residuals;
  std::vector<Nodes> outputs;
};

Steps run_steps(const Step& step, Nodes state, std::int64_t steps, const UnrollOptions& options);

template <class F, class State>
State call_step(F& step, std::int64_t t, const State& state) {
  if constexpr (std::is_invocable_v<F&, std::int64_t, const State&>)
    return step(t, state);
  else
    return step(state);
}

/// The slices of a variable along axis 0. Those of a constant are made when a step asks for them, so that a
/// checkpointed scan does not hold all of them; gradients to a variable pass through slices that are made once.
template <class T>
class ScanSlices {
 public:
  using value_type = Var<T>;
  explicit ScanSlices(const Var<T>& whole)
      : whole_(whole),
        size_(whole.shape().rank() > 0 ? whole.shape()[0] : 0),
        version_(whole.reference()->value->version) {
    if (whole.shape().rank() == 0) fail<ShapeError>("scan", "the inputs are a number, which has no axis to run along");
    if (whole.requires_grad() && size_ > 0) slices_ = unbind(whole, 0);
  }
  std::size_t size() const { return static_cast<std::size_t>(size_); }
  Var<T> operator[](std::size_t t) const {
    if (!slices_.empty()) return slices_[t];
    if (whole_.reference()->value->version != version_)
      fail<GraphError>("scan", "the inputs of shape ", whole_.shape(), " were changed in place before step ", t);
    return select(whole_, 0, static_cast<std::int64_t>(t));
  }

 private:
  Var<T> whole_;
  std::int64_t size_;
  std::uint32_t version_;
  std::vector<Var<T>> slices_;
};

template <class T>
ScanSlices<T> scan_inputs(const Var<T>& inputs) {
  return ScanSlices<T>(inputs);
}
template <class Input>
const std::vector<Input>& scan_inputs(const std::vector<Input>& inputs) {
  return inputs;
}

template <class Result, class State>
struct ScanOutput {
  using type = typename Result::second_type;
};
template <class State>
struct ScanOutput<State, State> {
  using type = void;
};

}  // namespace detail

/// state = step(state) or step(t, state), for t = 0 .. steps-1. A state is a variable, a tuple, pair, array or vector
/// of variables, or a struct with members(); all of one element type where it is checkpointed. Shapes may change from
/// step to step, but not where a tolerance is given. What the step of a checkpointed loop refers to must live until
/// backward.
/// @throws GraphError where a step changes the number or type of the state's variables, Error for bad options
template <class F, class State>
Unrolled<State> unroll(F step, const State& state, std::int64_t steps, const UnrollOptions& options = {}) {
  const bool trajectory = options.trajectory;
  const detail::Step erased = [step, state, trajectory](std::int64_t t, const detail::Nodes& at) mutable {
    const State next = detail::call_step<F, State>(step, t, detail::with_nodes(state, at.data(), at.size()));
    detail::Nodes nodes = detail::nodes_of(next);
    if (nodes.size() != at.size()) detail::fail_state(nodes.size(), at.size());
    if (trajectory) detail::append_nodes(next, nodes);
    return nodes;
  };
  detail::Steps found = detail::run_steps(erased, detail::nodes_of(state), steps, options);
  Unrolled<State> out{detail::with_nodes(state, found.state.data(), found.state.size()),
                      found.count,
                      found.converged,
                      std::move(found.residuals),
                      {}};
  for (const detail::Nodes& nodes : found.outputs)
    out.trajectory.push_back(detail::with_nodes(state, nodes.data(), nodes.size()));
  return out;
}

/// Runs over `inputs`: a vector, or a variable whose slices along axis 0 are the inputs. step(state, input) gives the
/// next state, or a pair of it and an output; outputs are collected. The options `tolerance` and `trajectory` do not
/// apply.
/// @throws as unroll()
template <class F, class State, class Inputs>
auto scan(F step, const State& state, const Inputs& inputs, UnrollOptions options = {}) {
  using All = std::remove_cvref_t<decltype(detail::scan_inputs(inputs))>;
  using Input = typename All::value_type;
  // Shared: every segment of a checkpointed scan has a copy of the step.
  const auto all = std::make_shared<const All>(detail::scan_inputs(inputs));
  using Result = std::remove_cvref_t<std::invoke_result_t<F&, const State&, const Input&>>;
  using Output = typename detail::ScanOutput<Result, State>::type;
  constexpr bool has_output = !std::is_void_v<Output>;
  options.tolerance = -1;
  // What an output looks like, until all steps have run for the first time.
  using Like = std::conditional_t<has_output, std::optional<Output>, std::nullptr_t>;
  const auto like = std::make_shared<std::pair<bool, Like>>();
  const detail::Step erased = [step, state, like, all](std::int64_t t, const detail::Nodes& at) mutable {
    const Result result = step(detail::with_nodes(state, at.data(), at.size()), (*all)[static_cast<std::size_t>(t)]);
    detail::Nodes nodes;
    if constexpr (has_output)
      detail::append_nodes(result.first, nodes);
    else
      detail::append_nodes(result, nodes);
    if (nodes.size() != at.size()) detail::fail_state(nodes.size(), at.size());
    if constexpr (has_output) {
      detail::append_nodes(result.second, nodes);
      if (!like->first && !like->second) like->second = result.second;
    }
    return nodes;
  };
  const auto count = static_cast<std::int64_t>(all->size());
  const detail::Steps found = detail::run_steps(erased, detail::nodes_of(state), count, options);
  Scanned<State, Output> out{detail::with_nodes(state, found.state.data(), found.state.size())};
  if constexpr (has_output) {
    for (const detail::Nodes& nodes : found.outputs)
      out.outputs.push_back(detail::with_nodes(*like->second, nodes.data(), nodes.size()));
    *like = {true, std::nullopt};
  }
  return out;
}

}  // namespace tapestry
