#include <tapestry/prob/losses/labelling.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {

template <class T>
Labelling<T>::Labelling(const FactorGraph<T>& graph, const Indices& labels, bool hidden)
    : labels_(labels), data_(labels_.data()), observed_(static_cast<std::size_t>(graph.variables()), -1) {
  const std::int64_t n = graph.variables(), batch = graph.batch();
  const Shape& given = labels.shape();
  if ((given.rank() != 1 && given.rank() != 2) || given.back() != n ||
      (given.rank() == 2 && batch > 0 && given[0] != batch))
    fail<ShapeError>("structured_loss", "labels of shape ", given, " for ", n, " variables, batch ", batch);
  batched_ = given.rank() == 2 || batch > 0;
  rows_ = given.rank() == 2 ? given[0] : std::max<std::int64_t>(batch, 1);
  stride_ = given.rank() == 2 ? n : 0;
  for (const auto& group : graph.variable_groups())
    for (std::int64_t r = 0; r < (stride_ > 0 ? rows_ : 1); ++r)
      for (std::int64_t v = group.first; v < group.first + group.size(); ++v)
        if (state(r, v) < (hidden ? -1 : 0) || state(r, v) >= group.cardinality)
          fail<IndexError>("structured_loss", "variable ", v, " has ", group.cardinality, " states, none is ",
                           state(r, v));
  for (const auto& [variable, state] : graph.evidence()) observed_[static_cast<std::size_t>(variable)] = state;
}

template <class T>
bool Labelling<T>::states(const FactorStructure& group, std::int64_t factor, std::int64_t row,
                          std::int64_t* out) const {
  for (std::int64_t i = 0; i < group.arity(); ++i) {
    out[i] = state(row, group.scopes[factor * group.arity() + i]);
    if (out[i] < 0) return false;
  }
  return true;
}

template class Labelling<float>;
template class Labelling<double>;

}  // namespace tapestry::detail
