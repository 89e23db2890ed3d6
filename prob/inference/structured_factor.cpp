#include <tapestry/prob/inference/structured_factor.hpp>

#include <algorithm>
#include <cmath>

namespace tapestry::detail {

void SoftMaximum::add(double x) {
  if (x == minus_infinity) return;
  if (temperature_ == 0) {
    largest_ = std::max(largest_, x);
    return;
  }
  if (x > largest_) {
    sum_ = sum_ * std::exp((largest_ - x) / temperature_) + 1;
    largest_ = x;
  } else {
    sum_ += std::exp((x - largest_) / temperature_);
  }
}

double SoftMaximum::value() const {
  if (largest_ == minus_infinity || temperature_ == 0) return largest_;
  return largest_ + temperature_ * std::log(sum_);
}

double SoftMaximum::weight(double x, double result) const {
  if (x == minus_infinity) return 0;
  return temperature_ == 0 ? (x == result ? 1 : 0) : std::exp((x - result) / temperature_);
}

StructuredFactor::StructuredFactor(FactorKind kind, std::int64_t arity, double temperature)
    : kind_(kind),
      arity_(arity),
      states_(kind == FactorKind::cardinality ? arity + 1 : 2),
      start_(kind == FactorKind::logic_and ? 1 : 0),
      soft_(temperature),
      ahead_(static_cast<std::size_t>((arity + 1) * states_)),
      behind_(ahead_.size()),
      messages_(static_cast<std::size_t>(2 * arity)) {}

StructuredFactor::Step StructuredFactor::step(std::int64_t place, std::int64_t state, std::int64_t x) const {
  const bool last = place == arity_ - 1;
  switch (kind_) {
    case FactorKind::parity:
      return {state ^ x, -1};
    case FactorKind::logic_or:
      return {last ? state ^ x : state | x, -1};
    case FactorKind::logic_and:
      return {last ? state ^ x : state & x, -1};
    case FactorKind::cardinality:
      return {state + x < states_ ? state + x : -1, -1};
    default:
      if (x == 0) return {state, -1};
      return state == 0 ? Step{1, place + 1} : Step{-1, -1};
  }
}

std::int64_t StructuredFactor::final_entry(std::int64_t state) const {
  return kind_ == FactorKind::at_most_one && state == 1 ? -1 : state;
}

double StructuredFactor::forward(const double* potentials, const double* cavities, double* messages) {
  potentials_ = potentials;
  cavities_ = cavities;
  std::fill(ahead_.begin(), ahead_.end(), SoftMaximum::minus_infinity);
  at(ahead_, 0, start_) = 0;
  std::vector<SoftMaximum> next(static_cast<std::size_t>(states_), soft_);
  for (std::int64_t i = 0; i < arity_; ++i) {
    for (auto& sum : next) sum.clear();
    for (std::int64_t s = 0; s < states_; ++s)
      for (std::int64_t x = 0; x < 2; ++x)
        if (const Step to = step(i, s, x); to.next >= 0)
          next[static_cast<std::size_t>(to.next)].add(at(ahead_, i, s) + cavities[2 * i + x] + potential(to.entry));
    for (std::int64_t s = 0; s < states_; ++s) at(ahead_, i + 1, s) = next[static_cast<std::size_t>(s)].value();
  }
  for (std::int64_t s = 0; s < states_; ++s) at(behind_, arity_, s) = potential(final_entry(s));
  for (std::int64_t i = arity_; i-- > 0;) {
    SoftMaximum message[2] = {soft_, soft_};
    for (std::int64_t s = 0; s < states_; ++s) {
      SoftMaximum rest = soft_;
      for (std::int64_t x = 0; x < 2; ++x)
        if (const Step to = step(i, s, x); to.next >= 0) {
          const double onwards = at(behind_, i + 1, to.next) + potential(to.entry);
          rest.add(cavities[2 * i + x] + onwards);
          message[x].add(at(ahead_, i, s) + onwards);
        }
      at(behind_, i, s) = rest.value();
    }
    for (std::int64_t x = 0; x < 2; ++x)
      messages[2 * i + x] = messages_[static_cast<std::size_t>(2 * i + x)] = message[x].value();
  }
  return log_partition_ = at(behind_, 0, start_);
}

void StructuredFactor::backward(const double* message_gradients, double partition_gradient, double* potential_gradients,
                                double* cavity_gradients) {
  std::vector<double> g_ahead(ahead_.size(), 0), g_behind(behind_.size(), 0);
  at(g_behind, 0, start_) = partition_gradient;
  const auto add_potential = [&](std::int64_t entry, double g) {
    if (entry >= 0) potential_gradients[entry] += g;
  };
  // The values behind() were made from the end, so their gradients flow from the start.
  for (std::int64_t i = 0; i < arity_; ++i)
    for (std::int64_t s = 0; s < states_; ++s)
      for (std::int64_t x = 0; x < 2; ++x) {
        const Step to = step(i, s, x);
        if (to.next < 0) continue;
        const double onwards = at(behind_, i + 1, to.next) + potential(to.entry);
        const double from_rest = at(g_behind, i, s) * soft_.weight(cavities_[2 * i + x] + onwards, at(behind_, i, s));
        const double from_message =
            message_gradients == nullptr
                ? 0
                : message_gradients[2 * i + x] *
                      soft_.weight(at(ahead_, i, s) + onwards, messages_[static_cast<std::size_t>(2 * i + x)]);
        at(g_behind, i + 1, to.next) += from_rest + from_message;
        add_potential(to.entry, from_rest + from_message);
        cavity_gradients[2 * i + x] += from_rest;
        at(g_ahead, i, s) += from_message;
      }
  for (std::int64_t s = 0; s < states_; ++s) add_potential(final_entry(s), at(g_behind, arity_, s));
  for (std::int64_t i = arity_; i-- > 0;)
    for (std::int64_t s = 0; s < states_; ++s)
      for (std::int64_t x = 0; x < 2; ++x) {
        const Step to = step(i, s, x);
        if (to.next < 0) continue;
        const double g =
            at(g_ahead, i + 1, to.next) *
            soft_.weight(at(ahead_, i, s) + cavities_[2 * i + x] + potential(to.entry), at(ahead_, i + 1, to.next));
        at(g_ahead, i, s) += g;
        cavity_gradients[2 * i + x] += g;
        add_potential(to.entry, g);
      }
}

}  // namespace tapestry::detail
