#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/kernels/tables.hpp>

namespace tapestry {
namespace {

using detail::axis_runs;
using detail::AxisRuns;
using detail::Buffer;
using detail::TableAlgebra;
using detail::TableKernels;
using detail::TableScope;
using Domain = TableAlgebra::Domain;

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
// Products whose factors' ranges (largest over least positive entry) multiply to less than e^this neither underflow
// nor lose digits to denormals.
constexpr double safe_range = 650;
// Below this many entries, products of small factors are not worth forming apart.
constexpr std::size_t small_table = 512;

/// Calls visit(offset, count, stride) for the innermost axis at each setting of the outer ones.
template <class Visit>
void for_each_row(const std::vector<std::size_t>& sizes, const std::vector<std::size_t>& strides, Visit visit) {
  if (sizes.empty()) return visit(std::size_t{0}, std::size_t{1}, std::size_t{1});
  const std::size_t axes = sizes.size();
  std::vector<std::size_t> index(axes, 0);
  std::size_t offset = 0;
  while (true) {
    visit(offset, sizes.back(), strides.back());
    std::size_t axis = axes - 1;
    while (axis > 0) {
      --axis;
      offset += strides[axis];
      if (++index[axis] < sizes[axis]) break;
      offset -= strides[axis] * sizes[axis];
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (axes == 1) return;
  }
}

TableScope join(const TableScope& a, const TableScope& b) {
  TableScope out;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

/// A table waiting to be multiplied into a clique: a factor, a message, or a product of some.
struct Part {
  TableScope scope;
  const double* data;
  std::size_t size;
  Buffer own;
};

}  // namespace

struct CliqueTree::Workspace {
  Workspace(const CliqueTree& tree, Domain domain)
      : algebra(domain, tree.largest_),
        tables(tree.table_entries_),
        separators(tree.separator_entries_),
        factors(tree.factor_entries_),
        log_scale(tree.cliques_.size(), 0),
        factor_range(tree.factors_.size(), 0),
        separator_range(tree.cliques_.size(), 0) {}

  TableAlgebra algebra;
  Buffer tables, separators, factors;
  std::vector<double> log_scale;  // of the message to the parent
  std::vector<double> factor_range, separator_range;
  double log_constant = 0;
  bool possible = true;
};

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

/// Beliefs of sum one from the root down; separators are left with their marginals.
void CliqueTree::distribute(Workspace& work) const {
  const auto& kernel = detail::kernels<TableKernels>();
  const bool linear = work.algebra.domain() == Domain::linear;
  Buffer fresh(largest_);
  for (std::size_t c = cliques_.size(); c-- > 0;) {
    const auto& clique = cliques_[c];
    double* table = work.tables.data() + clique.offset;
    double* old = work.separators.data() + clique.separator_offset;
    const auto runs = axis_runs(clique.scope, clique.separator, position_states_);
    if (clique.parent < 0) {
      // The message to nobody is one number, the sum, scaled to one.
      if (linear)
        kernel.scale(table, std::exp(-work.log_scale[c]), clique.size);
      else
        kernel.shift(table, -work.log_scale[c], clique.size);
      continue;
    }
    const auto& up = cliques_[static_cast<std::size_t>(clique.parent)];
    work.algebra.project(work.tables.data() + up.offset, axis_runs(up.scope, clique.separator, position_states_),
                         fresh.data());
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
    work.algebra.absorb(table, runs, ratio.data());
    std::copy(fresh.data(), fresh.data() + n, old);
  }
}

namespace {

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
  struct Group {
    TableScope scope;
    std::size_t size;
    std::vector<std::int32_t> factors;
  };
  std::vector<std::int32_t> sorted = clique.factors;
  const auto size_of = [&](std::int32_t f) { return factors_[static_cast<std::size_t>(f)].size; };
  std::sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) { return size_of(a) > size_of(b); });
  std::vector<Group> groups;
  for (const std::int32_t f : sorted) {
    const auto& factor = factors_[static_cast<std::size_t>(f)];
    Group* best = nullptr;
    TableScope best_scope = factor.scope;
    std::size_t best_size = clique.size >= small_table ? clique.size / 8 + 1 : 0;
    for (auto& group : groups) {
      TableScope scope = join(group.scope, factor.scope);
      const std::size_t size = size_of_scope(scope);
      if (size >= best_size) continue;
      best = &group;
      best_size = size;
      best_scope = std::move(scope);
    }
    if (best == nullptr)
      groups.push_back({factor.scope, factor.size, {f}});
    else
      best->scope = best_scope, best->size = best_size, best->factors.push_back(f);
  }
  Buffer marginal(clique.size);
  for (const auto& group : groups) {
    work.algebra.project(work.tables.data() + clique.offset, axis_runs(clique.scope, group.scope, position_states_),
                         marginal.data());
    for (const std::int32_t f : group.factors) {
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

ExactMaximum CliqueTree::maximum(const std::vector<const double*>& tables, TableScale scale,
                                 const std::vector<std::int64_t>& states) const {
  check(tables, states);
  Workspace work(*this, Domain::maximum);
  load_factors(work, tables, scale, states);
  if (work.possible) collect(work);
  ExactMaximum result;
  result.possible = work.possible;
  result.log_value = work.possible ? work.log_constant : minus_infinity;
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
    double best = minus_infinity;
    std::size_t best_entry = 0, entry = 0;
    for_each_row(sizes, strides, [&](std::size_t offset, std::size_t count, std::size_t step) {
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
