#include <tapestry/prob/inference/composed_beliefs.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/ops/special.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry::detail {

namespace {

template <class T, class F>
Indices found_where(const Var<T>& x, F holds) {
  IndexTensor out = empty_tensor<std::int64_t>(x.shape());
  std::transform(x.data(), x.data() + x.size(), out.data(), [&](T value) { return holds(value) ? 1 : 0; });
  return Indices(std::move(out));
}
template <class T>
Indices impossible(const Var<T>& x) {
  return found_where(x, [](T value) { return value == -std::numeric_limits<T>::infinity(); });
}

template <class T>
bool positive(T value) {
  return value > 0;
}

/// In probabilities; what is impossible is so at once.
template <class T>
Var<T> damped(const Var<T>& fresh, const Var<T>& old, double damping) {
  const Indices never = impossible(fresh);
  const Var<T> finite = where(never, Var<T>::zeros({1}), fresh);
  const Var<T> mixed =
      logaddexp(finite + static_cast<T>(std::log1p(-damping)), old + static_cast<T>(std::log(damping)));
  return where(never, Var<T>::filled({1}, -std::numeric_limits<T>::infinity()), mixed);
}

}  // namespace

template <class T>
ComposedBeliefs<T>::ComposedBeliefs(ComposedGraph<T> graph, typename ComposedGraph<T>::Potentials potentials,
                                    const std::vector<double>& weights)
    : graph_(std::move(graph)), potentials_(std::move(potentials)) {
  for (const Var<T>& table : potentials_.tables)
    forbidding_ =
        forbidding_ || !std::all_of(table.data(), table.data() + table.size(), [](T x) { return std::isfinite(x); });
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
typename ComposedBeliefs<T>::Sums ComposedBeliefs<T>::sums(const Messages& messages) const {
  Sums out{potentials_.unary, {}};
  if (forbidding_) out.impossible = Var<T>::zeros(potentials_.unary.shape());
  std::size_t m = 0;
  for (std::size_t g = 0; g < graph_.groups(); ++g)
    for (int place = 0; place < graph_.arity(g); ++place, ++m) {
      Var<T> sent = messages[m];
      if (forbidding_) {
        const Indices never = impossible(sent);
        out.impossible = out.impossible + graph_.scatter(where(never, Var<T>::ones({1}), Var<T>::zeros({1})), g, place);
        sent = where(never, Var<T>::zeros({1}), sent);
      }
      if (!weights_.empty()) sent = sent * reshape(weights_[g], Shape{1, weights_[g].size(), 1});
      out.finite = out.finite + graph_.scatter(sent, g, place);
    }
  return out;
}

template <class T>
Var<T> ComposedBeliefs<T>::log_beliefs(const Messages& messages) const {
  const Sums found = sums(messages);
  return forbidding_ ? where(found_where(found.impossible, positive<T>),
                             Var<T>::filled({1}, -std::numeric_limits<T>::infinity()), found.finite)
                     : found.finite;
}

template <class T>
Var<T> ComposedBeliefs<T>::cavity(const Sums& found, const Var<T>& message, std::size_t group, int place) const {
  const Var<T> all = graph_.gather(found.finite, group, place);
  if (!forbidding_) return all - message;
  // What the factor itself forbids counts too: there its table has nothing but -inf, whatever is added.
  return where(found_where(graph_.gather(found.impossible, group, place), positive<T>),
               Var<T>::filled({1}, -std::numeric_limits<T>::infinity()),
               all - where(impossible(message), Var<T>::zeros({1}), message));
}

template <class T>
Var<T> ComposedBeliefs<T>::joint(const Sums& found, const Messages& messages, std::size_t group, std::size_t first,
                                 int except) const {
  Var<T> out = potentials_.tables[group];
  for (int place = 0; place < graph_.arity(group); ++place)
    if (place != except)
      out = out +
            graph_.spread(cavity(found, messages[first + static_cast<std::size_t>(place)], group, place), group, place);
  return out;
}

template <class T>
typename ComposedBeliefs<T>::Messages ComposedBeliefs<T>::step(const Messages& messages, double damping,
                                                               bool constant_cavities) const {
  Sums found = sums(messages);
  if (constant_cavities) found.finite = found.finite.detach();
  Messages out;
  std::size_t first = 0;
  for (std::size_t g = 0; g < graph_.groups(); first += static_cast<std::size_t>(graph_.arity(g)), ++g)
    for (int place = 0; place < graph_.arity(g); ++place) {
      Axes others;
      for (int i = 0; i < graph_.arity(g); ++i)
        if (i != place) others.push_back(2 + i);
      const Var<T>& old = messages[first + static_cast<std::size_t>(place)];
      Var<T> fresh = log_softmax(logsumexp(joint(found, messages, g, first, place), others));
      if (damping > 0) fresh = damped(fresh, old, damping);
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
  const Sums found = sums(messages);
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
    const Var<T> table = joint(found, messages, g, first, -1);
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
