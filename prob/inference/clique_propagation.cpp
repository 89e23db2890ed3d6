#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/clique_workspace.hpp>
#include <tapestry/prob/kernels/table_blocks.hpp>

namespace tapestry {
namespace {

using detail::axis_runs;
using detail::Buffer;
using detail::for_each_row;
using detail::TableBlockKernels;
using detail::TableDomain;
using detail::TableFactor;
using detail::TableKernels;
using detail::TableScope;
using detail::TableSum;

constexpr double minus_infinity = detail::impossible_logarithm;
// Products whose factors' ranges (largest over least positive entry) multiply to less than e^this neither underflow
// nor lose digits to denormals.
constexpr double safe_range = 650;

// Where products may underflow, a message is right all the same if its least entry is above e^this: what is lost is too
// little, and dividing by the message does not overflow.
constexpr double certain_message = -500;

// Messages of so many entries are passed again only where their scale asks for it.
constexpr std::size_t large_message = 4096;
constexpr double harmless_scale = 8;

/// Probabilities from numbers or logarithms of any scale.
void normalize(bool linear, double* values, std::size_t n) {
  const auto& kernel = detail::kernels<TableKernels>();
  if (!linear) {
    kernel.shift(values, -kernel.maximum(values, n), n);
    kernel.exp(values, n);
  }
  kernel.scale(values, 1 / kernel.total(values, n), n);
}

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
  const bool linear = work.domain == Workspace::Domain::linear;
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

/// What a clique's table is the product of: its factors, its children's messages, and on the way back what the parent
/// knows over what it was told.
std::vector<TableFactor> CliqueTree::product_of(const Workspace& work, std::size_t c) const {
  const auto& clique = cliques_[c];
  std::vector<TableFactor> parts;
  parts.reserve(clique.factors.size() + clique.children.size() + 1);
  for (const std::int32_t f : clique.factors) {
    const auto& factor = factors_[static_cast<std::size_t>(f)];
    parts.push_back({&factor.scope, work.factors.data() + factor.offset, factor.size});
  }
  for (const std::int32_t child : clique.children) {
    const auto& below = cliques_[static_cast<std::size_t>(child)];
    parts.push_back({&below.separator, work.separators.data() + below.separator_offset, below.separator_size});
  }
  if (work.given[c] != nullptr) {
    const double scale = work.domain == Workspace::Domain::linear ? std::exp(work.log_scale[c]) : work.log_scale[c];
    parts.push_back({&clique.separator, work.given[c], clique.separator_size,
                     work.separators.data() + clique.separator_offset, scale});
  }
  return parts;
}

void CliqueTree::sum_clique(Workspace& work, std::size_t c, const std::vector<TableSum>& sums) const {
  const auto& clique = cliques_[c];
  const auto parts = product_of(work, c);
  if (work.domain == Workspace::Domain::linear)
    return work.product.run(TableDomain::linear, clique.scope, position_states_, parts, sums);
  if (work.domain == Workspace::Domain::maximum)
    return work.product.run(TableDomain::maximum, clique.scope, position_states_, parts, sums);
  work.product.run(TableDomain::maximum, clique.scope, position_states_, parts,
                   {{&clique.scope, work.table.data(), clique.size}});
  // By way of sums over several of their variables, so that the clique's own table is passed few times.
  std::vector<detail::ScopePart> scopes;
  for (std::size_t s = 0; s < sums.size(); ++s)
    scopes.push_back({sums[s].scope, sums[s].size, static_cast<std::int32_t>(s)});
  for (const auto& group : detail::scope_groups(std::move(scopes), clique.size, position_states_)) {
    Buffer between(group.members.size() > 1 ? group.size : 0);
    if (group.members.size() > 1)
      work.log_sums->project(work.table.data(), axis_runs(clique.scope, group.scope, position_states_), between.data());
    for (const std::int32_t member : group.members) {
      const TableSum& sum = sums[static_cast<std::size_t>(member)];
      if (group.members.size() > 1)
        work.log_sums->project(between.data(), axis_runs(group.scope, *sum.scope, position_states_), sum.data);
      else
        work.log_sums->project(work.table.data(), axis_runs(clique.scope, *sum.scope, position_states_), sum.data);
    }
  }
}

/// Messages towards the root. False where linear numbers are unsafe.
bool CliqueTree::collect(Workspace& work) const {
  const auto& kernel = detail::kernels<TableKernels>();
  const bool linear = work.domain == Workspace::Domain::linear;
  for (std::size_t c = 0; c < cliques_.size(); ++c) {
    const auto& clique = cliques_[c];
    auto& range = work.separator_range[c];
    double least = 0, largest = 0;
    if (linear) {
      for (const std::int32_t f : clique.factors) least -= work.factor_range[static_cast<std::size_t>(f)];
      for (const std::int32_t child : clique.children) {
        least += work.separator_range[static_cast<std::size_t>(child)].least;
        largest += work.separator_range[static_cast<std::size_t>(child)].largest;
      }
      if (largest > safe_range / 10) return false;
    }
    const bool uncertain = linear && least < -safe_range;
    double* message = work.separators.data() + clique.separator_offset;
    const std::size_t n = clique.separator_size;
    sum_clique(work, c, {{&clique.separator, message, n}});
    if (linear)
      detail::kernels<TableBlockKernels>().range(message, n, &largest, &least);
    else
      largest = kernel.maximum(message, n);
    // Also where an entry is zero: it need not be in truth.
    if (uncertain && !(*std::min_element(message, message + n) > std::exp(certain_message))) return false;
    if (linear ? largest == 0 : largest == minus_infinity) {
      work.possible = false;
      return true;
    }
    if (!linear) {
      work.log_scale[c] = largest;
      kernel.shift(message, -largest, n);
    } else {
      range = {std::log(least), std::log(largest)};
      if (n < large_message || std::abs(range.largest) > harmless_scale) {
        work.log_scale[c] = range.largest;
        kernel.scale(message, 1 / largest, n);
        range = {range.least - range.largest, 0};
      }
    }
    work.log_constant += work.log_scale[c];
  }
  return true;
}

/// From the root down: marginals of separators, and where they are asked for of variables and of factors.
void CliqueTree::distribute(Workspace& work, double* variables, double* factors) const {
  const bool linear = work.domain == Workspace::Domain::linear;
  const double one = linear ? 1 : 0;
  work.down = Buffer(separator_entries_);
  std::vector<TableSum> sums;
  std::vector<TableScope> self(variable_at_.size());
  for (std::size_t c = cliques_.size(); c-- > 0;) {
    const auto& clique = cliques_[c];
    if (clique.separator.empty()) work.given[c] = &one;
    sums.clear();
    for (const std::int32_t child : clique.children) {
      const auto& below = cliques_[static_cast<std::size_t>(child)];
      const auto same = std::find_if(sums.begin(), sums.end(), [&](const TableSum& sum) {
        return sum.size == below.separator_size && *sum.scope == below.separator;
      });
      double* to = same != sums.end() ? same->data : work.down.data() + below.separator_offset;
      if (same == sums.end()) sums.push_back({&below.separator, to, below.separator_size});
      work.given[static_cast<std::size_t>(child)] = to;
    }
    const std::size_t separators = sums.size();
    if (variables != nullptr)
      for (const std::int32_t p : clique.variables) {
        const auto k = static_cast<std::size_t>(p);
        self[k] = {p};
        sums.push_back(
            {&self[k], variables + variable_offset_[static_cast<std::size_t>(variable_at_[k])], position_states_[k]});
      }
    if (factors != nullptr)
      for (const std::int32_t f : clique.factors) {
        const auto& factor = factors_[static_cast<std::size_t>(f)];
        sums.push_back({&factor.scope, factors + factor.offset, factor.size});
      }
    if (sums.empty()) continue;
    sum_clique(work, c, sums);
    for (std::size_t s = separators; s < sums.size(); ++s) normalize(linear, sums[s].data, sums[s].size);
  }
}

ExactSums CliqueTree::sums(const std::vector<const double*>& tables, TableScale scale,
                           const std::vector<std::int64_t>& states, bool variables, bool factors) const {
  check(tables, states);
  for (const auto domain : {Workspace::Domain::linear, Workspace::Domain::logarithm}) {
    if (domain == Workspace::Domain::logarithm && logarithm_bytes_ > memory_limit_)
      fail<NumericalError>("junction_tree",
                           "potentials leave the range of a double, and with logarithms the model needs "
                           "width ",
                           width_, " and ", logarithm_bytes_, " bytes, beyond the limit of ", memory_limit_, " bytes");
    Workspace work(*this, domain);
    if (!load_factors(work, tables, scale, states)) continue;
    if (work.possible && !collect(work)) continue;
    ExactSums result;
    result.possible = work.possible;
    result.log_partition = work.possible ? work.log_constant : minus_infinity;
    if (!work.possible || !(variables || factors)) return result;
    Buffer marginals(factors ? factor_entries_ : 0);
    if (variables) result.variables = observed_marginals(states);
    distribute(work, variables ? result.variables.data() : nullptr, factors ? marginals.data() : nullptr);
    if (factors) whole_factor_marginals(marginals.data(), states, result.factors);
    return result;
  }
  fail<NumericalError>("junction_tree", "a factor holds NaN or infinity");
}
}  // namespace tapestry
