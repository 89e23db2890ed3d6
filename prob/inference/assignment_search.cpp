#include <tapestry/prob/inference/assignment_search.hpp>

#include <algorithm>
#include <limits>
#include <numeric>

namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
// Entries of a factor beyond which it waits for more of its variables to be set.
constexpr std::int64_t most_entries = 4096;
// Entries looked at in all: some tenths of a second; and how many cost as much as to begin with a factor.
constexpr std::int64_t most_work = 50000000, revision = 10;
constexpr std::size_t most_scanned_variables = 20000;
constexpr int most_climbs = 100;

}  // namespace

template <class T>
AssignmentSearch<T>::AssignmentSearch(const GraphStructure& graph, std::vector<const T*> potentials,
                                      const std::vector<PotentialLayout>& layouts)
    : around_(static_cast<std::size_t>(graph.size())), evidence_(around_.size(), -1) {
  for (const auto& group : graph.variables)
    for (std::int64_t v = 0; v < group.size(); ++v) {
      first_.push_back(owner_.size());
      owner_.insert(owner_.end(), static_cast<std::size_t>(group.cardinality), first_.size() - 1);
    }
  first_.push_back(owner_.size());
  for (std::size_t g = 0; g < graph.factors.size(); ++g) {
    const auto& group = graph.factors[g];
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      const T* own = potentials[g] + f * layouts[g].factor_stride;
      const bool hard = group.kind == FactorKind::at_most_one || std::any_of(own, own + layouts[g].entries, [](T x) {
                          return static_cast<double>(x) == minus_infinity;
                        });
      const std::int64_t* scope = group.scopes.data() + f * group.arity();
      for (std::int64_t i = 0; i < group.arity(); ++i)
        around_[static_cast<std::size_t>(scope[i])].push_back(static_cast<std::int32_t>(factors_.size()));
      factors_.push_back({&group, scope, own, hard});
    }
  }
  for (const auto& [variable, state] : graph.evidence) evidence_[static_cast<std::size_t>(variable)] = state;
  queued_.assign(factors_.size(), 0);
}

template <class T>
double AssignmentSearch<T>::potential(const Factor& factor, const std::int64_t* states) const {
  const std::int64_t entry = factor.group->entry(states);
  return entry < 0 ? minus_infinity : static_cast<double>(factor.potentials[entry]);
}

template <class T>
bool AssignmentSearch<T>::remove(std::size_t state, std::size_t variable) {
  left_[state] = 0;
  trail_.push_back(state);
  for (const std::int32_t f : around_[variable])
    if (factors_[static_cast<std::size_t>(f)].hard && queued_[static_cast<std::size_t>(f)] == 0) {
      queued_[static_cast<std::size_t>(f)] = 1;
      queue_.push_back(f);
    }
  return --count_[variable] > 0;
}

template <class T>
void AssignmentSearch<T>::undo(std::size_t mark) {
  for (; trail_.size() > mark; trail_.pop_back()) {
    left_[trail_.back()] = 1;
    ++count_[owner_[trail_.back()]];
  }
}

template <class T>
bool AssignmentSearch<T>::revise(std::int32_t number) {
  const Factor& factor = factors_[static_cast<std::size_t>(number)];
  const auto arity = static_cast<std::size_t>(factor.group->arity());
  // The states left of each variable of the factor, one variable after the other.
  choices_.clear();
  begin_.assign(1, 0);
  std::int64_t entries = 1;
  for (std::size_t i = 0; i < arity; ++i) {
    const auto v = static_cast<std::size_t>(factor.scope[i]);
    entries *= count_[v];
    if (entries > most_entries) return true;
    for (std::size_t s = first_[v]; s < first_[v + 1]; ++s)
      if (left_[s] != 0) choices_.push_back(static_cast<std::int64_t>(s - first_[v]));
    begin_.push_back(choices_.size());
  }
  work_ += revision + static_cast<std::int64_t>(choices_.size());
  supported_.assign(choices_.size(), 0);
  at_.assign(begin_.begin(), begin_.end() - 1);
  states_.resize(arity);
  std::size_t missing = choices_.size();
  for (std::int64_t e = 0; e < entries && missing > 0; ++e) {
    ++work_;
    for (std::size_t i = 0; i < arity; ++i) states_[i] = choices_[at_[i]];
    if (potential(factor, states_.data()) != minus_infinity)
      for (std::size_t i = 0; i < arity; ++i) {
        missing -= supported_[at_[i]] == 0 ? 1 : 0;
        supported_[at_[i]] = 1;
      }
    for (std::size_t i = arity; i-- > 0 && ++at_[i] == begin_[i + 1];) at_[i] = begin_[i];
  }
  for (std::size_t i = 0; i < arity && missing > 0; ++i) {
    const auto v = static_cast<std::size_t>(factor.scope[i]);
    for (std::size_t c = begin_[i]; c < begin_[i + 1]; ++c)
      if (supported_[c] == 0 && !remove(first_[v] + static_cast<std::size_t>(choices_[c]), v)) return false;
  }
  return true;
}

template <class T>
bool AssignmentSearch<T>::propagate() {
  bool possible = true;
  while (!queue_.empty()) {
    const std::int32_t f = queue_.back();
    queue_.pop_back();
    queued_[static_cast<std::size_t>(f)] = 0;
    if (!possible) continue;
    possible = revise(f);
    if (!possible) trouble_[static_cast<std::size_t>(f)] += 1;
  }
  return possible;
}

template <class T>
bool AssignmentSearch<T>::set(std::size_t v, std::int64_t state) {
  for (std::size_t s = first_[v]; s < first_[v + 1]; ++s)
    if (left_[s] != 0 && s != first_[v] + static_cast<std::size_t>(state)) remove(s, v);
  return propagate();
}

/// A variable with several states left; the number of variables where there is none.
template <class T>
std::size_t AssignmentSearch<T>::next(bool by_trouble) const {
  std::size_t best = count_.size();
  double least = std::numeric_limits<double>::infinity();
  for (const std::size_t v : surest_) {
    if (count_[v] < 2) continue;
    if (!by_trouble) return v;
    double weight = 1;
    for (const std::int32_t f : around_[v]) weight += trouble_[static_cast<std::size_t>(f)];
    if (count_[v] / weight >= least) continue;
    least = count_[v] / weight;
    best = v;
  }
  return best;
}

template <class T>
typename AssignmentSearch<T>::Outcome AssignmentSearch<T>::search(std::int64_t most_dead_ends, bool by_trouble) {
  struct Choice {
    std::size_t variable, mark, tried;
    std::vector<std::int64_t> states;  // the most probable first
  };
  std::vector<Choice> choices;
  std::int64_t dead_ends = 0;
  while (true) {
    const std::size_t v = next(by_trouble);
    if (v == count_.size()) return Outcome::found;
    Choice choice{v, trail_.size(), 0, {}};
    for (std::size_t s = first_[v]; s < first_[v + 1]; ++s)
      if (left_[s] != 0) choice.states.push_back(static_cast<std::int64_t>(s - first_[v]));
    std::stable_sort(choice.states.begin(), choice.states.end(), [&](std::int64_t a, std::int64_t b) {
      return beliefs_[first_[v] + static_cast<std::size_t>(a)] > beliefs_[first_[v] + static_cast<std::size_t>(b)];
    });
    choices.push_back(std::move(choice));
    while (true) {
      if (choices.empty()) return Outcome::none;
      Choice& last = choices.back();
      if (last.tried == last.states.size()) {
        undo(last.mark);
        choices.pop_back();
        continue;
      }
      undo(last.mark);
      if (set(last.variable, last.states[last.tried++])) break;
      if (++dead_ends > most_dead_ends || work_ > most_work) return Outcome::unknown;
    }
  }
}

template <class T>
typename AssignmentSearch<T>::Outcome AssignmentSearch<T>::find(const std::vector<double>& beliefs,
                                                                std::vector<std::int64_t>& states) {
  beliefs_ = beliefs;
  const std::size_t n = around_.size();
  left_.assign(owner_.size(), 1);
  count_.clear();
  for (std::size_t v = 0; v < n; ++v) count_.push_back(static_cast<std::int32_t>(first_[v + 1] - first_[v]));
  trouble_.assign(factors_.size(), 0.0);
  trail_.clear();
  work_ = 0;
  surest_.resize(n);
  std::iota(surest_.begin(), surest_.end(), std::size_t{0});
  std::vector<double> sureness(n, 0.0);
  for (std::size_t v = 0; v < n; ++v)
    for (std::size_t s = first_[v]; s < first_[v + 1]; ++s) sureness[v] = std::max(sureness[v], beliefs[s]);
  std::stable_sort(surest_.begin(), surest_.end(),
                   [&](std::size_t a, std::size_t b) { return sureness[a] > sureness[b]; });
  for (std::size_t f = 0; f < factors_.size(); ++f)
    if (factors_[f].hard) {
      queued_[f] = 1;
      queue_.push_back(static_cast<std::int32_t>(f));
    }
  for (std::size_t v = 0; v < n; ++v)
    for (std::size_t s = first_[v]; evidence_[v] >= 0 && s < first_[v + 1]; ++s)
      if (s != first_[v] + static_cast<std::size_t>(evidence_[v])) remove(s, v);
  if (!propagate()) return Outcome::none;
  const std::size_t root = trail_.size();
  Outcome outcome = search(50, false);
  for (std::int64_t most = 100; outcome == Outcome::unknown && n <= most_scanned_variables && work_ <= most_work;
       most *= 2) {
    undo(root);
    outcome = search(most, true);
  }
  if (outcome != Outcome::found) return outcome;
  states.resize(n);
  for (std::size_t v = 0; v < n; ++v)
    for (std::size_t s = first_[v]; s < first_[v + 1]; ++s)
      if (left_[s] != 0) states[v] = static_cast<std::int64_t>(s - first_[v]);
  climb(states);
  return outcome;
}

template <class T>
void AssignmentSearch<T>::climb(std::vector<std::int64_t>& states) const {
  std::vector<std::int64_t> local;
  const auto score = [&](std::size_t v) {
    double total = 0;
    for (const std::int32_t number : around_[v]) {
      const Factor& factor = factors_[static_cast<std::size_t>(number)];
      local.clear();
      for (std::int64_t i = 0; i < factor.group->arity(); ++i)
        local.push_back(states[static_cast<std::size_t>(factor.scope[i])]);
      total += potential(factor, local.data());
    }
    return total;
  };
  bool changed = true;
  for (int i = 0; i < most_climbs && changed; ++i) {
    changed = false;
    for (std::size_t v = 0; v < states.size(); ++v) {
      if (evidence_[v] >= 0) continue;
      const std::int64_t before = states[v];
      std::int64_t best = before;
      double most = score(v) + 1e-12;
      for (std::int64_t s = 0; s < static_cast<std::int64_t>(first_[v + 1] - first_[v]); ++s) {
        states[v] = s;
        const double own = s == before ? minus_infinity : score(v);
        if (own > most) {
          most = own;
          best = s;
        }
      }
      states[v] = best;
      changed = changed || best != before;
    }
  }
}

template class AssignmentSearch<float>;
template class AssignmentSearch<double>;

}  // namespace tapestry::detail
