#include <tapestry/autodiff/derivatives.hpp>

#include <algorithm>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace {

template <class T>
std::vector<detail::Node*> nodes_of(const std::vector<Var<T>>& variables) {
  std::vector<detail::Node*> nodes;
  for (const Var<T>& x : variables) nodes.push_back(x.node());
  return nodes;
}

// Leaves with the inputs' values for a function to be traced from; the inputs themselves where they carry a graph.
template <class T>
std::vector<Var<T>> traced(const std::vector<Var<T>>& inputs) {
  std::vector<Var<T>> out;
  for (const Var<T>& x : inputs) {
    out.push_back(x.requires_grad() ? x : x.detach());
    if (!x.requires_grad()) out.back().set_requires_grad(true);
  }
  return out;
}

template <class T>
Shape joined(const Shape& a, const Shape& b) {
  Shape out = a;
  for (const std::int64_t extent : b) out.push_back(extent);
  return out;
}

template <class T>
Tensor<T> unit(const Shape& shape, std::int64_t i) {
  Tensor<T> e(detail::xtensor_shape(shape), T(0));
  e.data()[i] = T(1);
  return e;
}

}  // namespace

template <class T>
std::vector<Var<T>> grad(const Var<T>& y, const std::vector<Var<T>>& xs, const Var<T>& seed, GradOptions options) {
  if (seed.shape() != y.shape())
    fail<ShapeError>("grad", "seed of shape ", seed.shape(), " for a result of shape ", y.shape());
  for (const Var<T>& x : xs)
    if (!x.requires_grad()) fail<GraphError>("grad", "a variable of shape ", x.shape(), " does not require a gradient");
  const EnableGradients on(options.create_graph);
  detail::Node* root = y.node();
  const detail::NodeRef seed_node = seed.reference();
  const auto found = detail::gradients({&root, 1}, {&seed_node, 1}, nodes_of(xs),
                                       {.retain_graph = options.retain_graph, .create_graph = options.create_graph});
  std::vector<Var<T>> out;
  for (std::size_t i = 0; i < xs.size(); ++i) out.push_back(found[i] ? Var<T>(found[i]) : Var<T>::zeros(xs[i].shape()));
  return out;
}

template <class T>
std::vector<Var<T>> grad(const Var<T>& y, const std::vector<Var<T>>& xs, GradOptions options) {
  if (y.size() != 1) fail<ShapeError>("grad", "needs a seed for a result of shape ", y.shape());
  return grad(y, xs, Var<T>::ones(y.shape()), options);
}

template <class T>
std::pair<Var<T>, std::vector<Var<T>>> vjp(const Function<T>& f, const std::vector<Var<T>>& inputs,
                                           const Var<T>& cotangent) {
  const EnableGradients on;
  const std::vector<Var<T>> xs = traced(inputs);
  const Var<T> y = f(xs);
  return {y, grad(y, xs, cotangent, {.retain_graph = true})};
}

template <class T>
std::pair<Var<T>, Var<T>> jvp(const Function<T>& f, const std::vector<Var<T>>& inputs,
                              const std::vector<Var<T>>& tangents) {
  if (tangents.size() != inputs.size()) fail("jvp", tangents.size(), " tangents for ", inputs.size(), " inputs");
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (tangents[i].defined() && tangents[i].shape() != inputs[i].shape())
      fail<ShapeError>("jvp", "tangent of shape ", tangents[i].shape(), " for an input of shape ", inputs[i].shape());
  const EnableGradients on;
  const std::vector<Var<T>> xs = traced(inputs);
  const Var<T> y = f(xs);
  std::vector<detail::NodeRef> given;
  for (const Var<T>& tangent : tangents) given.push_back(tangent.reference());
  detail::Node* root = y.node();
  const auto found = detail::tangents({&root, 1}, nodes_of(xs), given);
  return {y, found[0] ? Var<T>(found[0]) : Var<T>::zeros(y.shape())};
}

template <class T>
std::vector<Var<T>> hvp(const Function<T>& f, const std::vector<Var<T>>& inputs, const std::vector<Var<T>>& vectors) {
  if (vectors.size() != inputs.size()) fail("hvp", vectors.size(), " vectors for ", inputs.size(), " inputs");
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (vectors[i].shape() != inputs[i].shape())
      fail<ShapeError>("hvp", "vector of shape ", vectors[i].shape(), " for an input of shape ", inputs[i].shape());
  const EnableGradients on;
  const std::vector<Var<T>> xs = traced(inputs);
  const std::vector<Var<T>> first = grad(f(xs), xs, {.create_graph = true});
  Var<T> product(T(0));
  for (std::size_t i = 0; i < xs.size(); ++i) product = product + sum(first[i] * vectors[i]);
  if (product.requires_grad()) return grad(product, xs, {.create_graph = true});
  std::vector<Var<T>> zeros;
  for (const Var<T>& x : xs) zeros.push_back(Var<T>::zeros(x.shape()));
  return zeros;
}

template <class T>
Tensor<T> jacobian(const std::function<Var<T>(const Var<T>&)>& f, const Var<T>& x) {
  const EnableGradients on;
  Var<T> leaf = x.detach();
  leaf.set_requires_grad(true);
  const Var<T> y = f(leaf);
  const std::int64_t rows = y.size(), columns = x.size();
  Tensor<T> out = empty_tensor<T>(joined<T>(y.shape(), x.shape()));
  if (rows <= columns) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const Var<T> row = grad(y, {leaf}, Var<T>(unit<T>(y.shape(), i)), {.retain_graph = true})[0];
      std::copy_n(row.data(), columns, out.data() + i * columns);
    }
    return out;
  }
  detail::Node* root = y.node();
  detail::Node* input = leaf.node();
  for (std::int64_t j = 0; j < columns; ++j) {
    const detail::NodeRef tangent = Var<T>(unit<T>(x.shape(), j)).reference();
    const auto column = detail::tangents({&root, 1}, {&input, 1}, {&tangent, 1})[0];
    const T* value = column ? column->template data<const T>() : nullptr;
    for (std::int64_t i = 0; i < rows; ++i) out.data()[i * columns + j] = value != nullptr ? value[i] : T(0);
  }
  return out;
}

template <class T>
Tensor<T> hessian(const std::function<Var<T>(const Var<T>&)>& f, const Var<T>& x) {
  const std::function<Var<T>(const Var<T>&)> gradient = [&f](const Var<T>& at) {
    return grad(f(at), {at}, {.create_graph = true})[0];
  };
  return jacobian(gradient, x);
}

template <class T>
std::vector<Tensor<T>> per_sample_gradients(const Var<T>& losses, const std::vector<Var<T>>& xs) {
  if (losses.rank() != 1)
    fail<ShapeError>("per_sample_gradients", "losses of shape ", losses.shape(), " instead of [B]");
  const std::int64_t batch = losses.size();
  std::vector<Tensor<T>> out;
  for (const Var<T>& x : xs) out.push_back(empty_tensor<T>(joined<T>({batch}, x.shape())));
  for (std::int64_t i = 0; i < batch; ++i) {
    const auto row = grad(losses, xs, Var<T>(unit<T>(losses.shape(), i)), {.retain_graph = true});
    for (std::size_t k = 0; k < xs.size(); ++k)
      std::copy_n(row[k].data(), xs[k].size(), out[k].data() + i * xs[k].size());
  }
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                                                                       \
  template std::vector<Var<T>> grad(const Var<T>&, const std::vector<Var<T>>&, GradOptions);                          \
  template std::vector<Var<T>> grad(const Var<T>&, const std::vector<Var<T>>&, const Var<T>&, GradOptions);           \
  template std::pair<Var<T>, std::vector<Var<T>>> vjp(const Function<T>&, const std::vector<Var<T>>&, const Var<T>&); \
  template std::pair<Var<T>, Var<T>> jvp(const Function<T>&, const std::vector<Var<T>>&, const std::vector<Var<T>>&); \
  template std::vector<Var<T>> hvp(const Function<T>&, const std::vector<Var<T>>&, const std::vector<Var<T>>&);       \
  template Tensor<T> jacobian(const std::function<Var<T>(const Var<T>&)>&, const Var<T>&);                            \
  template Tensor<T> hessian(const std::function<Var<T>(const Var<T>&)>&, const Var<T>&);                             \
  template std::vector<Tensor<T>> per_sample_gradients(const Var<T>&, const std::vector<Var<T>>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
