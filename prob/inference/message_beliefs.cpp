#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/message_engine.hpp>
#include <tapestry/prob/inference/message_parts.hpp>
#include <tapestry/prob/inference/structured_factor.hpp>

// What messages say: probabilities, the log-partition, and their gradients.
namespace tapestry::detail {

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
                         "' are not differentiable: write its factors out as tables, or take Enumeration");
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
    for_each_message(f, [&](std::int64_t m, std::int64_t state) {
      g_sum[static_cast<std::size_t>(state)] += g_cavity[static_cast<std::size_t>(m)];
      if (messages[f.messages + m] != minus_infinity)
        message_gradient[f.messages + m] -= g_cavity[static_cast<std::size_t>(m)];
    });
  }
  spread_sums(messages, g_sum, message_gradient);
}
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
}  // namespace tapestry::detail
