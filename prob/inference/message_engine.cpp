#include <tapestry/prob/inference/message_engine.hpp>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <queue>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/inference/structured_factor.hpp>

namespace tapestry::detail {
namespace {

constexpr double minus_infinity = SoftMaximum::minus_infinity;
// A sum of products in probabilities below this may have lost terms: it is done again with logarithms.
constexpr double least_linear = 1e-250;
constexpr std::int64_t factors_per_chunk = 256;

}  // namespace

MessageEngine::MessageEngine(std::shared_ptr<const GraphStructure> graph, double temperature,
                             std::vector<double> weights)
    : graph_(std::move(graph)), temperature_(temperature), weights_(std::move(weights)), potential_offset_{0} {
  if (!(temperature >= 0)) fail<NumericalError>("belief_propagation", "a temperature of ", temperature);
  std::int64_t count = 0;
  for (std::size_t g = 0; g < graph_->factors.size(); ++g) {
    const auto& group = graph_->factors[g];
    const std::int64_t factors = group.factors(), arity = group.arity(), slots = width(group);
    group_start_.push_back(count);
    count += factors;
    widest_ = std::max(widest_, slots);
    std::vector<std::int64_t> offsets(static_cast<std::size_t>(factors * arity));
    const VariableGroup* variables = nullptr;
    for (std::int64_t i = 0; i < factors * arity; ++i) {
      const std::int64_t v = group.scopes[i];
      if (variables == nullptr || v < variables->first || v >= variables->first + variables->size())
        variables = &graph_->group_of(v);
      offsets[static_cast<std::size_t>(i)] = variables->first_state + (v - variables->first) * variables->cardinality;
    }
    states_at_.push_back(std::move(offsets));
    for (std::int64_t f = 0; f < factors; ++f) {
      group_of_.push_back(static_cast<std::int32_t>(g));
      first_message_.push_back(size_);
      size_ += slots;
    }
    potential_offset_.push_back(potential_offset_.back() + factors * group.table().elements());
  }
  if (weights_.empty()) weights_.assign(static_cast<std::size_t>(count), 1.0);
  if (static_cast<std::int64_t>(weights_.size()) != count)
    fail<ShapeError>("belief_propagation", weights_.size(), " weights for ", count, " factors");
  for (const double w : weights_)
    if (!(w > 0) || !std::isfinite(w)) fail<NumericalError>("belief_propagation", "a factor's weight is ", w);
  sum_.resize(static_cast<std::size_t>(graph_->states()));
  forbidden_.resize(sum_.size());
}

std::int64_t MessageEngine::width(const FactorStructure& group) const {
  std::int64_t n = 0;
  for (const std::int64_t k : group.cardinalities) n += k;
  return n;
}

MessageEngine::Factor MessageEngine::factor(std::int32_t f) const {
  const auto at = static_cast<std::size_t>(f);
  const auto g = static_cast<std::size_t>(group_of_[at]);
  const std::int64_t index = f - group_start_[g];
  const std::int64_t entries = graph_->factors[g].table().elements();
  return {&graph_->factors[g], index,       entries, potentials_.data() + potential_offset_[g] + index * entries,
          first_message_[at],  weights_[at]};
}

template <class T>
void MessageEngine::load(const std::vector<const T*>& potentials, const std::vector<PotentialLayout>& layouts,
                         std::int64_t batch) {
  potentials_.resize(static_cast<std::size_t>(potential_entries()));
  linear_.resize(potentials_.size());
  linear_scale_.assign(first_message_.size(), 0.0);
  for (std::size_t g = 0; g < graph_->factors.size(); ++g) {
    const auto& group = graph_->factors[g];
    const auto& layout = layouts[g];
    const bool pair = group.kind == FactorKind::table && group.arity() == 2 && temperature_ > 0;
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      const auto number = static_cast<std::size_t>(group_start_[g] + f);
      const T* from = potentials[g] + (layout.batch > 0 ? batch * layout.batch_stride : 0) + f * layout.factor_stride;
      double* to = potentials_.data() + potential_offset_[g] + f * layout.entries;
      double largest = minus_infinity;
      for (std::int64_t e = 0; e < layout.entries; ++e) {
        const auto x = static_cast<double>(from[e]);
        if (!(x < std::numeric_limits<double>::infinity()))
          fail<NumericalError>("belief_propagation", "factor ", f, " of group '", group.name, "' has a potential of ",
                               x);
        to[e] = x / weights_[number];
        largest = std::max(largest, to[e]);
      }
      if (!pair || largest == minus_infinity) continue;
      linear_scale_[number] = largest;
      double* linear = linear_.data() + (to - potentials_.data());
      for (std::int64_t e = 0; e < layout.entries; ++e) linear[e] = std::exp((to[e] - largest) / temperature_);
    }
  }
}

template void MessageEngine::load(const std::vector<const float*>&, const std::vector<PotentialLayout>&, std::int64_t);
template void MessageEngine::load(const std::vector<const double*>&, const std::vector<PotentialLayout>&, std::int64_t);

void MessageEngine::sum_messages(const double* messages) {
  std::fill(sum_.begin(), sum_.end(), 0.0);
  std::fill(forbidden_.begin(), forbidden_.end(), 0);
  for (const auto& [variable, state] : graph_->evidence) {
    const std::int64_t offset = graph_->state_offset(variable);
    for (std::int64_t k = 0; k < graph_->cardinality(variable); ++k)
      if (k != state) ++forbidden_[static_cast<std::size_t>(offset + k)];
  }
  for (std::size_t g = 0; g < graph_->factors.size(); ++g) {
    const auto& group = graph_->factors[g];
    const std::int64_t arity = group.arity();
    for (std::int64_t f = 0; f < group.factors(); ++f) {
      const double weight = weights_[static_cast<std::size_t>(group_start_[g] + f)];
      for (std::int64_t i = 0; i < arity; ++i) {
        const std::int64_t offset = states_at_[g][static_cast<std::size_t>(f * arity + i)];
        for (std::int64_t k = 0; k < group.cardinalities[static_cast<std::size_t>(i)]; ++k, ++messages) {
          const bool finite = *messages != minus_infinity;
          sum_[static_cast<std::size_t>(offset + k)] += finite ? weight * *messages : 0;
          forbidden_[static_cast<std::size_t>(offset + k)] += !finite;
        }
      }
    }
  }
}

/// Visits a factor's messages with the states they are about.
#define TAPESTRY_FOR_EACH_MESSAGE(f, m, s)                                                                             \
  for (std::int64_t i_ = 0, m = 0, group_ = (f).group - graph_->factors.data(), n_ = (f).group->arity(); i_ < n_;      \
       ++i_)                                                                                                           \
    for (std::int64_t k_ = 0,                                                                                          \
                      s = states_at_[static_cast<std::size_t>(group_)][static_cast<std::size_t>((f).index * n_ + i_)]; \
         k_ < (f).group->cardinalities[static_cast<std::size_t>(i_)]; ++k_, ++m, ++s)

void MessageEngine::change_sum(const Factor& f, const double* old, const double* fresh) {
  TAPESTRY_FOR_EACH_MESSAGE(f, m, s) {
    const bool was = old[m] != minus_infinity, is = fresh[m] != minus_infinity;
    sum_[static_cast<std::size_t>(s)] += f.weight * ((is ? fresh[m] : 0) - (was ? old[m] : 0));
    forbidden_[static_cast<std::size_t>(s)] += static_cast<int>(was) - static_cast<int>(is);
  }
}

void MessageEngine::cavities(const Factor& f, const double* messages, double* out) const {
  TAPESTRY_FOR_EACH_MESSAGE(f, m, s) {
    const bool finite = messages[m] != minus_infinity;
    const std::int32_t others = forbidden_[static_cast<std::size_t>(s)] - (finite ? 0 : 1);
    out[m] = others > 0 ? minus_infinity : sum_[static_cast<std::size_t>(s)] - (finite ? messages[m] : 0);
  }
}

namespace {

/// Calls visit(entry, states) for all entries of a table.
template <class Visit>
void for_each_entry(const FactorStructure& group, std::vector<std::int64_t>& states, Visit visit) {
  const auto arity = group.cardinalities.size();
  states.assign(arity, 0);
  for (std::int64_t entry = 0;; ++entry) {
    visit(entry);
    std::size_t i = arity;
    while (i > 0 && ++states[i - 1] == group.cardinalities[i - 1]) states[--i] = 0;
    if (i == 0) return;
  }
}

/// A sum of numbers of which some may be -inf, from which each can be taken away again.
struct Total {
  double finite = 0;
  int infinite = 0;
  void add(double x) {
    if (x == minus_infinity)
      ++infinite;
    else
      finite += x;
  }
  double without(double x) const {
    if (x == minus_infinity) return infinite > 1 ? minus_infinity : finite;
    return infinite > 0 ? minus_infinity : finite - x;
  }
  double value() const { return infinite > 0 ? minus_infinity : finite; }
};

}  // namespace

void MessageEngine::update(const Factor& f, const double* cavity, double* out) const {
  const auto& group = *f.group;
  if (group.kind != FactorKind::table) {
    StructuredFactor structured(group.kind, group.arity(), temperature_);
    structured.forward(f.potentials, cavity, out);
    return;
  }
  const std::int64_t arity = group.arity();
  if (arity == 1) {
    std::copy(f.potentials, f.potentials + f.entries, out);
    return;
  }
  const SoftMaximum soft(temperature_);
  if (arity == 2) {
    const std::int64_t rows = group.cardinalities[0], columns = group.cardinalities[1];
    const auto number =
        static_cast<std::size_t>(group_start_[static_cast<std::size_t>(&group - graph_->factors.data())] + f.index);
    const double* linear = linear_.data() + (f.potentials - potentials_.data());
    double buffer[64];
    for (int side = 0; side < 2; ++side) {
      const std::int64_t from = side == 0 ? columns : rows, to = side == 0 ? rows : columns;
      const std::int64_t from_stride = side == 0 ? 1 : columns, to_stride = side == 0 ? columns : 1;
      const double* in = cavity + (side == 0 ? rows : 0);
      double* result = out + (side == 0 ? 0 : rows);
      double largest = minus_infinity;
      for (std::int64_t a = 0; a < from; ++a) largest = std::max(largest, in[a]);
      const bool fast = temperature_ > 0 && from <= 64 && largest != minus_infinity;
      if (fast)
        for (std::int64_t a = 0; a < from; ++a) buffer[a] = std::exp((in[a] - largest) / temperature_);
      for (std::int64_t b = 0; b < to; ++b) {
        if (fast) {
          double total = 0;
          for (std::int64_t a = 0; a < from; ++a) total += linear[a * from_stride + b * to_stride] * buffer[a];
          if (total > least_linear) {
            result[b] = temperature_ * std::log(total) + largest + linear_scale_[number];
            continue;
          }
        }
        SoftMaximum sum = soft;
        for (std::int64_t a = 0; a < from; ++a) sum.add(f.potentials[a * from_stride + b * to_stride] + in[a]);
        result[b] = sum.value();
      }
    }
    return;
  }
  std::vector<SoftMaximum> sums(static_cast<std::size_t>(width(group)), soft);
  std::vector<std::int64_t> states;
  for_each_entry(group, states, [&](std::int64_t entry) {
    if (f.potentials[entry] == minus_infinity) return;
    Total total;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < states.size(); at += group.cardinalities[i++]) total.add(cavity[at + states[i]]);
    at = 0;
    for (std::size_t i = 0; i < states.size(); at += group.cardinalities[i++])
      sums[static_cast<std::size_t>(at + states[i])].add(f.potentials[entry] + total.without(cavity[at + states[i]]));
  });
  for (std::size_t m = 0; m < sums.size(); ++m) out[m] = sums[m].value();
}

void MessageEngine::update_backward(const Factor& f, const double* cavity, const double* out, const double* gradient,
                                    double* cavity_gradient, double* potential_gradient) const {
  const auto& group = *f.group;
  if (group.kind != FactorKind::table) {
    StructuredFactor structured(group.kind, group.arity(), temperature_);
    std::vector<double> messages(static_cast<std::size_t>(width(group)));
    structured.forward(f.potentials, cavity, messages.data());
    structured.backward(gradient, 0, potential_gradient, cavity_gradient);
    return;
  }
  const SoftMaximum soft(temperature_);
  std::vector<std::int64_t> states;
  for_each_entry(group, states, [&](std::int64_t entry) {
    if (f.potentials[entry] == minus_infinity) return;
    Total total;
    std::int64_t at = 0;
    for (std::size_t i = 0; i < states.size(); at += group.cardinalities[i++]) total.add(cavity[at + states[i]]);
    at = 0;
    double all = 0;
    for (std::size_t i = 0; i < states.size(); at += group.cardinalities[i++]) {
      const std::int64_t m = at + states[i];
      if (gradient[m] == 0) continue;
      const double term = f.potentials[entry] + total.without(cavity[m]);
      const double g = gradient[m] * soft.weight(term, out[m]);
      cavity_gradient[m] -= g;
      all += g;
    }
    if (all == 0 && total.infinite > 0) return;
    potential_gradient[entry] += all;
    at = 0;
    for (std::size_t i = 0; i < states.size(); at += group.cardinalities[i++]) cavity_gradient[at + states[i]] += all;
  });
}

double MessageEngine::normalize(const Factor& f, double* messages) const {
  bool dead = false;
  for (const std::int64_t k : f.group->cardinalities) {
    SoftMaximum sum(temperature_);
    for (std::int64_t i = 0; i < k; ++i) sum.add(messages[i]);
    const double scale = sum.value();
    dead = dead || scale == minus_infinity;
    if (scale != minus_infinity)
      for (std::int64_t i = 0; i < k; ++i) messages[i] -= scale;
    messages += k;
  }
  return dead ? minus_infinity : 0;
}

double MessageEngine::renew(const Factor& f, const double* old, double damping, double* fresh) const {
  std::vector<double> heap;
  double stack[128];
  const std::int64_t n = width(*f.group);
  double* cavity = stack;
  if (n > 128) {
    heap.resize(static_cast<std::size_t>(n));
    cavity = heap.data();
  }
  cavities(f, old, cavity);
  update(f, cavity, fresh);
  normalize(f, fresh);
  double change = 0;
  for (std::int64_t m = 0; m < n; ++m) {
    if (damping > 0 && fresh[m] != minus_infinity && old[m] != minus_infinity)
      fresh[m] = (1 - damping) * fresh[m] + damping * old[m];
    change = std::max(change, std::abs(std::exp(fresh[m]) - std::exp(old[m])));
  }
  return change;
}

double MessageEngine::flood(const double* old, double damping, double* fresh) {
  sum_messages(old);
  const std::int64_t chunks = (factors() + factors_per_chunk - 1) / factors_per_chunk;
  std::vector<double> change(static_cast<std::size_t>(std::max<std::int64_t>(chunks, 1)), 0.0);
  parallel_for(factors(), factors_per_chunk, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Factor f = factor(static_cast<std::int32_t>(i));
      auto& most = change[static_cast<std::size_t>(chunk)];
      most = std::max(most, renew(f, old + f.messages, damping, fresh + f.messages));
    }
  });
  return *std::max_element(change.begin(), change.end());
}

double MessageEngine::sweep(const std::vector<std::int32_t>& order, double damping, double* messages) {
  sum_messages(messages);
  std::vector<double> fresh(static_cast<std::size_t>(widest_));
  double change = 0;
  for (const std::int32_t i : order) {
    const Factor f = factor(i);
    double* own = messages + f.messages;
    change = std::max(change, renew(f, own, damping, fresh.data()));
    change_sum(f, own, fresh.data());
    std::copy(fresh.begin(), fresh.begin() + width(*f.group), own);
  }
  return change;
}

double MessageEngine::residual_sweep(std::vector<double>& residuals, double damping, double* messages) {
  // Factors around each variable, to know whose residual an update changes.
  std::vector<std::int64_t> first(static_cast<std::size_t>(graph_->size() + 1), 0);
  for (const auto& group : graph_->factors)
    for (std::int64_t i = 0; i < group.scopes.size(); ++i) ++first[static_cast<std::size_t>(group.scopes[i] + 1)];
  for (std::size_t v = 1; v < first.size(); ++v) first[v] += first[v - 1];
  std::vector<std::int32_t> around(static_cast<std::size_t>(first.back()));
  std::vector<std::int64_t> fill(first.begin(), first.end() - 1);
  for (std::int32_t i = 0; i < factors(); ++i) {
    const Factor f = factor(i);
    for (std::int64_t k = 0; k < f.group->arity(); ++k)
      around[static_cast<std::size_t>(
          fill[static_cast<std::size_t>(f.group->scopes[f.index * f.group->arity() + k])]++)] = i;
  }
  sum_messages(messages);
  std::vector<double> fresh(static_cast<std::size_t>(widest_));
  std::priority_queue<std::pair<double, std::int32_t>> queue;
  const auto measure = [&](std::int32_t i) {
    const Factor f = factor(i);
    residuals[static_cast<std::size_t>(i)] = renew(f, messages + f.messages, damping, fresh.data());
    queue.push({residuals[static_cast<std::size_t>(i)], i});
  };
  residuals.assign(static_cast<std::size_t>(factors()), 0.0);
  for (std::int32_t i = 0; i < factors(); ++i) measure(i);
  for (std::int64_t updates = 0; updates < factors() && !queue.empty();) {
    const auto [residual, i] = queue.top();
    queue.pop();
    if (residual != residuals[static_cast<std::size_t>(i)] || residual == 0) continue;
    const Factor f = factor(i);
    double* own = messages + f.messages;
    renew(f, own, damping, fresh.data());
    change_sum(f, own, fresh.data());
    std::copy(fresh.begin(), fresh.begin() + width(*f.group), own);
    ++updates;
    residuals[static_cast<std::size_t>(i)] = 0;
    if (damping > 0) measure(i);
    for (std::int64_t k = 0; k < f.group->arity(); ++k) {
      const auto v = static_cast<std::size_t>(f.group->scopes[f.index * f.group->arity() + k]);
      for (std::int64_t a = first[v]; a < first[v + 1]; ++a)
        if (around[static_cast<std::size_t>(a)] != i) measure(around[static_cast<std::size_t>(a)]);
    }
  }
  return residuals.empty() ? 0 : *std::max_element(residuals.begin(), residuals.end());
}

std::vector<std::int32_t> MessageEngine::tree_order() const {
  std::vector<std::vector<std::int32_t>> around(static_cast<std::size_t>(graph_->size()));
  for (std::int32_t i = 0; i < factors(); ++i) {
    const Factor f = factor(i);
    for (std::int64_t k = 0; k < f.group->arity(); ++k)
      around[static_cast<std::size_t>(f.group->scopes[f.index * f.group->arity() + k])].push_back(i);
  }
  std::vector<char> seen_factor(static_cast<std::size_t>(factors()), 0), seen(around.size(), 0);
  std::vector<std::int32_t> order;
  std::deque<std::int64_t> queue;
  for (std::size_t root = 0; root < around.size(); ++root) {
    if (seen[root]) continue;
    seen[root] = 1;
    queue.push_back(static_cast<std::int64_t>(root));
    for (; !queue.empty(); queue.pop_front())
      for (const std::int32_t i : around[static_cast<std::size_t>(queue.front())]) {
        if (seen_factor[static_cast<std::size_t>(i)]) continue;
        seen_factor[static_cast<std::size_t>(i)] = 1;
        order.push_back(i);
        const Factor f = factor(i);
        for (std::int64_t k = 0; k < f.group->arity(); ++k) {
          const std::int64_t v = f.group->scopes[f.index * f.group->arity() + k];
          if (!seen[static_cast<std::size_t>(v)]) {
            seen[static_cast<std::size_t>(v)] = 1;
            queue.push_back(v);
          }
        }
      }
  }
  for (std::int32_t i = 0; i < factors(); ++i)
    if (!seen_factor[static_cast<std::size_t>(i)]) order.push_back(i);
  // From the leaves to the roots, and back.
  std::vector<std::int32_t> out(order.rbegin(), order.rend());
  out.insert(out.end(), order.begin(), order.end());
  return out;
}

void MessageEngine::flood_backward(const double* old, double damping, const double* fresh_gradient,
                                   double* old_gradient, double* potential_gradient) {
  sum_messages(old);
  std::vector<double> g_sum(sum_.size(), 0.0);
  const auto n = static_cast<std::size_t>(widest_);
  std::vector<double> cavity(n), out(n), g(n), g_cavity(n);
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    const double* own = old + f.messages;
    cavities(f, own, cavity.data());
    update(f, cavity.data(), out.data());
    const double* given = fresh_gradient + f.messages;
    double* own_gradient = old_gradient + f.messages;
    std::int64_t m = 0;
    for (const std::int64_t k : f.group->cardinalities) {
      SoftMaximum soft(temperature_);
      for (std::int64_t i = m; i < m + k; ++i) soft.add(out[static_cast<std::size_t>(i)]);
      const double scale = soft.value();
      double total = 0;
      for (std::int64_t i = m; i < m + k; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const bool mixed = damping > 0 && out[at] != minus_infinity && own[i] != minus_infinity;
        g[at] = out[at] == minus_infinity ? 0 : given[i] * (mixed ? 1 - damping : 1);
        if (mixed) own_gradient[i] += damping * given[i];
        total += g[at];
      }
      for (std::int64_t i = m; i < m + k && scale != minus_infinity; ++i)
        g[static_cast<std::size_t>(i)] -= total * soft.weight(out[static_cast<std::size_t>(i)], scale);
      m += k;
    }
    std::fill(g_cavity.begin(), g_cavity.end(), 0.0);
    double* g_potential = potential_gradient + (f.potentials - potentials_.data());
    std::vector<double> scaled(static_cast<std::size_t>(f.entries), 0.0);
    update_backward(f, cavity.data(), out.data(), g.data(), g_cavity.data(), scaled.data());
    for (std::int64_t e = 0; e < f.entries; ++e) g_potential[e] += scaled[static_cast<std::size_t>(e)] / f.weight;
    TAPESTRY_FOR_EACH_MESSAGE(f, at, s) {
      const double value = g_cavity[static_cast<std::size_t>(at)];
      g_sum[static_cast<std::size_t>(s)] += value;
      if (own[at] != minus_infinity) own_gradient[at] -= value;
    }
  }
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    TAPESTRY_FOR_EACH_MESSAGE(f, at, s)
    if (old[f.messages + at] != minus_infinity)
      old_gradient[f.messages + at] += f.weight * g_sum[static_cast<std::size_t>(s)];
  }
}

double MessageEngine::log_partition_of(const Factor& f, const double* cavity, double* probabilities) const {
  const auto& group = *f.group;
  std::fill(probabilities, probabilities + f.entries, 0.0);
  if (group.kind != FactorKind::table) {
    StructuredFactor structured(group.kind, group.arity(), temperature_);
    std::vector<double> messages(static_cast<std::size_t>(width(group))), ignored(messages.size(), 0.0);
    const double value = structured.forward(f.potentials, cavity, messages.data());
    if (value != minus_infinity) structured.backward(nullptr, 1, probabilities, ignored.data());
    return value;
  }
  SoftMaximum soft(temperature_);
  std::vector<std::int64_t> states;
  for_each_entry(group, states, [&](std::int64_t entry) {
    double total = f.potentials[entry];
    std::int64_t at = 0;
    for (std::size_t i = 0; i < states.size(); at += group.cardinalities[i++]) total += cavity[at + states[i]];
    probabilities[entry] = total;
    soft.add(total);
  });
  const double value = soft.value();
  for (std::int64_t e = 0; e < f.entries; ++e)
    probabilities[e] = value == minus_infinity ? 0 : soft.weight(probabilities[e], value);
  return value;
}

MessageEngine::Beliefs MessageEngine::read(const double* messages) {
  sum_messages(messages);
  Beliefs out;
  out.variables.assign(sum_.size(), 0.0);
  out.factors.assign(static_cast<std::size_t>(potential_entries()), 0.0);
  // Counting numbers of the variables.
  std::vector<double> count(static_cast<std::size_t>(graph_->size()), 1.0);
  std::vector<double> cavity(static_cast<std::size_t>(widest_));
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    cavities(f, messages + f.messages, cavity.data());
    out.log_partition +=
        f.weight * log_partition_of(f, cavity.data(), out.factors.data() + (f.potentials - potentials_.data()));
    for (std::int64_t i = 0; i < f.group->arity(); ++i)
      count[static_cast<std::size_t>(f.group->scopes[f.index * f.group->arity() + i])] -= f.weight;
  }
  std::int64_t s = 0;
  for (const auto& group : graph_->variables)
    for (std::int64_t v = group.first; v < group.first + group.size(); ++v, s += group.cardinality) {
      SoftMaximum soft(temperature_);
      for (std::int64_t k = s; k < s + group.cardinality; ++k)
        if (forbidden_[static_cast<std::size_t>(k)] == 0) soft.add(sum_[static_cast<std::size_t>(k)]);
      const double value = soft.value();
      if (value == minus_infinity) {
        out.log_partition = minus_infinity;
        continue;
      }
      if (out.log_partition != minus_infinity) out.log_partition += count[static_cast<std::size_t>(v)] * value;
      for (std::int64_t k = s; k < s + group.cardinality; ++k)
        if (forbidden_[static_cast<std::size_t>(k)] == 0)
          out.variables[static_cast<std::size_t>(k)] = soft.weight(sum_[static_cast<std::size_t>(k)], value);
    }
  return out;
}

void MessageEngine::read_backward(const double* messages, double partition_gradient, const double* variable_gradient,
                                  const double* factor_gradient, double* message_gradient, double* potential_gradient) {
  const Beliefs beliefs = read(messages);
  if (beliefs.log_partition == minus_infinity) return;
  const double scale = temperature_ > 0 ? 1 / temperature_ : 0;
  std::vector<double> count(static_cast<std::size_t>(graph_->size()), 1.0);
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    for (std::int64_t i = 0; i < f.group->arity(); ++i)
      count[static_cast<std::size_t>(f.group->scopes[f.index * f.group->arity() + i])] -= f.weight;
  }
  std::vector<double> g_sum(sum_.size(), 0.0);
  std::int64_t s = 0;
  for (const auto& group : graph_->variables)
    for (std::int64_t v = group.first; v < group.first + group.size(); ++v, s += group.cardinality) {
      double mean = 0;
      for (std::int64_t k = s; k < s + group.cardinality && variable_gradient != nullptr; ++k)
        mean += beliefs.variables[static_cast<std::size_t>(k)] * variable_gradient[k];
      for (std::int64_t k = s; k < s + group.cardinality; ++k) {
        const double own = variable_gradient == nullptr ? 0 : scale * (variable_gradient[k] - mean);
        g_sum[static_cast<std::size_t>(k)] = beliefs.variables[static_cast<std::size_t>(k)] *
                                             (partition_gradient * count[static_cast<std::size_t>(v)] + own);
      }
    }
  std::vector<double> g_cavity(static_cast<std::size_t>(widest_));
  std::vector<std::int64_t> states;
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    const auto& group = *f.group;
    const std::int64_t at = f.potentials - potentials_.data();
    std::fill(g_cavity.begin(), g_cavity.end(), 0.0);
    const double* own_gradient = factor_gradient == nullptr ? nullptr : factor_gradient + at;
    double mean = 0;
    bool curved = false;
    for (std::int64_t e = 0; e < f.entries && own_gradient != nullptr; ++e) {
      mean += beliefs.factors[static_cast<std::size_t>(at + e)] * own_gradient[e];
      curved = curved || own_gradient[e] != 0;
    }
    if (group.kind != FactorKind::table) {
      if (curved)
        fail<GraphError>("belief_propagation", "probabilities of factor group '", group.name,
                         "' are not differentiable: only those of tables are");
      std::vector<double> cavity(static_cast<std::size_t>(width(group))), out(cavity.size()),
          g(static_cast<std::size_t>(f.entries), 0.0);
      cavities(f, messages + f.messages, cavity.data());
      StructuredFactor structured(group.kind, group.arity(), temperature_);
      structured.forward(f.potentials, cavity.data(), out.data());
      structured.backward(nullptr, f.weight * partition_gradient, g.data(), g_cavity.data());
      for (std::int64_t e = 0; e < f.entries; ++e)
        potential_gradient[at + e] += g[static_cast<std::size_t>(e)] / f.weight;
    } else {
      for_each_entry(group, states, [&](std::int64_t entry) {
        const double g = beliefs.factors[static_cast<std::size_t>(at + entry)] *
                         (f.weight * partition_gradient + (curved ? scale * (own_gradient[entry] - mean) : 0));
        potential_gradient[at + entry] += g / f.weight;
        std::int64_t m = 0;
        for (std::size_t i = 0; i < states.size(); m += group.cardinalities[i++])
          g_cavity[static_cast<std::size_t>(m + states[i])] += g;
      });
    }
    TAPESTRY_FOR_EACH_MESSAGE(f, m, state) {
      g_sum[static_cast<std::size_t>(state)] += g_cavity[static_cast<std::size_t>(m)];
      if (messages[f.messages + m] != minus_infinity)
        message_gradient[f.messages + m] -= g_cavity[static_cast<std::size_t>(m)];
    }
  }
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    TAPESTRY_FOR_EACH_MESSAGE(f, m, state)
    if (messages[f.messages + m] != minus_infinity)
      message_gradient[f.messages + m] += f.weight * g_sum[static_cast<std::size_t>(state)];
  }
}

#undef TAPESTRY_FOR_EACH_MESSAGE

std::vector<std::int64_t> MessageEngine::decode(const double* messages) {
  sum_messages(messages);
  std::vector<std::int64_t> out;
  std::int64_t s = 0;
  for (const auto& group : graph_->variables)
    for (std::int64_t v = 0; v < group.size(); ++v, s += group.cardinality) {
      std::int64_t best = 0;
      double largest = minus_infinity;
      for (std::int64_t k = 0; k < group.cardinality; ++k)
        if (forbidden_[static_cast<std::size_t>(s + k)] == 0 && sum_[static_cast<std::size_t>(s + k)] > largest) {
          largest = sum_[static_cast<std::size_t>(s + k)];
          best = k;
        }
      out.push_back(best);
    }
  for (const auto& [variable, state] : graph_->evidence) out[static_cast<std::size_t>(variable)] = state;
  return out;
}

std::vector<double> spanning_forest_weights(const GraphStructure& graph, int rounds, std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> scopes;
  for (const auto& group : graph.factors)
    for (std::int64_t f = 0; f < group.factors(); ++f)
      scopes.emplace_back(group.scopes.data() + f * group.arity(), group.scopes.data() + (f + 1) * group.arity());
  std::vector<double> count(scopes.size(), 0.0);
  std::vector<std::size_t> order(scopes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<std::int64_t> root(static_cast<std::size_t>(graph.size())), roots;
  const auto find = [&](std::int64_t v) {
    while (root[static_cast<std::size_t>(v)] != v)
      v = root[static_cast<std::size_t>(v)] = root[static_cast<std::size_t>(root[static_cast<std::size_t>(v)])];
    return v;
  };
  std::uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  const auto random = [&](std::uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
  };
  int done = 0;
  for (std::size_t missing = scopes.size(); done < rounds || missing > 0; ++done) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random(i)]);
    // Those that were never drawn come first: the loop ends, as each round takes at least one of them in.
    std::stable_partition(order.begin(), order.end(), [&](std::size_t f) { return count[f] == 0; });
    for (std::size_t v = 0; v < root.size(); ++v) root[v] = static_cast<std::int64_t>(v);
    for (const std::size_t f : order) {
      roots.clear();
      for (const std::int64_t v : scopes[f]) roots.push_back(find(v));
      std::sort(roots.begin(), roots.end());
      if (std::adjacent_find(roots.begin(), roots.end()) != roots.end()) continue;
      for (const std::int64_t r : roots) root[static_cast<std::size_t>(r)] = roots.front();
      missing -= count[f] == 0;
      count[f] += 1;
    }
  }
  for (double& c : count) c /= done;
  return count;
}

}  // namespace tapestry::detail
