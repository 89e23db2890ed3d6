#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/clique_workspace.hpp>

namespace tapestry {
namespace {

using detail::axis_runs;
using detail::Buffer;
using detail::for_each_row;
using detail::join;
using detail::small_table;
using detail::TableAlgebra;
using detail::TableKernels;
using detail::TableScope;
using Domain = TableAlgebra::Domain;

constexpr double minus_infinity = detail::impossible_logarithm;
// Products whose factors' ranges (largest over least positive entry) multiply to less than e^this neither underflow
// nor lose digits to denormals.
constexpr double safe_range = 650;

/// A table waiting to be multiplied into a clique: a factor, a message, or a product of some.
struct Part {
  TableScope scope;
  const double* data;
  std::size_t size;
  Buffer own;
};

}  // namespace

void CliqueTree::check(const std::vector<const double*>& tables, const std::vector<std::int64_t>& states) const {
  constexpr auto name = "junction_tree";
  if (tables.size() != factors_.size())
    fail<ShapeError>(name, tables.size(), " tables for ", factors_.size(), " factors");
  if (states.size() != observed_.size())
    fail<ShapeError>(name, states.size(), " states for ", observed_.size(), " observed variables");
  for (std::size_t i = 0; i < states.size(); ++i) {
    const std::int64_t count = cardinalities_[static_cast<std::size_t>(observed_[i])];
    if (states[i] < 0 || states[i] >= count)
      fail<IndexError>(name, "variable ", observed_[i], " has ", count, " states, none is ", states[i]);
    if (observation_[static_cast<std::size_t>(observed_[i])] != static_cast<std::int32_t>(i) &&
        states[i] != states[static_cast<std::size_t>(observation_[static_cast<std::size_t>(observed_[i])])])
      fail<IndexError>(name, "variable ", observed_[i], " is observed in two states");
  }
}

/// Slices the observed states out, orders the axes, and scales each table's largest entry to one. False where a
/// factor's own range is unsafe for linear numbers.
bool CliqueTree::load_factors(Workspace& work, const std::vector<const double*>& tables, TableScale scale,
                              const std::vector<std::int64_t>& states) const {
  const auto& kernel = detail::kernels<TableKernels>();
  const bool linear = work.algebra.domain() == Domain::linear;
  std::vector<std::size_t> sizes;
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    const auto& factor = factors_[f];
    std::size_t base = 0;
    for (const auto& [index, stride] : factor.observed)
      base += stride * static_cast<std::size_t>(states[static_cast<std::size_t>(index)]);
    sizes.clear();
    for (const std::int32_t v : factor.scope) sizes.push_back(position_states_[static_cast<std::size_t>(v)]);
    double* out = work.factors.data() + factor.offset;
    double* to = out;
    for_each_row(sizes, factor.strides, [&](std::size_t offset, std::size_t count, std::size_t stride) {
      const double* from = tables[f] + base + offset;
      for (std::size_t k = 0; k < count; ++k) *to++ = from[k * stride];
    });
    double largest = kernel.maximum(out, factor.size);
    if (scale == TableScale::linear ? largest == 0 : largest == minus_infinity) {
      work.possible = false;
      return true;
    }
    if (scale == TableScale::linear && linear) {
      work.factor_range[f] = std::log(largest) - std::log(kernel.least_positive(out, factor.size));
      kernel.scale(out, 1 / largest, factor.size);
      // A denormal's reciprocal is infinite.
      if (largest < 1e-300) return false;
      work.log_constant += std::log(largest);
    } else {
      if (scale == TableScale::linear) {
        for (std::size_t i = 0; i < factor.size; ++i) out[i] = std::log(out[i]);
        largest = std::log(largest);
      }
      kernel.shift(out, -largest, factor.size);
      work.log_constant += largest;
      if (linear) {
        double least = 0;
        for (std::size_t i = 0; i < factor.size; ++i)
          if (out[i] != minus_infinity) least = std::min(least, out[i]);
        work.factor_range[f] = -least;
        kernel.exp(out, factor.size);
      }
    }
    if (work.factor_range[f] > safe_range) return false;
    if (factor.scope.empty()) work.factor_range[f] = 0;
  }
  return true;
}

/// The product of a clique's factors and its children's messages. Small tables are multiplied with each other first,
/// so that the clique's own table is passed few times.
void CliqueTree::assemble(Workspace& work, std::size_t c) const {
  const auto& clique = cliques_[c];
  double* table = work.tables.data() + clique.offset;
  std::vector<Part> parts;
  for (const std::int32_t f : clique.factors) {
    const auto& factor = factors_[static_cast<std::size_t>(f)];
    parts.push_back({factor.scope, work.factors.data() + factor.offset, factor.size, {}});
  }
  for (const std::int32_t child : clique.children) {
    const auto& below = cliques_[static_cast<std::size_t>(child)];
    if (below.separator.empty()) continue;  // its only number is one: the scale is kept apart
    parts.push_back({below.separator, work.separators.data() + below.separator_offset, below.separator_size, {}});
  }
  if (clique.size >= small_table && parts.size() > 1) {
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.size < b.size; });
    std::vector<Part> merged;
    std::size_t used = 0;
    for (auto& part : parts) {
      std::size_t best = merged.size(), best_size = clique.size / 8 + 1;
      TableScope best_scope;
      for (std::size_t m = 0; m < merged.size(); ++m) {
        TableScope scope = join(merged[m].scope, part.scope);
        const std::size_t size = size_of_scope(scope);
        const std::size_t extra = merged[m].own.data() != nullptr && size == merged[m].size ? 0 : size;
        if (size < best_size && used + extra <= clique.size) {
          best = m;
          best_size = size;
          best_scope = std::move(scope);
        }
      }
      if (best == merged.size()) {
        merged.push_back(std::move(part));
        continue;
      }
      Part& into = merged[best];
      if (into.own.data() == nullptr || best_size != into.size) {
        Buffer bigger(best_size);
        used += best_size;
        work.algebra.spread(bigger.data(), axis_runs(best_scope, into.scope, position_states_), into.data);
        into.own = std::move(bigger);
        into.data = into.own.data();
        into.scope = best_scope;
        into.size = best_size;
      }
      work.algebra.absorb(into.own.data(), axis_runs(into.scope, part.scope, position_states_), part.data);
    }
    parts = std::move(merged);
  }
  if (parts.empty()) return work.algebra.clear(table, clique.size);
  work.algebra.spread(table, axis_runs(clique.scope, parts.front().scope, position_states_), parts.front().data);
  for (std::size_t i = 1; i < parts.size(); ++i)
    work.algebra.absorb(table, axis_runs(clique.scope, parts[i].scope, position_states_), parts[i].data);
}

/// Messages towards the root. False where linear numbers are unsafe.
bool CliqueTree::collect(Workspace& work) const {
  const auto& kernel = detail::kernels<TableKernels>();
  const bool linear = work.algebra.domain() == Domain::linear;
  for (std::size_t c = 0; c < cliques_.size(); ++c) {
    const auto& clique = cliques_[c];
    if (linear) {
      double range = 0;
      for (const std::int32_t f : clique.factors) range += work.factor_range[static_cast<std::size_t>(f)];
      for (const std::int32_t child : clique.children) range += work.separator_range[static_cast<std::size_t>(child)];
      if (range > safe_range) return false;
    }
    assemble(work, c);
    double* message = work.separators.data() + clique.separator_offset;
    work.algebra.project(work.tables.data() + clique.offset,
                         axis_runs(clique.scope, clique.separator, position_states_), message);
    const double largest = kernel.maximum(message, clique.separator_size);
    if (linear ? largest == 0 : largest == minus_infinity) {
      work.possible = false;
      return true;
    }
    work.log_scale[c] = linear ? std::log(largest) : largest;
    work.log_constant += work.log_scale[c];
    if (linear) {
      kernel.scale(message, 1 / largest, clique.separator_size);
      work.separator_range[c] = -std::log(kernel.least_positive(message, clique.separator_size));
    } else {
      kernel.shift(message, -largest, clique.separator_size);
    }
  }
  return true;
}

/// What a clique's table says of the separators to its children, by way of tables over several separators' variables,
/// so that the clique's own table is passed few times.
void CliqueTree::project_separators(Workspace& work, std::size_t c, std::vector<Buffer>& out) const {
  const auto& clique = cliques_[c];
  const double* table = work.tables.data() + clique.offset;
  std::vector<detail::ScopePart> parts;
  for (const std::int32_t child : clique.children) {
    const auto& below = cliques_[static_cast<std::size_t>(child)];
    out[static_cast<std::size_t>(child)] = Buffer(below.separator_size);
    parts.push_back({&below.separator, below.separator_size, child});
  }
  for (const auto& group : detail::scope_groups(std::move(parts), clique.size, position_states_)) {
    Buffer between(group.members.size() > 1 ? group.size : 0);
    if (group.members.size() > 1)
      work.algebra.project(table, axis_runs(clique.scope, group.scope, position_states_), between.data());
    for (const std::int32_t child : group.members) {
      const auto& scope = cliques_[static_cast<std::size_t>(child)].separator;
      double* to = out[static_cast<std::size_t>(child)].data();
      if (group.members.size() > 1)
        work.algebra.project(between.data(), axis_runs(group.scope, scope, position_states_), to);
      else
        work.algebra.project(table, axis_runs(clique.scope, scope, position_states_), to);
    }
  }
}

/// Beliefs of sum one from the root down; separators are left with their marginals.
void CliqueTree::distribute(Workspace& work) const {
  const auto& kernel = detail::kernels<TableKernels>();
  const bool linear = work.algebra.domain() == Domain::linear;
  std::vector<Buffer> given(cliques_.size());
  for (std::size_t c = cliques_.size(); c-- > 0;) {
    const auto& clique = cliques_[c];
    double* table = work.tables.data() + clique.offset;
    double* old = work.separators.data() + clique.separator_offset;
    if (clique.parent < 0) {
      // The message to nobody is one number, the sum, scaled to one.
      if (linear)
        kernel.scale(table, std::exp(-work.log_scale[c]), clique.size);
      else
        kernel.shift(table, -work.log_scale[c], clique.size);
    } else {
      Buffer fresh = std::move(given[c]);
      const std::size_t n = clique.separator_size;
      Buffer ratio(n);
      if (linear) {
        kernel.scale(fresh.data(), 1 / kernel.total(fresh.data(), n), n);
        kernel.scale(old, std::exp(work.log_scale[c]), n);
        kernel.ratio(fresh.data(), old, ratio.data(), n);
      } else {
        kernel.shift(old, work.log_scale[c], n);
        std::copy(old, old + n, ratio.data());
        kernel.subtract_from(fresh.data(), ratio.data(), n);
      }
      work.algebra.absorb(table, axis_runs(clique.scope, clique.separator, position_states_), ratio.data());
      std::copy(fresh.data(), fresh.data() + n, old);
    }
    project_separators(work, c, given);
  }
}
ExactSums CliqueTree::sums(const std::vector<const double*>& tables, TableScale scale,
                           const std::vector<std::int64_t>& states, bool variables, bool factors) const {
  check(tables, states);
  for (const Domain domain : {Domain::linear, Domain::logarithm}) {
    Workspace work(*this, domain);
    if (!load_factors(work, tables, scale, states)) continue;
    if (work.possible && !collect(work)) continue;
    ExactSums result;
    result.possible = work.possible;
    result.log_partition = work.possible ? work.log_constant : minus_infinity;
    if (!work.possible || !(variables || factors)) return result;
    distribute(work);
    if (variables) variable_marginals(work, states, result.variables);
    if (factors) factor_marginals(work, states, result.factors);
    return result;
  }
  fail<NumericalError>("junction_tree", "a factor holds NaN or infinity");
}
}  // namespace tapestry
