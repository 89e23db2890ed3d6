#include <algorithm>
#include <cmath>

#include <tapestry/prob/inference/clique_workspace.hpp>

namespace tapestry {
namespace {

using detail::axis_runs;
using detail::Buffer;
using detail::for_each_row;
using detail::TableKernels;
using detail::TableScope;
using Domain = detail::TableAlgebra::Domain;

/// Probabilities from numbers or logarithms of any scale.
void normalize(Domain domain, double* values, std::size_t n) {
  const auto& kernel = detail::kernels<TableKernels>();
  if (domain != Domain::linear) {
    kernel.shift(values, -kernel.maximum(values, n), n);
    kernel.exp(values, n);
  }
  kernel.scale(values, 1 / kernel.total(values, n), n);
}

}  // namespace

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

void CliqueTree::variable_marginals(Workspace& work, const std::vector<std::int64_t>& states,
                                    std::vector<double>& out) const {
  out.assign(variable_offset_.back(), 0);
  for (std::size_t v = 0; v < cardinalities_.size(); ++v) {
    if (observation_[v] == -2) out[variable_offset_[v]] = 1;
    if (observation_[v] >= 0)
      out[variable_offset_[v] + static_cast<std::size_t>(states[static_cast<std::size_t>(observation_[v])])] = 1;
  }
  for (std::size_t p = 0; p < variable_at_.size(); ++p) {
    const auto& clique = cliques_[static_cast<std::size_t>(home_[p])];
    const TableScope self = {static_cast<std::int32_t>(p)};
    double* marginal = out.data() + variable_offset_[static_cast<std::size_t>(variable_at_[p])];
    if (home_is_separator_[p])
      work.algebra.project(work.separators.data() + clique.separator_offset,
                           axis_runs(clique.separator, self, position_states_), marginal);
    else
      work.algebra.project(work.tables.data() + clique.offset, axis_runs(clique.scope, self, position_states_),
                           marginal);
    normalize(work.algebra.domain(), marginal, position_states_[p]);
  }
}

/// Marginals of a clique's factors, by way of marginals over several factors' variables, so that the clique's own table
/// is passed few times.
void CliqueTree::project_factors(Workspace& work, std::size_t c) const {
  const auto& clique = cliques_[c];
  std::vector<detail::ScopePart> parts;
  for (const std::int32_t f : clique.factors) {
    const auto& factor = factors_[static_cast<std::size_t>(f)];
    parts.push_back({&factor.scope, factor.size, f});
  }
  const auto groups = detail::scope_groups(std::move(parts), clique.size, position_states_);
  Buffer marginal(clique.size);
  for (const auto& group : groups) {
    work.algebra.project(work.tables.data() + clique.offset, axis_runs(clique.scope, group.scope, position_states_),
                         marginal.data());
    for (const std::int32_t f : group.members) {
      const auto& factor = factors_[static_cast<std::size_t>(f)];
      double* out = work.factors.data() + factor.offset;
      work.algebra.project(marginal.data(), axis_runs(group.scope, factor.scope, position_states_), out);
      normalize(work.algebra.domain(), out, factor.size);
    }
  }
}

void CliqueTree::factor_marginals(Workspace& work, const std::vector<std::int64_t>& states,
                                  std::vector<double>& out) const {
  out.assign(whole_entries_, 0);
  for (const auto& factor : factors_)
    if (factor.clique < 0) work.factors.data()[factor.offset] = 1;
  for (std::size_t c = 0; c < cliques_.size(); ++c) project_factors(work, c);
  std::vector<std::size_t> sizes;
  for (const auto& factor : factors_) {
    const double* marginal = work.factors.data() + factor.offset;
    std::size_t base = factor.whole_offset;
    for (const auto& [index, stride] : factor.observed)
      base += stride * static_cast<std::size_t>(states[static_cast<std::size_t>(index)]);
    sizes.clear();
    for (const std::int32_t v : factor.scope) sizes.push_back(position_states_[static_cast<std::size_t>(v)]);
    for_each_row(sizes, factor.strides, [&](std::size_t offset, std::size_t count, std::size_t stride) {
      for (std::size_t k = 0; k < count; ++k) out[base + offset + k * stride] = *marginal++;
    });
  }
}
}  // namespace tapestry
