#include <tapestry/autodiff/checkpoint.hpp>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/captured_variables.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace detail {
namespace {

template <class T>
class Checkpoint final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  Checkpoint(MultiFunction<T> f, std::size_t explicit_inputs, std::vector<Var<T>> results)
      : f_(std::move(f)), explicit_(explicit_inputs), results_(std::move(results)) {
    for (const Var<T>& result : results_) shapes_.push_back(result.shape());
  }

  std::string_view name() const override { return "checkpoint"; }
  int outputs() const override { return static_cast<int>(shapes_.size()); }
  Shape shape(const Shapes&, int output) const override { return shapes_[static_cast<std::size_t>(output)]; }
  std::uint32_t needs() const override { return Needs::all_inputs; }

  void forward(Forward<T>& c) override {
    std::vector<Var<T>> results = std::exchange(results_, {});
    if (results.empty()) {
      const NoGradients off;
      std::vector<Var<T>> inputs;
      for (std::size_t i = 0; i < explicit_; ++i) {
        const auto x = c.input(static_cast<int>(i));
        Tensor<T> copy = empty_tensor<T>(x.shape);
        std::copy_n(x.data, x.size(), copy.data());
        inputs.emplace_back(std::move(copy));
      }
      results = f_(inputs);
    }
    for (std::size_t k = 0; k < results.size(); ++k)
      std::copy_n(results[k].data(), results[k].size(), c.output(static_cast<int>(k)).data);
  }

  void backward(Backward<T>& c) override {
    BackwardState& state = state_of(c);
    Tape scratch;
    TapeAccess::set_nested(scratch);
    const UseTape use(scratch);
    const EnableGradients on;
    std::vector<Var<T>> inputs;
    std::vector<Node*> targets;
    for (int i = 0; i < c.inputs(); ++i) {
      Node* node = state.node->inputs[i].node;
      if (static_cast<std::size_t>(i) < explicit_) {
        inputs.push_back(Var<T>(NodeRef::share(node)).detach());
        inputs.back().set_requires_grad(node->requires_grad);
        node = inputs.back().node();
      }
      targets.push_back(node);
    }
    const auto [roots, seeds, results] = again(inputs, [&](int k) {
      return c.has_gradient(k) ? make_leaf(dtype_of<T>, shapes_[static_cast<std::size_t>(k)],
                                           state.node->bundle->slots[static_cast<std::size_t>(k)].pending, false)
                               : NodeRef();
    });
    const std::vector<NodeRef> found = gradients(roots, seeds, targets, {.stop_at_targets = true});
    for (int i = 0; i < c.inputs(); ++i)
      if (const NodeRef& g = found[static_cast<std::size_t>(i)]; g && c.wants(i))
        state.sweep.add(state.node->inputs[i].node, StorageRef::share(g->value));
  }

  void vjp(Vjp<T>& c) override {
    const EnableGradients on;
    std::vector<Var<T>> inputs;
    std::vector<Node*> targets;
    std::vector<Var<T>> held;
    for (int i = 0; i < c.inputs(); ++i) {
      // A new node, so that the inner sweep stops here while the result still depends on the input.
      held.push_back(static_cast<std::size_t>(i) < explicit_ ? reshape(c.input(i), c.shape(i)) : c.input(i));
      if (static_cast<std::size_t>(i) < explicit_) inputs.push_back(held.back());
      targets.push_back(held.back().node());
    }
    const auto [roots, seeds, results] =
        again(inputs, [&](int k) { return c.has_gradient(k) ? c.gradient(k).reference() : NodeRef(); });
    const std::vector<NodeRef> found =
        gradients(roots, seeds, targets, {.retain_graph = true, .create_graph = true, .stop_at_targets = true});
    for (int i = 0; i < c.inputs(); ++i)
      if (const NodeRef& g = found[static_cast<std::size_t>(i)]; g && c.wants(i)) c.add(i, Var<T>(g));
  }

 private:
  struct Again {
    std::vector<Node*> roots;
    std::vector<NodeRef> seeds;
    std::vector<Var<T>> results;
  };

  template <class Gradient>
  Again again(const std::vector<Var<T>>& inputs, Gradient gradient) const {
    Again out;
    out.results = f_(inputs);
    for (std::size_t k = 0; k < out.results.size(); ++k) {
      NodeRef seed = gradient(static_cast<int>(k));
      if (!seed || !out.results[k].requires_grad()) continue;
      out.roots.push_back(out.results[k].node());
      out.seeds.push_back(std::move(seed));
    }
    return out;
  }

  MultiFunction<T> f_;
  std::size_t explicit_;
  std::vector<Var<T>> results_;
  std::vector<Shape> shapes_;
};

}  // namespace
}  // namespace detail

template <class T>
std::vector<Var<T>> checkpoint(const MultiFunction<T>& f, const std::vector<Var<T>>& inputs) {
  if (!gradients_enabled() || detail::capturing()) return f(inputs);
  std::vector<Var<T>> all = inputs, results;
  {
    Tape scratch;
    detail::TapeAccess::set_nested(scratch);
    const UseTape use(scratch);
    std::vector<Var<T>> copies;
    for (const Var<T>& x : inputs) {
      copies.push_back(x.detach());
      copies.back().set_requires_grad(x.requires_grad());
    }
    const std::vector<Var<T>> recorded = f(copies);
    std::vector<detail::NodeRef> from, to;
    for (const Var<T>& copy : copies) from.push_back(copy.reference());
    for (const Var<T>& result : recorded) {
      results.push_back(result.detach());
      to.push_back(result.reference());
    }
    for (detail::NodeRef& node : detail::captured_variables(scratch, from, to)) all.emplace_back(std::move(node));
  }
  return apply_all<T>(std::make_unique<detail::Checkpoint<T>>(f, inputs.size(), std::move(results)), all);
}

template <class T>
Var<T> checkpoint(const Function<T>& f, const std::vector<Var<T>>& inputs) {
  const MultiFunction<T> several = [f](const std::vector<Var<T>>& x) { return std::vector<Var<T>>{f(x)}; };
  return checkpoint(several, inputs)[0];
}

template <class T>
std::vector<Var<T>> checkpoint_steps(
    const std::function<std::vector<Var<T>>(std::int64_t t, const std::vector<Var<T>>& state)>& step,
    std::vector<Var<T>> state, std::int64_t steps, std::int64_t segments) {
  if (steps <= 0) return state;
  if (segments <= 0) segments = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(steps))));
  const std::int64_t length = (steps + segments - 1) / segments;
  for (std::int64_t begin = 0; begin < steps; begin += length) {
    const std::int64_t end = std::min(begin + length, steps);
    const MultiFunction<T> segment = [step, begin, end](const std::vector<Var<T>>& at) {
      std::vector<Var<T>> now = at;
      for (std::int64_t t = begin; t < end; ++t) now = step(t, now);
      return now;
    };
    state = checkpoint(segment, state);
  }
  return state;
}

#define TAPESTRY_INSTANTIATE(T)                                                                                 \
  template std::vector<Var<T>> checkpoint(const MultiFunction<T>&, const std::vector<Var<T>>&);                 \
  template Var<T> checkpoint(const Function<T>&, const std::vector<Var<T>>&);                                   \
  template std::vector<Var<T>> checkpoint_steps(                                                                \
      const std::function<std::vector<Var<T>>(std::int64_t, const std::vector<Var<T>>&)>&, std::vector<Var<T>>, \
      std::int64_t, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
