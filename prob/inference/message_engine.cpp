#include <tapestry/prob/inference/message_engine.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/prob/inference/message_parts.hpp>

namespace tapestry::detail {
namespace {

constexpr std::int64_t factors_per_chunk = 256;

/// The logarithm of probabilities' average, whichever of them is larger by more than a double can hold.
double mix(double fresh, double old, double damping, double temperature) {
  if (old > fresh) return mix(old, fresh, 1 - damping, temperature);
  return fresh + temperature * std::log((1 - damping) + damping * std::exp((old - fresh) / temperature));
}

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

void MessageEngine::change_sum(const Factor& f, const double* old, const double* fresh) {
  for_each_message(f, [&](std::int64_t m, std::int64_t s) {
    const bool was = old[m] != minus_infinity, is = fresh[m] != minus_infinity;
    sum_[static_cast<std::size_t>(s)] += f.weight * ((is ? fresh[m] : 0) - (was ? old[m] : 0));
    forbidden_[static_cast<std::size_t>(s)] += static_cast<int>(was) - static_cast<int>(is);
  });
}

void MessageEngine::cavities(const Factor& f, const double* messages, double* out) const {
  for_each_message(f, [&](std::int64_t m, std::int64_t s) {
    const bool finite = messages[m] != minus_infinity;
    const std::int32_t others = forbidden_[static_cast<std::size_t>(s)] - (finite ? 0 : 1);
    out[m] = others > 0 ? minus_infinity : sum_[static_cast<std::size_t>(s)] - (finite ? messages[m] : 0);
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

double MessageEngine::share_of_update(double update, double old, double damping) const {
  if (!(damping > 0) || update == minus_infinity || old == minus_infinity) return 1;
  if (temperature_ == 0) return 1 - damping;
  return 1 / (1 + damping / (1 - damping) * std::exp((old - update) / temperature_));
}

std::vector<double> MessageEngine::start() const {
  std::vector<double> messages(static_cast<std::size_t>(size_), 0.0);
  for (std::int32_t i = 0; i < factors(); ++i) {
    const Factor f = factor(i);
    if (f.group->kind == FactorKind::table && f.group->arity() == 1)
      std::copy(f.potentials, f.potentials + f.entries, messages.data() + f.messages);
    normalize(f, messages.data() + f.messages);
  }
  return messages;
}

void MessageEngine::start_backward(const double* gradient, double* potential_gradient) const {
  for (std::int32_t i = 0; i < factors(); ++i) {
    const Factor f = factor(i);
    if (f.group->kind != FactorKind::table || f.group->arity() != 1) continue;
    SoftMaximum soft(temperature_);
    double total = 0;
    for (std::int64_t k = 0; k < f.entries; ++k) {
      soft.add(f.potentials[k]);
      total += f.potentials[k] == minus_infinity ? 0 : gradient[f.messages + k];
    }
    const double scale = soft.value();
    if (scale == minus_infinity) continue;
    for (std::int64_t k = 0; k < f.entries; ++k)
      if (f.potentials[k] != minus_infinity)
        potential_gradient[f.potentials - potentials_.data() + k] +=
            (gradient[f.messages + k] - total * soft.weight(f.potentials[k], scale)) / f.weight;
  }
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
  if (f.group->arity() == 1) damping = 0;  // what depends on no message is there at once
  cavities(f, old, cavity);
  update(f, cavity, fresh);
  normalize(f, fresh);
  const double scale = temperature_ > 0 ? temperature_ : 1;
  double change = 0;
  for (std::int64_t m = 0; m < n; ++m) {
    if (damping > 0 && fresh[m] != minus_infinity && old[m] != minus_infinity) {
      if (temperature_ > 0)
        fresh[m] = mix(fresh[m], old[m], damping, temperature_);
      else
        fresh[m] = (1 - damping) * fresh[m] + damping * old[m];
    }
    change = std::max(change, std::abs(std::exp(fresh[m] / scale) - std::exp(old[m] / scale)));
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

void MessageEngine::renew_backward(const Factor& f, const double* old, double damping, const double* cavity,
                                   const double* gradient, double* old_gradient, double* cavity_gradient,
                                   double* potential_gradient) const {
  const auto n = static_cast<std::size_t>(width(*f.group));
  std::vector<double> out(n), g(n), scaled(static_cast<std::size_t>(f.entries), 0.0);
  update(f, cavity, out.data());
  std::int64_t m = 0;
  for (const std::int64_t k : f.group->cardinalities) {
    SoftMaximum soft(temperature_);
    for (std::int64_t i = m; i < m + k; ++i) soft.add(out[static_cast<std::size_t>(i)]);
    const double scale = soft.value();
    double total = 0;
    for (std::int64_t i = m; i < m + k; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double share =
          out[at] == minus_infinity ? 1 : share_of_update(out[at] - scale, old[i], f.group->arity() == 1 ? 0 : damping);
      g[at] = out[at] == minus_infinity ? 0 : gradient[i] * share;
      old_gradient[i] += (1 - share) * gradient[i];
      total += g[at];
    }
    for (std::int64_t i = m; i < m + k && scale != minus_infinity; ++i)
      g[static_cast<std::size_t>(i)] -= total * soft.weight(out[static_cast<std::size_t>(i)], scale);
    m += k;
  }
  update_backward(f, cavity, out.data(), g.data(), cavity_gradient, scaled.data());
  double* g_potential = potential_gradient + (f.potentials - potentials_.data());
  for (std::int64_t e = 0; e < f.entries; ++e) g_potential[e] += scaled[static_cast<std::size_t>(e)] / f.weight;
}

void MessageEngine::flood_backward(const double* old, double damping, const double* fresh_gradient,
                                   double* old_gradient, double* potential_gradient) {
  sum_messages(old);
  std::vector<double> g_sum(sum_.size(), 0.0), cavity(static_cast<std::size_t>(widest_)), g_cavity(cavity.size());
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    const double* own = old + f.messages;
    double* own_gradient = old_gradient + f.messages;
    cavities(f, own, cavity.data());
    std::fill(g_cavity.begin(), g_cavity.end(), 0.0);
    renew_backward(f, own, damping, cavity.data(), fresh_gradient + f.messages, own_gradient, g_cavity.data(),
                   potential_gradient);
    for_each_message(f, [&](std::int64_t at, std::int64_t s) {
      const double value = g_cavity[static_cast<std::size_t>(at)];
      g_sum[static_cast<std::size_t>(s)] += value;
      if (own[at] != minus_infinity) own_gradient[at] -= value;
    });
  }
  spread_sums(old, g_sum, old_gradient);
}

void MessageEngine::spread_sums(const double* messages, const std::vector<double>& sum_gradient,
                                double* gradient) const {
  for (std::int32_t number = 0; number < factors(); ++number) {
    const Factor f = factor(number);
    for_each_message(f, [&](std::int64_t at, std::int64_t s) {
      if (messages[f.messages + at] != minus_infinity)
        gradient[f.messages + at] += f.weight * sum_gradient[static_cast<std::size_t>(s)];
    });
  }
}
}  // namespace tapestry::detail
