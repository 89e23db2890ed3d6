#include <tapestry/models/training/optimizers/parameter_groups.hpp>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr const char* operation = "ParameterGroups";

void check(bool good, const char* what, double value) {
  if (!good) fail(operation, what, " of ", value);
}

}  // namespace

template <class T>
ParameterGroups<T>& ParameterGroups<T>::add(const std::vector<NamedParameter<T>>& parameters,
                                            const GroupOptions& options) {
  check(options.rate_factor >= 0 && std::isfinite(options.rate_factor), "a rate factor", options.rate_factor);
  check(!options.weight_decay || *options.weight_decay >= 0, "a weight decay", options.weight_decay.value_or(0));
  check(options.l1 >= 0, "an L1 weight", options.l1);
  check(options.max_norm >= 0, "a largest norm", options.max_norm);
  std::vector<Member> members = members_;
  for (const auto& [name, variable] : parameters) {
    const auto has = [&](auto property) { return std::any_of(members.begin(), members.end(), property); };
    if (!variable.leaf())
      fail<GraphError>(operation, "parameter '", name, "' of shape ", variable.shape(),
                       " is the result of an operation");
    if (has([&, node = variable.node()](const Member& m) { return m.variable.node() == node; }))
      fail<GraphError>(operation, "parameter '", name, "' of shape ", variable.shape(), " is in a group already");
    if (options.max_norm > 0 && variable.rank() > 1) normalize_axis(operation, options.unit_axis, variable.shape());
    std::string unique = name;
    while (has([&](const Member& m) { return m.name == unique; })) unique += '\'';
    members.push_back({std::move(unique), variable, options});
  }
  members_ = std::move(members);
  return *this;
}

template <class T>
ParameterGroups<T>& ParameterGroups<T>::add(const std::vector<Var<T>>& parameters, const GroupOptions& options) {
  std::vector<NamedParameter<T>> named;
  for (const Var<T>& variable : parameters) named.push_back({std::to_string(members_.size() + named.size()), variable});
  return add(named, options);
}

template class ParameterGroups<float>;
template class ParameterGroups<double>;

}  // namespace tapestry
