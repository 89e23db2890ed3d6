#include <tapestry/graph/unroll.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/residual.hpp>

namespace tapestry::detail {

void fail_state(std::size_t variables, std::size_t expected) {
  fail<GraphError>("unroll", "a step gives a state of ", variables, " variables, it was given ", expected);
}

void check_state_type(const Node* node, DType expected) {
  if (node != nullptr && node->dtype == expected) return;
  fail<GraphError>("unroll",
                   node == nullptr ? "a state's variable has no value" : "a state's variable changes its type");
}

namespace {

void check_options(const UnrollOptions& options, std::int64_t steps) {
  if (steps < 0) fail("unroll", steps, " steps");
  if (options.gradient == LoopGradient::truncated && options.last < 0)
    fail("unroll", "a gradient through the last ", options.last, " steps");
  if (options.segments < 0) fail("unroll", options.segments, " segments");
}

// Runs single steps and notes what they leave.
class Runner {
 public:
  Runner(const Step& step, Nodes state, std::int64_t steps, const UnrollOptions& options)
      : step_(step), options_(options), limit_(steps), width_(state.size()) {
    out_.state = std::move(state);
  }

  void full(std::int64_t end) {
    while (!done(end)) advance(one_step(out_.count, out_.state));
  }

  void truncated() {
    const std::int64_t last = std::min(options_.last, limit_);
    if (options_.tolerance < 0) {
      {
        const NoGradients off;
        full(limit_ - last);
      }
      full(limit_);
      return;
    }
    // The last steps are known only when the loop has stopped: they are run again, recorded.
    std::deque<Nodes> before;
    {
      const NoGradients off;
      while (!done(limit_)) {
        before.push_back(out_.state);
        if (static_cast<std::int64_t>(before.size()) > last) before.pop_front();
        advance(one_step(out_.count, out_.state));
      }
    }
    const auto again = static_cast<std::int64_t>(before.size());
    if (again == 0) return;
    out_.state = std::move(before.front());
    const std::int64_t end = std::exchange(out_.count, out_.count - again);
    for (; out_.count < end; ++out_.count) {
      Nodes next = one_step(out_.count, out_.state);
      if (!out_.outputs.empty()) out_.outputs[static_cast<std::size_t>(out_.count)] = split_outputs(next);
      out_.state = std::move(next);
    }
  }

  template <class T>
  void checkpointed() {
    const auto root = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(limit_))));
    const std::int64_t segments = options_.segments > 0 ? std::min(options_.segments, limit_) : root;
    const std::int64_t length = segments == 0 ? 0 : (limit_ + segments - 1) / segments;
    while (!done(limit_)) segment<T>(std::min(limit_, out_.count + length));
  }

  Steps take() { return std::move(out_); }

 private:
  bool done(std::int64_t end) const { return out_.count >= end || out_.converged; }

  Nodes one_step(std::int64_t t, const Nodes& state) const {
    std::optional<Scope> scope;
    if (!options_.scope.empty()) scope.emplace(options_.scope + "[" + std::to_string(t) + "]");
    return step_(t, state);
  }

  Nodes split_outputs(Nodes& next) const {
    Nodes outputs(std::make_move_iterator(next.begin() + static_cast<std::ptrdiff_t>(width_)),
                  std::make_move_iterator(next.end()));
    next.resize(width_);
    return outputs;
  }

  void advance(Nodes next) {
    if (next.size() > width_) out_.outputs.push_back(split_outputs(next));
    note_change(out_.state, next);
    out_.state = std::move(next);
    ++out_.count;
  }

  void note_change(const Nodes& from, const Nodes& to) {
    if (options_.tolerance < 0) return;
    out_.residuals.push_back(largest_change("unroll", from, to));
    out_.converged = out_.residuals.back() <= options_.tolerance;
  }

  // The number of steps is found out when the segment runs for the first time, and kept for backward.
  template <class T>
  void segment(std::int64_t end) {
    const auto first_run = std::make_shared<Steps>();
    const std::int64_t begin = out_.count;
    const MultiFunction<T> f = [step = step_, options = options_, begin, end,
                                first_run](const std::vector<Var<T>>& at) {
      Nodes state;
      for (const Var<T>& x : at) state.push_back(x.reference());
      const bool again = first_run->count > 0;
      Runner inner(step, std::move(state), end, options);
      inner.out_.count = begin;
      if (again) inner.options_.tolerance = -1;
      inner.full(again ? first_run->count : end);
      std::vector<Var<T>> results;
      for (const Nodes* nodes = &inner.out_.state; const NodeRef& node : *nodes) results.emplace_back(node);
      for (const Nodes& outputs : inner.out_.outputs)
        for (const NodeRef& node : outputs) results.emplace_back(node);
      if (!again) *first_run = {{}, inner.out_.count, inner.out_.converged, std::move(inner.out_.residuals), {}};
      return results;
    };
    std::vector<Var<T>> at;
    for (const NodeRef& node : out_.state) at.emplace_back(node);
    const std::vector<Var<T>> results = checkpoint(f, at);
    const auto steps = static_cast<std::size_t>(first_run->count - begin);
    const std::size_t each = (results.size() - width_) / steps;
    for (std::size_t i = 0; i < width_; ++i) out_.state[i] = results[i].reference();
    for (std::size_t t = 0; t < steps && each > 0; ++t) {
      Nodes outputs;
      for (std::size_t i = 0; i < each; ++i) outputs.push_back(results[width_ + t * each + i].reference());
      out_.outputs.push_back(std::move(outputs));
    }
    out_.count = first_run->count;
    out_.converged = first_run->converged;
    out_.residuals.insert(out_.residuals.end(), first_run->residuals.begin(), first_run->residuals.end());
  }

  const Step& step_;
  UnrollOptions options_;
  std::int64_t limit_;
  std::size_t width_;
  Steps out_;
};

}  // namespace

Steps run_steps(const Step& step, Nodes state, std::int64_t steps, const UnrollOptions& options) {
  check_options(options, steps);
  for (const NodeRef& node : state)
    if (!node) fail<GraphError>("unroll", "a variable of the state has no value");
  const bool floats = !state.empty() && state.front()->dtype == DType::float32;
  if (options.gradient == LoopGradient::checkpointed)
    for (const NodeRef& node : state)
      if (node->dtype != state.front()->dtype)
        fail<GraphError>("unroll", "a checkpointed state mixes float and double");
  Runner runner(step, std::move(state), steps, options);
  switch (options.gradient) {
    case LoopGradient::full:
      runner.full(steps);
      break;
    case LoopGradient::truncated:
      runner.truncated();
      break;
    case LoopGradient::checkpointed:
      floats ? runner.checkpointed<float>() : runner.checkpointed<double>();
      break;
  }
  return runner.take();
}

}  // namespace tapestry::detail
