#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tapestry/graph/module.hpp>

namespace tapestry {

/// How the parameters of a group differ from the others of an optimiser.
struct GroupOptions {
  double rate_factor = 1;                   ///< times the optimiser's rate
  std::optional<double> weight_decay = {};  ///< in place of the optimiser's
  /// Weight of the L1 norm: after each update, elements are moved towards zero by rate * l1, where they stop (the
  /// proximal step of Duchi and Singer 2009, FOBOS), so that zeros are exact.
  double l1 = 0;
  /// Largest Euclidean norm of the weights of a unit, restored after each update (Srivastava et al. 2014); 0: none.
  /// Parameters of rank below 2 have none.
  double max_norm = 0;
  /// The axis along which the units of a weight lie: the last one is that of linear(), 0 that of filters and tables.
  int unit_axis = -1;
};

/// The parameters that an optimiser changes, in groups. From a module, a vector of variables, or several of these:
///
///     ParameterGroups<float>().add(network.body, {.rate_factor = 0.1}).add(network.head)
template <class T>
class ParameterGroups {
 public:
  struct Member {
    std::string name;  ///< unique
    Var<T> variable;
    GroupOptions options;
  };

  ParameterGroups() = default;
  ParameterGroups(const std::vector<Var<T>>& parameters) { add(parameters); }
  ParameterGroups(const std::vector<NamedParameter<T>>& parameters) { add(parameters); }
  ParameterGroups(std::initializer_list<Var<T>> parameters) { add(std::vector<Var<T>>(parameters)); }
  template <Module M>
  ParameterGroups(const M& module) {
    add(module);
  }

  /// @throws GraphError for a parameter that is not defined, the result of an operation, or in a group already; Error
  /// for options out of range
  ParameterGroups& add(const std::vector<NamedParameter<T>>& parameters, const GroupOptions& options = {});
  ParameterGroups& add(const std::vector<Var<T>>& parameters, const GroupOptions& options = {});
  template <Module M>
  ParameterGroups& add(const M& module, const GroupOptions& options = {}) {
    return add(named_parameters<T>(module), options);
  }

  const std::vector<Member>& members() const noexcept { return members_; }

 private:
  std::vector<Member> members_;
};

extern template class ParameterGroups<float>;
extern template class ParameterGroups<double>;

}  // namespace tapestry
