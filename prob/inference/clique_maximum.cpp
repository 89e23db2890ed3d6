#include <tapestry/prob/inference/clique_workspace.hpp>

namespace tapestry {

ExactMaximum CliqueTree::maximum(const std::vector<const double*>& tables, TableScale scale,
                                 const std::vector<std::int64_t>& states) const {
  check(tables, states);
  Workspace work(*this, detail::TableAlgebra::Domain::maximum);
  load_factors(work, tables, scale, states);
  if (work.possible) collect(work);
  ExactMaximum result;
  result.possible = work.possible;
  result.log_value = work.possible ? work.log_constant : detail::impossible_logarithm;
  if (!work.possible) return result;

  std::vector<std::int64_t> state(variable_at_.size(), -1);
  std::vector<std::size_t> sizes, strides, free_axes;
  for (std::size_t c = cliques_.size(); c-- > 0;) {
    const auto& clique = cliques_[c];
    const double* table = work.tables.data() + clique.offset;
    sizes.clear();
    strides.clear();
    free_axes.clear();
    std::size_t stride = clique.size;
    for (const std::int32_t v : clique.scope) {
      const auto p = static_cast<std::size_t>(v);
      stride /= position_states_[p];
      if (state[p] >= 0) {
        table += stride * static_cast<std::size_t>(state[p]);
      } else {
        free_axes.push_back(p);
        sizes.push_back(position_states_[p]);
        strides.push_back(stride);
      }
    }
    double best = detail::impossible_logarithm;
    std::size_t best_entry = 0, entry = 0;
    detail::for_each_row(sizes, strides, [&](std::size_t offset, std::size_t count, std::size_t step) {
      for (std::size_t k = 0; k < count; ++k, ++entry)
        if (table[offset + k * step] > best) {
          best = table[offset + k * step];
          best_entry = entry;
        }
    });
    for (std::size_t i = free_axes.size(); i-- > 0;) {
      state[free_axes[i]] = static_cast<std::int64_t>(best_entry % sizes[i]);
      best_entry /= sizes[i];
    }
  }
  result.assignment.assign(cardinalities_.size(), 0);
  for (std::size_t i = 0; i < observed_.size(); ++i)
    result.assignment[static_cast<std::size_t>(observed_[i])] = states[i];
  for (std::size_t p = 0; p < state.size(); ++p)
    result.assignment[static_cast<std::size_t>(variable_at_[p])] = state[p];
  return result;
}
}  // namespace tapestry
