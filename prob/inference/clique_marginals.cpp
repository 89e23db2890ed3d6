#include <algorithm>

#include <tapestry/prob/inference/clique_workspace.hpp>

namespace tapestry {
namespace detail {

std::vector<ScopeGroup> scope_groups(std::vector<ScopePart> parts, std::size_t whole,
                                     const std::vector<std::size_t>& cardinalities) {
  std::stable_sort(parts.begin(), parts.end(), [](const ScopePart& a, const ScopePart& b) { return a.size > b.size; });
  std::vector<ScopeGroup> groups;
  for (const auto& part : parts) {
    ScopeGroup* best = nullptr;
    TableScope best_scope = *part.scope;
    std::size_t best_size = whole >= small_table ? whole / 8 + 1 : 0;
    for (auto& group : groups) {
      TableScope scope = join(group.scope, *part.scope);
      std::size_t size = 1;
      for (const std::int32_t v : scope) size *= cardinalities[static_cast<std::size_t>(v)];
      if (size >= best_size) continue;
      best = &group;
      best_size = size;
      best_scope = std::move(scope);
    }
    if (best == nullptr)
      groups.push_back({*part.scope, part.size, {part.owner}});
    else
      best->scope = best_scope, best->size = best_size, best->members.push_back(part.owner);
  }
  return groups;
}

}  // namespace detail

/// Marginals of all variables, zero but for those that are observed or have one state.
std::vector<double> CliqueTree::observed_marginals(const std::vector<std::int64_t>& states) const {
  std::vector<double> out(variable_offset_.back(), 0);
  for (std::size_t v = 0; v < cardinalities_.size(); ++v) {
    if (observation_[v] == -2) out[variable_offset_[v]] = 1;
    if (observation_[v] >= 0)
      out[variable_offset_[v] + static_cast<std::size_t>(states[static_cast<std::size_t>(observation_[v])])] = 1;
  }
  return out;
}

/// Marginals of the factors' free variables, put where evidence has them in the whole tables.
void CliqueTree::whole_factor_marginals(double* marginals, const std::vector<std::int64_t>& states,
                                        std::vector<double>& out) const {
  out.assign(whole_entries_, 0);
  std::vector<std::size_t> sizes;
  for (const auto& factor : factors_) {
    if (factor.clique < 0) marginals[factor.offset] = 1;
    const double* marginal = marginals + factor.offset;
    std::size_t base = factor.whole_offset;
    for (const auto& [index, stride] : factor.observed)
      base += stride * static_cast<std::size_t>(states[static_cast<std::size_t>(index)]);
    sizes.clear();
    for (const std::int32_t v : factor.scope) sizes.push_back(position_states_[static_cast<std::size_t>(v)]);
    detail::for_each_row(sizes, factor.strides, [&](std::size_t offset, std::size_t count, std::size_t stride) {
      for (std::size_t k = 0; k < count; ++k) out[base + offset + k * stride] = *marginal++;
    });
  }
}
}  // namespace tapestry
