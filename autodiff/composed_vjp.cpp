#include <tapestry/autodiff/composed_vjp.hpp>

#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {

template <class T>
void vjp_through(Vjp<T>& c, const MultiFunction<T>& f) {
  const EnableGradients on;
  std::vector<Var<T>> inputs;
  std::vector<Node*> targets;
  // New nodes, so that the inner sweep stops here while the results still depend on the inputs.
  for (int i = 0; i < c.inputs(); ++i) inputs.push_back(reshape(c.input(i), c.shape(i)));
  for (const Var<T>& x : inputs) targets.push_back(x.node());
  const std::vector<Var<T>> results = f(inputs);
  std::vector<Node*> roots;
  std::vector<NodeRef> seeds;
  for (std::size_t k = 0; k < results.size(); ++k) {
    if (!c.has_gradient(static_cast<int>(k)) || !results[k].requires_grad()) continue;
    roots.push_back(results[k].node());
    seeds.push_back(c.gradient(static_cast<int>(k)).reference());
  }
  const std::vector<NodeRef> found =
      gradients(roots, seeds, targets, {.retain_graph = true, .create_graph = true, .stop_at_targets = true});
  for (int i = 0; i < c.inputs(); ++i)
    if (const NodeRef& g = found[static_cast<std::size_t>(i)]; g && c.wants(i)) c.add(i, Var<T>(g));
}

template void vjp_through(Vjp<float>&, const MultiFunction<float>&);
template void vjp_through(Vjp<double>&, const MultiFunction<double>&);

}  // namespace tapestry::detail
