#include <algorithm>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/prob/inference/pairwise_passing.hpp>

namespace tapestry::detail {
namespace {

/// That of the structure, which is made once.
std::shared_ptr<const PairwiseWiring> wiring_of(const GraphStructure& graph, std::size_t pairs) {
  constexpr std::int64_t kind = -1;
  if (auto kept = graph.plans.find({kind})) return std::static_pointer_cast<const PairwiseWiring>(kept);
  std::vector<std::int64_t> first(pairs), second(pairs);
  std::size_t at = 0;
  for (const auto& group : graph.factors)
    for (std::int64_t f = 0; group.arity() == 2 && f < group.factors(); ++f, ++at) {
      first[at] = group.scopes[2 * f];
      second[at] = group.scopes[2 * f + 1];
    }
  auto made = std::make_shared<const PairwiseWiring>(static_cast<std::size_t>(graph.size()), pairs, first.data(),
                                                     second.data());
  graph.plans.keep({kind}, made);
  return made;
}

}  // namespace

std::shared_ptr<const PairwisePlan> PairwisePlan::of(const std::shared_ptr<const GraphStructure>& graph,
                                                     const std::vector<double>& weights) {
  auto plan = std::make_shared<PairwisePlan>();
  plan->graph_ = graph;
  for (const auto& group : graph->variables) {
    if (group.size() == 0) continue;
    if (plan->states_ != 0 && group.cardinality != plan->states_) return nullptr;
    plan->states_ = group.cardinality;
  }
  constexpr auto most = static_cast<std::int64_t>(PairwiseBeliefPropagationEngine<double>::most_states);
  if (plan->states_ < 1 || plan->states_ > most) return nullptr;
  std::int64_t pairs = 0;
  for (const auto& group : graph->factors) {
    if (group.kind != FactorKind::table || group.arity() < 1 || group.arity() > 2) return nullptr;
    if (group.arity() == 2) pairs += group.factors();
  }
  if (pairs == 0) return nullptr;
  std::int64_t factors = 0;
  for (const auto& group : graph->factors) factors += group.factors();
  if (!weights.empty() && static_cast<std::int64_t>(weights.size()) != factors) return nullptr;
  auto weight = weights.begin();
  for (const auto& group : graph->factors)
    for (std::int64_t f = 0; f < group.factors() && !weights.empty(); ++f, ++weight) {
      if (group.arity() == 1 ? *weight != 1 : !(*weight > 0)) return nullptr;
      if (group.arity() == 2) plan->weights_.push_back(*weight);
    }
  if (std::all_of(plan->weights_.begin(), plan->weights_.end(), [](double w) { return w == 1; }))
    plan->weights_.clear();
  plan->wiring_ = wiring_of(*graph, static_cast<std::size_t>(pairs));
  return plan;
}

namespace {

template <class T>
void check(const GraphStructure& graph, std::size_t group, const T* from, const PotentialLayout& layout) {
  const std::int64_t n = layout.factor_stride == 0 ? layout.entries : graph.factors[group].factors() * layout.entries;
  if (kernels<ElementwiseKernels<T>>().all_finite(from, static_cast<std::size_t>(n))) return;
  std::int64_t i = 0;
  while (i < n && from[i] < std::numeric_limits<T>::infinity()) ++i;
  if (i == n) return;
  fail<NumericalError>("belief_propagation", "factor ", i / layout.entries, " of group '", graph.factors[group].name,
                       "' has a potential of ", from[i]);
}

}  // namespace

template <class T>
void PairwisePotentials<T>::load(const PairwisePlan& plan, const std::vector<const T*>& data,
                                 const std::vector<PotentialLayout>& layouts, std::int64_t batch) {
  const auto& graph = plan.graph();
  const auto K = plan.states(), square = K * K;
  const std::int64_t size = graph.size() * K;
  T* unary = unary_.reserve(static_cast<std::size_t>(size));
  std::fill_n(unary, size, T(0));
  first_table_.assign(graph.factors.size(), 0);
  tables_ = 0;
  std::vector<const T*> from;
  int pair_groups = 0;
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const auto& group = graph.factors[g];
    const auto& layout = layouts[g];
    from.push_back(data[g] + (layout.batch > 0 ? batch * layout.batch_stride : 0));
    check(graph, g, from[g], layout);
    if (plan.pairwise(g)) {
      first_table_[g] = tables_;
      tables_ += static_cast<std::size_t>(layout.factor_stride == 0 && plan.weights().empty() ? 1 : group.factors());
      ++pair_groups;
      continue;
    }
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      T* to = unary + group.scopes[f] * K;
      for (std::int64_t k = 0; k < K; ++k) to[k] += from[g][f * layout.factor_stride + k];
    }
  }
  for (const auto& [variable, state] : graph.evidence)
    for (std::int64_t k = 0; k < K; ++k)
      if (k != state) unary[variable * K + k] = -std::numeric_limits<T>::infinity();
  index_.clear();
  if (!plan.weights().empty()) {
    T* to = copies_.reserve(tables_ * static_cast<std::size_t>(square));
    potentials_ = to;
    auto weight = plan.weights().begin();
    for (std::size_t g = 0; g < graph.factors.size(); ++g)
      for (std::int64_t f = 0; plan.pairwise(g) && f < graph.factors[g].factors(); ++f, ++weight) {
        const T* table = from[g] + f * layouts[g].factor_stride;
        for (std::int64_t i = 0; i < square; ++i) *to++ = table[i] / static_cast<T>(*weight);
      }
    return;
  }
  // A table for each factor needs no index.
  const bool indexed = static_cast<std::int64_t>(tables_) != plan.pairs();
  index_.resize(indexed ? static_cast<std::size_t>(plan.pairs()) : 0);
  std::size_t at = 0;
  T* copies = pair_groups > 1 ? copies_.reserve(tables_ * static_cast<std::size_t>(square)) : nullptr;
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    if (!plan.pairwise(g)) continue;
    const bool shared = layouts[g].factor_stride == 0;
    const std::int64_t factors = graph.factors[g].factors();
    potentials_ = from[g];
    if (copies != nullptr)
      std::copy_n(from[g], (shared ? 1 : factors) * square,
                  copies + first_table_[g] * static_cast<std::size_t>(square));
    for (std::int64_t f = 0; indexed && f < factors; ++f)
      index_[at++] = static_cast<std::int64_t>(first_table_[g]) + (shared ? 0 : f);
  }
  if (copies != nullptr) potentials_ = copies;
}

template <class T>
void PairwisePotentials<T>::refer(const PairwisePlan& plan, const std::vector<const T*>& data,
                                  const std::vector<PotentialLayout>& layouts, std::int64_t batch) {
  if (potentials_ == copies_.data()) return;
  for (std::size_t g = 0; g < data.size(); ++g)
    if (plan.pairwise(g)) potentials_ = data[g] + (layouts[g].batch > 0 ? batch * layouts[g].batch_stride : 0);
}

template class PairwisePotentials<float>;
template class PairwisePotentials<double>;

}  // namespace tapestry::detail
