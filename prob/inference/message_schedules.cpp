#include <algorithm>
#include <deque>
#include <queue>

#include <tapestry/prob/inference/message_engine.hpp>
#include <tapestry/prob/inference/message_parts.hpp>

namespace tapestry::detail {

double MessageEngine::sweep(const std::vector<std::int32_t>& order, double damping, double* messages,
                            std::vector<double>* replaced) {
  sum_messages(messages);
  std::vector<double> fresh(static_cast<std::size_t>(widest_));
  double change = 0;
  for (const std::int32_t i : order) {
    const Factor f = factor(i);
    double* own = messages + f.messages;
    change = std::max(change, renew(f, own, damping, fresh.data()));
    if (replaced != nullptr) replaced->insert(replaced->end(), own, own + width(*f.group));
    change_sum(f, own, fresh.data());
    std::copy(fresh.begin(), fresh.begin() + width(*f.group), own);
  }
  return change;
}

// A sweep is steps on the messages M and their sums S: the factor's messages become F(S, M_f), and its part of S is
// exchanged. The way back needs what was replaced, and goes through the same steps.
void MessageEngine::sweep_backward(const std::vector<std::int32_t>& order, const std::vector<double>& replaced,
                                   double damping, double* messages, double* gradient, double* potential_gradient) {
  sum_messages(messages);
  const auto n = static_cast<std::size_t>(widest_);
  std::vector<double> g_sum(sum_.size(), 0.0), cavity(n), given(n), g_old(n), g_cavity(n);
  const double* end = replaced.data() + replaced.size();
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    const Factor f = factor(*i);
    double *own = messages + f.messages, *own_gradient = gradient + f.messages;
    const double* old = end -= width(*f.group);
    for_each_message(f, [&](std::int64_t m, std::int64_t s) {
      const auto at = static_cast<std::size_t>(m);
      given[at] = own_gradient[m] + (own[m] != minus_infinity ? f.weight * g_sum[static_cast<std::size_t>(s)] : 0);
      g_old[at] = old[m] != minus_infinity ? -f.weight * g_sum[static_cast<std::size_t>(s)] : 0;
      g_cavity[at] = 0;
    });
    change_sum(f, own, old);
    std::copy(old, old + width(*f.group), own);
    cavities(f, own, cavity.data());
    renew_backward(f, own, damping, cavity.data(), given.data(), g_old.data(), g_cavity.data(), potential_gradient);
    for_each_message(f, [&](std::int64_t m, std::int64_t s) {
      const auto at = static_cast<std::size_t>(m);
      g_sum[static_cast<std::size_t>(s)] += g_cavity[at];
      own_gradient[m] = g_old[at] - (own[m] != minus_infinity ? g_cavity[at] : 0);
    });
  }
  spread_sums(messages, g_sum, gradient);
}

double MessageEngine::residual_sweep(std::vector<double>& residuals, double damping, double* messages,
                                     std::vector<std::int32_t>* order, std::vector<double>* replaced) {
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
    if (order != nullptr) order->push_back(i);
    if (replaced != nullptr) replaced->insert(replaced->end(), own, own + width(*f.group));
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
}  // namespace tapestry::detail
