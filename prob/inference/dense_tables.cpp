#include <tapestry/prob/inference/dense_tables.hpp>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr std::int64_t largest_arity = 24;

}  // namespace

DenseTables::DenseTables(const GraphStructure& graph) : graph_(graph), offsets_{0}, entry_of_(graph.factors.size()) {
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const auto& group = graph.factors[g];
    if (group.kind == FactorKind::table) {
      sizes_.push_back(static_cast<std::size_t>(group.table().elements()));
    } else {
      const std::int64_t arity = group.arity();
      if (arity > largest_arity)
        fail<NumericalError>("factor_graph", "factor group '", group.name, "' joins ", arity,
                             " variables; written out over all states, at most ", largest_arity, " are possible");
      sizes_.push_back(std::size_t{1} << arity);
      std::vector<std::int64_t> states(static_cast<std::size_t>(arity));
      for (std::size_t x = 0; x < sizes_.back(); ++x) {
        for (std::int64_t i = 0; i < arity; ++i)
          states[static_cast<std::size_t>(i)] = static_cast<std::int64_t>(x >> (arity - 1 - i) & 1);
        entry_of_[g].push_back(group.entry(states.data()));
      }
    }
    offsets_.push_back(offsets_.back() + sizes_.back() * static_cast<std::size_t>(group.factors()));
  }
}

std::vector<std::int64_t> cardinalities_of(const GraphStructure& graph) {
  std::vector<std::int64_t> out;
  for (const auto& group : graph.variables)
    out.insert(out.end(), static_cast<std::size_t>(group.size()), group.cardinality);
  return out;
}

std::vector<std::vector<std::int64_t>> DenseTables::scopes() const {
  std::vector<std::vector<std::int64_t>> out;
  for (const auto& group : graph_.factors) {
    const std::int64_t* id = group.scopes.data();
    for (std::int64_t f = 0; f < group.factors(); ++f, id += group.arity()) out.emplace_back(id, id + group.arity());
  }
  return out;
}

template <class T>
void DenseTables::load(const std::vector<const T*>& potentials, const std::vector<PotentialLayout>& layouts,
                       std::int64_t batch) {
  values_.resize(total());
  pointers_.clear();
  std::vector<double> entries;
  for (std::size_t g = 0; g < graph_.factors.size(); ++g) {
    const auto& group = graph_.factors[g];
    const auto& layout = layouts[g];
    entries.resize(static_cast<std::size_t>(layout.entries));
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      const T* from = potentials[g] + (layout.batch > 0 ? batch * layout.batch_stride : 0) + f * layout.factor_stride;
      for (std::size_t e = 0; e < entries.size(); ++e) {
        entries[e] = static_cast<double>(from[e]);
        if (!(entries[e] < std::numeric_limits<double>::infinity()))
          fail<NumericalError>("factor_graph", "factor ", f, " of group '", group.name, "' has a potential of ",
                               entries[e]);
      }
      double* table = values_.data() + offsets_[g] + static_cast<std::size_t>(f) * sizes_[g];
      expand(g, entries.data(), table);
      if (!entry_of_[g].empty())
        for (std::size_t x = 0; x < sizes_[g]; ++x)
          if (entry_of_[g][x] < 0) table[x] = minus_infinity;
      pointers_.push_back(table);
    }
  }
}

void DenseTables::add(const std::vector<double>& direction, double weight) {
  for (std::size_t i = 0; i < values_.size(); ++i) values_[i] += weight * direction[i];
}

void DenseTables::collapse(std::size_t group, const double* table, double* entries) const {
  const auto& map = entry_of_[group];
  if (map.empty()) {
    std::copy(table, table + sizes_[group], entries);
    return;
  }
  for (std::int64_t e = 0; e < graph_.factors[group].table().elements(); ++e) entries[e] = 0;
  for (std::size_t x = 0; x < map.size(); ++x)
    if (map[x] >= 0) entries[map[x]] += table[x];
}

void DenseTables::expand(std::size_t group, const double* entries, double* table) const {
  const auto& map = entry_of_[group];
  if (map.empty()) {
    std::copy(entries, entries + sizes_[group], table);
    return;
  }
  for (std::size_t x = 0; x < map.size(); ++x) table[x] = map[x] < 0 ? 0 : entries[map[x]];
}

template void DenseTables::load(const std::vector<const float*>&, const std::vector<PotentialLayout>&, std::int64_t);
template void DenseTables::load(const std::vector<const double*>&, const std::vector<PotentialLayout>&, std::int64_t);

}  // namespace tapestry::detail
