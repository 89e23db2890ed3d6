#include <algorithm>

#include <tapestry/prob/inference/clique_workspace.hpp>

namespace tapestry {

ExactMaximum CliqueTree::maximum(const std::vector<const double*>& tables, TableScale scale,
                                 const std::vector<std::int64_t>& states) const {
  check(tables, states);
  Workspace work(*this, Workspace::Domain::maximum);
  load_factors(work, tables, scale, states);
  if (work.possible) collect(work);
  ExactMaximum result;
  result.possible = work.possible;
  result.log_value = work.possible ? work.log_constant : detail::impossible_logarithm;
  if (!work.possible) return result;

  // From the roots on, the best states of what is free in a clique, its separator being decided.
  std::vector<std::int64_t> state(variable_at_.size(), -1);
  std::vector<std::size_t> sizes, strides;
  detail::Buffer table, slices;
  const auto reserve = [](detail::Buffer& buffer, std::size_t n) {
    if (buffer.size() >= n) return;
    buffer = detail::Buffer();  // before the larger one
    buffer = detail::Buffer(n);
  };
  std::vector<detail::TableScope> scopes;
  for (std::size_t c = cliques_.size(); c-- > 0;) {
    detail::TableScope free;
    std::size_t size = 1, entries = 0;
    for (const std::int32_t v : cliques_[c].scope)
      if (state[static_cast<std::size_t>(v)] < 0) {
        free.push_back(v);
        size *= position_states_[static_cast<std::size_t>(v)];
      }
    auto parts = product_of(work, c);
    const auto decided = [&](std::int32_t v) { return state[static_cast<std::size_t>(v)] >= 0; };
    for (const auto& part : parts)
      if (std::any_of(part.scope->begin(), part.scope->end(), decided)) entries += part.size / 2;
    reserve(slices, entries);
    scopes.assign(parts.size(), {});
    double* to = slices.data();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      auto& part = parts[i];
      if (std::none_of(part.scope->begin(), part.scope->end(), decided)) continue;
      sizes.clear();
      strides.clear();
      const double* data = part.data;
      std::size_t stride = part.size;
      part.data = to;
      part.size = 1;
      for (const std::int32_t v : *part.scope) {
        const auto p = static_cast<std::size_t>(v);
        stride /= position_states_[p];
        if (state[p] >= 0) {
          data += stride * static_cast<std::size_t>(state[p]);
          continue;
        }
        scopes[i].push_back(v);
        sizes.push_back(position_states_[p]);
        strides.push_back(stride);
        part.size *= sizes.back();
      }
      part.scope = &scopes[i];
      detail::for_each_row(sizes, strides, [&](std::size_t offset, std::size_t count, std::size_t step) {
        for (std::size_t k = 0; k < count; ++k) *to++ = data[offset + k * step];
      });
    }
    reserve(table, size);
    work.product.run(detail::TableDomain::maximum, free, position_states_, parts, {{&free, table.data(), size}});
    auto best = static_cast<std::size_t>(std::max_element(table.data(), table.data() + size) - table.data());
    for (std::size_t i = free.size(); i-- > 0;) {
      const auto p = static_cast<std::size_t>(free[i]);
      state[p] = static_cast<std::int64_t>(best % position_states_[p]);
      best /= position_states_[p];
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
