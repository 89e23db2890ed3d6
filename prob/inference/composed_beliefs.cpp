#include <tapestry/prob/inference/composed_beliefs.hpp>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {

template <class T>
ComposedBeliefs<T>::ComposedBeliefs(ComposedGraph<T> graph, typename ComposedGraph<T>::Potentials potentials,
                                    const std::vector<double>& weights)
    : graph_(std::move(graph)), potentials_(std::move(potentials)) {
  for (const Var<T>& table : potentials_.tables)
    for (std::int64_t i = 0; i < table.size(); ++i)
      if (!std::isfinite(table.data()[i]))
        fail<GraphError>("belief_propagation",
                         "second derivatives need finite potentials over several variables, one is ", table.data()[i]);
  if (weights.empty()) return;
  std::size_t first = 0, g = 0;
  for (std::size_t number = 0; number < graph_.structure().factors.size(); ++number) {
    const auto& group = graph_.structure().factors[number];
    if (g < graph_.groups() && graph_.number(g) == number) {
      Tensor<T> own = empty_tensor<T>({1, group.factors()});
      std::copy_n(weights.begin() + static_cast<std::ptrdiff_t>(first), own.size(), own.data());
      weights_.emplace_back(std::move(own));
      Shape wide{1, group.factors()};
      while (wide.rank() < potentials_.tables[g].rank()) wide.push_back(1);
      potentials_.tables[g] = potentials_.tables[g] / reshape(weights_.back(), wide);
      ++g;
    }
    first += static_cast<std::size_t>(group.factors());
  }
}

template <class T>
typename ComposedBeliefs<T>::Messages ComposedBeliefs<T>::start() const {
  Messages out;
  for (std::size_t g = 0; g < graph_.groups(); ++g) {
    const auto& group = graph_.structure().factors[graph_.number(g)];
    for (const std::int64_t K : group.cardinalities)
      out.push_back(
          Var<T>::filled({graph_.rows(), group.factors(), K}, static_cast<T>(-std::log(static_cast<double>(K)))));
  }
  return out;
}

template <class T>
Var<T> ComposedBeliefs<T>::log_beliefs(const Messages& messages) const {
  Var<T> out = potentials_.unary;
  std::size_t m = 0;
  for (std::size_t g = 0; g < graph_.groups(); ++g)
    for (int place = 0; place < graph_.arity(g); ++place, ++m)
      out = out + graph_.scatter(weights_.empty() ? messages[m] : messages[m] * reshape(weights_[g], Shape{1, weights_[g].size(), 1}), g, place);
  return out;
}

template <class T>
Var<T> ComposedBeliefs<T>::joint(const Var<T>& beliefs, const Messages& messages, std::size_t group, std::size_t first,
                                 int except) const {
  Var<T> out = potentials_.tables[group];
  for (int place = 0; place < graph_.arity(group); ++place)
    if (place != except)
      out =
          out + graph_.spread(graph_.gather(beliefs, group, place) - messages[first + static_cast<std::size_t>(place)],
                              group, place);
  return out;
}

template <class T>
typename ComposedBeliefs<T>::Messages ComposedBeliefs<T>::step(const Messages& messages, double damping,
                                                               bool constant_cavities) const {
  const Var<T> beliefs = constant_cavities ? log_beliefs(messages).detach() : log_beliefs(messages);
  Messages out;
  std::size_t first = 0;
  for (std::size_t g = 0; g < graph_.groups(); first += static_cast<std::size_t>(graph_.arity(g)), ++g)
    for (int place = 0; place < graph_.arity(g); ++place) {
      Axes others;
      for (int i = 0; i < graph_.arity(g); ++i)
        if (i != place) others.push_back(2 + i);
      const Var<T>& old = messages[first + static_cast<std::size_t>(place)];
      Var<T> fresh = log_softmax(logsumexp(joint(beliefs, messages, g, first, place), others));
      if (damping > 0) fresh = log(exp(fresh) * static_cast<T>(1 - damping) + exp(old) * static_cast<T>(damping));
      out.push_back(broadcast_to(fresh, old.shape()));
    }
  return out;
}

template <class T>
typename ComposedBeliefs<T>::Messages ComposedBeliefs<T>::run(Messages messages, const std::vector<std::int64_t>& steps,
                                                              std::int64_t recorded, double damping, bool cut) const {
  const std::int64_t most = *std::max_element(steps.begin(), steps.end());
  const bool same = *std::min_element(steps.begin(), steps.end()) == most;
  for (std::int64_t i = 0; i < most; ++i) {
    // Counted from the end, so that the last steps of all elements are recorded together.
    const EnableGradients enable(gradients_enabled() && most - i <= recorded);
    const Messages next = step(messages, damping, cut && most - i == recorded);
    if (same) {
      messages = next;
      continue;
    }
    IndexTensor going = empty_tensor<std::int64_t>({graph_.rows(), 1, 1});
    for (std::size_t b = 0; b < steps.size(); ++b) going.data()[b] = most - i <= steps[b] ? 1 : 0;
    for (std::size_t m = 0; m < messages.size(); ++m) messages[m] = where(Indices(going), next[m], messages[m]);
  }
  return messages;
}

template <class T>
std::vector<Var<T>> ComposedBeliefs<T>::read(const Messages& messages, bool factors) const {
  const auto& structure = graph_.structure();
  const Var<T> beliefs = log_beliefs(messages), marginals = graph_.softmax_by_variable(beliefs);
  // Counting numbers of the variables.
  Tensor<T> counts = empty_tensor<T>({1, structure.size()});
  std::fill(counts.begin(), counts.end(), T(1));
  std::vector<Var<T>> joints;
  Var<T> log_partition = potentials_.constant;
  std::size_t first = 0;
  for (std::size_t g = 0; g < graph_.groups(); first += static_cast<std::size_t>(graph_.arity(g)), ++g) {
    const auto& group = structure.factors[graph_.number(g)];
    for (std::int64_t i = 0; i < group.scopes.size(); ++i)
      counts.data()[group.scopes[i]] -= weights_.empty() ? T(1) : weights_[g].data()[i / group.arity()];
    const Var<T> table = joint(beliefs, messages, g, first, -1);
    joints.push_back(reshape(table, Shape{graph_.rows(), group.factors(), group.table().elements()}));
    const Var<T> normalisers = logsumexp(joints.back(), {2});
    log_partition = log_partition + sum(weights_.empty() ? normalisers : normalisers * weights_[g], {1});
  }
  log_partition = log_partition + sum(graph_.logsumexp_by_variable(beliefs) * Var<T>(std::move(counts)), {1});
  std::vector<Var<T>> out{broadcast_to(log_partition, Shape{graph_.rows()})};
  for (auto& group : graph_.by_variable_group(marginals)) out.push_back(std::move(group));
  std::size_t g = 0;
  for (std::size_t number = 0; factors && number < structure.factors.size(); ++number) {
    const auto& group = structure.factors[number];
    if (g < graph_.groups() && graph_.number(g) == number) {
      Shape shape{graph_.rows(), group.factors()};
      for (const std::int64_t extent : group.table()) shape.push_back(extent);
      out.push_back(graph_.as_result(reshape(softmax(joints[g++]), shape)));
    } else {
      out.push_back(graph_.as_result(graph_.small_factor(marginals, group)));
    }
  }
  return out;
}

template class ComposedBeliefs<float>;
template class ComposedBeliefs<double>;

}  // namespace tapestry::detail
