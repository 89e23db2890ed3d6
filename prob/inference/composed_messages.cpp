#include <tapestry/prob/inference/composed_messages.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

namespace tapestry::detail {
namespace {

template <class T>
std::vector<Var<T>> cooled(const Passing& passing, const std::vector<Var<T>>& potentials) {
  const double temperature = passing.options.temperature;
  if (temperature == 0)
    fail<GraphError>("belief_propagation",
                     "messages of temperature 0 are maxima, piecewise linear: their second derivatives are zero or do "
                     "not exist; take a small positive temperature");
  std::vector<Var<T>> out;
  for (const Var<T>& x : potentials) out.push_back(temperature == 1 ? x : x * static_cast<T>(1 / temperature));
  return out;
}

}  // namespace

template <class T>
ComposedMessages<T>::ComposedMessages(const Passing& passing, const std::vector<Var<T>>& potentials)
    : passing_(passing),
      potentials_(cooled(passing, potentials)),
      graph_(passing.structure, passing.batch),
      beliefs_(graph_, graph_.arrange(potentials_), passing.options.weights) {}

template <class T>
typename ComposedBeliefs<T>::Messages ComposedMessages<T>::parts(const Var<T>& messages) const {
  const auto temperature = static_cast<T>(passing_.options.temperature);
  typename ComposedBeliefs<T>::Messages out;
  std::int64_t at = 0;
  for (const auto& group : passing_.structure->factors) {
    std::int64_t width = 0, place = 0;
    for (const std::int64_t k : group.cardinalities) width += k;
    const std::int64_t end = at + group.factors() * width;
    if (group.arity() > 1) {
      const Var<T> own =
          reshape(slice(messages, 1, Slice{at, end}), Shape{graph_.rows(), group.factors(), width}) / temperature;
      for (const std::int64_t k : group.cardinalities) {
        out.push_back(slice(own, 2, Slice{place, place + k}));
        place += k;
      }
    }
    at = end;
  }
  return out;
}

template <class T>
Var<T> ComposedMessages<T>::joined(const typename ComposedBeliefs<T>::Messages& messages) const {
  const auto temperature = static_cast<T>(passing_.options.temperature);
  std::vector<Var<T>> out;
  std::size_t next = 0;
  for (const auto& group : passing_.structure->factors) {
    const std::int64_t factors = group.factors();
    if (group.arity() == 1) {
      out.push_back(Var<T>::zeros({graph_.rows(), factors * group.cardinalities[0]}));
    } else if (group.arity() > 1) {
      std::int64_t width = 0;
      for (const std::int64_t k : group.cardinalities) width += k;
      const auto begin = messages.begin() + static_cast<std::ptrdiff_t>(next);
      const std::vector<Var<T>> places(begin, begin + group.arity());
      out.push_back(reshape(concatenate(places, 2), Shape{graph_.rows(), factors * width}));
      next += static_cast<std::size_t>(group.arity());
    }
  }
  return concatenate(out, 1) * temperature;
}

template <class T>
Var<T> ComposedMessages<T>::step(const Var<T>& messages) const {
  return joined(beliefs_.step(parts(messages), passing_.options.damping));
}

template <class T>
Var<T> ComposedMessages<T>::fixed_point(const Var<T>& messages) const {
  const auto solved =
      tapestry::fixed_point([beliefs = beliefs_, damping = passing_.options.damping](
                                const std::vector<Var<T>>& at) { return beliefs.step(at, damping); },
                            parts(messages), {.max_iterations = 1, .adjoint_tolerance = implicit_tolerance});
  return joined(solved.state);
}

template <class T>
std::vector<Var<T>> ComposedMessages<T>::read(const Var<T>& messages) const {
  auto outputs = beliefs_.read(parts(messages), true);
  const BeliefLayout layout{*passing_.structure, passing_.batch};
  outputs[0] = reshape(outputs[0], layout.shape(0)) * static_cast<T>(passing_.options.temperature);
  return outputs;
}

template class ComposedMessages<float>;
template class ComposedMessages<double>;

}  // namespace tapestry::detail
