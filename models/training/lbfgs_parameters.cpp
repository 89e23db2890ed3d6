#include <tapestry/models/training/lbfgs_parameters.hpp>

#include <algorithm>

namespace tapestry {
namespace {

/// Calls f(variable, its first element's place) for the parameters that are trained; the number of their elements.
template <class T, class F>
std::size_t for_trained(const ParameterGroups<T>& parameters, F f) {
  std::size_t place = 0;
  for (const auto& member : parameters.members()) {
    Var<T> variable = member.variable;
    if (!variable.requires_grad()) continue;
    f(variable, place);
    place += static_cast<std::size_t>(variable.size());
  }
  return place;
}

template <class T>
void put(const ParameterGroups<T>& parameters, std::span<const double> x) {
  for_trained(parameters, [&](Var<T>& variable, std::size_t place) {
    T* const out = variable.mutable_data();
    for (std::int64_t i = 0; i < variable.size(); ++i) out[i] = static_cast<T>(x[place + static_cast<std::size_t>(i)]);
  });
}

}  // namespace

template <class T>
LbfgsResult minimize_lbfgs(const ParameterGroups<T>& parameters, const std::function<Var<T>()>& loss,
                           const LbfgsOptions& options, const LbfgsObserver& observer, LbfgsState* state) {
  std::vector<double> x(for_trained(parameters, [](const Var<T>&, std::size_t) {}));
  for_trained(parameters, [&](const Var<T>& variable, std::size_t place) {
    std::copy(variable.data(), variable.data() + variable.size(), x.data() + place);
  });
  const std::vector<double> before = x;
  const auto zero = [&] { for_trained(parameters, [](Var<T>& variable, std::size_t) { variable.zero_gradient(); }); };
  const Objective objective = [&](std::span<const double> at, std::span<double> gradient) {
    put(parameters, at);
    zero();
    const Var<T> value = loss();
    value.backward();
    for_trained(parameters, [&](const Var<T>& variable, std::size_t place) {
      double* const out = gradient.data() + place;
      if (!variable.has_gradient()) {
        std::fill_n(out, variable.size(), 0.0);
      } else {
        const auto g = variable.gradient();
        std::copy(g.data(), g.data() + variable.size(), out);
      }
    });
    return static_cast<double>(value.item());
  };
  try {
    const LbfgsResult result = minimize_lbfgs(std::span<double>(x), objective, options, observer, state);
    put<T>(parameters, x);
    zero();
    return result;
  } catch (...) {
    put<T>(parameters, before);
    zero();
    throw;
  }
}

template LbfgsResult minimize_lbfgs(const ParameterGroups<float>&, const std::function<Var<float>()>&,
                                    const LbfgsOptions&, const LbfgsObserver&, LbfgsState*);
template LbfgsResult minimize_lbfgs(const ParameterGroups<double>&, const std::function<Var<double>()>&,
                                    const LbfgsOptions&, const LbfgsObserver&, LbfgsState*);

}  // namespace tapestry
