#include <algorithm>

#include <tapestry/prob/inference/message_engine.hpp>
#include <tapestry/prob/inference/message_parts.hpp>
#include <tapestry/prob/inference/structured_factor.hpp>

// What one factor sends, given what arrives.
namespace tapestry::detail {
namespace {

// A sum of products in probabilities below this may have lost terms: it is done again with logarithms.
constexpr double least_linear = 1e-250;

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
}  // namespace tapestry::detail
