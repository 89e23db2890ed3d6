#include <algorithm>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/chain_operations.hpp>
#include <tapestry/prob/entry_sums.hpp>
#include <tapestry/prob/losses/marginal_loss.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

namespace tapestry {
namespace {

constexpr auto loss_name = "structured_loss";

using detail::column;
using detail::LabelledMarginal;
using Entries = std::vector<std::int64_t>;

/// Where the numbers of a step lie.
template <class T>
struct Layout {
  explicit Layout(const ChainPotentials<T>& p)
      : batch(p.unary.extent(0)), steps(p.unary.extent(1)), states(p.unary.extent(2)), lengths(p.lengths) {
    const std::int64_t square = states * states;
    step_stride = p.transitions.rank() > 2 ? square : 0;
    batch_stride = p.transitions.rank() > 3 ? square * (steps - 1) : 0;
  }
  std::int64_t length(std::int64_t b) const { return lengths ? (*lengths)[b] : steps; }
  std::int64_t step(std::int64_t b, std::int64_t t) const { return b * steps + t; }
  /// The entry of a transition from step t.
  std::int64_t transition(std::int64_t b, std::int64_t t, std::int64_t from, std::int64_t to) const {
    return b * batch_stride + t * step_stride + from * states + to;
  }
  std::int64_t batch, steps, states, step_stride, batch_stride;
  std::optional<Indices> lengths;
};

template <class T>
Var<T> pseudo_likelihood(const ChainPotentials<T>& p, const Indices& labels) {
  const Layout<T> at(p);
  const std::int64_t K = at.states;
  const auto y = [&](std::int64_t b, std::int64_t t) { return labels[at.step(b, t)]; };
  // Entries of unary, transitions, start and end, and the state whose score they are part of.
  Entries entries[4], targets[4];
  Entries rows, picked, row;
  for (std::int64_t b = 0; b < at.batch; ++b)
    for (std::int64_t t = 0; t < at.length(b); ++t) {
      for (std::int64_t k = 0; k < K; ++k) {
        const std::int64_t target = at.step(b, t) * K + k;
        const auto add = [&](std::size_t part, std::int64_t entry) {
          entries[part].push_back(entry);
          targets[part].push_back(target);
        };
        add(0, target);
        if (t > 0) add(1, at.transition(b, t - 1, y(b, t - 1), k));
        if (t + 1 < at.length(b)) add(1, at.transition(b, t, k, y(b, t + 1)));
        if (t == 0 && p.start.defined()) add(2, k);
        if (t + 1 == at.length(b) && p.end.defined()) add(3, k);
      }
      rows.push_back(at.step(b, t));
      picked.push_back(at.step(b, t) * K + y(b, t));
      row.push_back(b);
    }
  Var<T> scores = Var<T>::zeros(p.unary.shape());
  const Var<T>* parts[] = {&p.unary, &p.transitions, &p.start, &p.end};
  for (std::size_t i = 0; i < 4; ++i)
    if (!entries[i].empty())
      scores = scores + detail::spread_entries(detail::sum_entries(*parts[i], column(entries[i])), column(targets[i]),
                                               p.unary.shape());
  return detail::sum_by_row(logsumexp(scores, {2}), rows, row, at.batch) -
         detail::sum_by_row(scores, picked, row, at.batch);
}

/// The sum of the log-partitions of each factor alone: [B].
template <class T>
Var<T> piecewise_log_partition(const ChainPotentials<T>& p) {
  const Layout<T> at(p);
  Entries steps, steps_row, transitions, transitions_row, ends;
  for (std::int64_t b = 0; b < at.batch; ++b) {
    if (at.length(b) > 0) ends.push_back(b);
    for (std::int64_t t = 0; t < at.length(b); ++t) {
      steps.push_back(at.step(b, t));
      steps_row.push_back(b);
      if (t == 0) continue;
      transitions.push_back(at.transition(b, t - 1, 0, 0) / (at.states * at.states));
      transitions_row.push_back(b);
    }
  }
  const int rank = p.transitions.rank();
  Var<T> total = detail::sum_by_row(logsumexp(p.unary, {2}), steps, steps_row, at.batch);
  if (!transitions.empty())
    total = total +
            detail::sum_by_row(logsumexp(p.transitions, {rank - 2, rank - 1}), transitions, transitions_row, at.batch);
  for (const Var<T>* x : {&p.start, &p.end})
    if (x->defined()) total = total + detail::sum_by_row(logsumexp(*x), Entries(ends.size(), 0), ends, at.batch);
  return total;
}

template <class T>
Var<T> marginal_losses(const ChainPotentials<T>& p, const Indices& labels, LossKind kind) {
  const Layout<T> at(p);
  const std::int64_t K = at.states;
  const bool cliques = detail::of_cliques(kind);
  const bool quadratic = detail::quadratic(kind);
  ChainPotentials<T> apart = p;
  if (cliques && at.steps > 1) {
    // A slice for each transition, as marginals of shared ones are sums.
    apart.transitions = broadcast_to(p.transitions, Shape{at.batch, at.steps - 1, K, K});
  }
  const auto marginals = chain_marginals(apart);
  std::vector<LabelledMarginal> labelled;
  for (std::int64_t b = 0; b < at.batch; ++b)
    for (std::int64_t t = 0; t < at.length(b); ++t) {
      const std::int64_t y = labels[at.step(b, t)];
      if (y < 0) continue;
      if (!cliques) labelled.push_back({b, at.step(b, t) * K, K, y});
      if (!cliques || t + 1 == at.length(b) || labels[at.step(b, t + 1)] < 0) continue;
      labelled.push_back({b, (b * (at.steps - 1) + t) * K * K, K * K, y * K + labels[at.step(b, t + 1)]});
    }
  if (labelled.empty()) return Var<T>::zeros({at.batch});
  return detail::marginal_loss(cliques ? marginals.transitions : marginals.unary, labelled, at.batch, quadratic);
}

/// The best assignment under the potentials and `cost` for each wrong label, less the labels' score.
template <class T>
Var<T> margin(const ChainPotentials<T>& p, const Indices& labels, double cost, const Var<T>& score) {
  const Layout<T> at(p);
  IndexTensor best = empty_tensor<std::int64_t>({at.batch, at.steps});
  Tensor<T> costs = empty_tensor<T>({at.batch});
  {
    const NoGradients off;
    Tensor<T> wrong = empty_tensor<T>(p.unary.shape());
    for (std::int64_t i = 0; i < p.unary.size(); ++i) {
      const std::int64_t t = i / at.states % at.steps, b = i / at.states / at.steps;
      wrong.data()[i] = t < at.length(b) && i % at.states != labels[i / at.states] ? static_cast<T>(cost) : T(0);
    }
    ChainPotentials<T> augmented = p;
    augmented.unary = p.unary + Var<T>(std::move(wrong));
    best = chain_viterbi(augmented).states;
  }
  for (std::int64_t b = 0; b < at.batch; ++b) {
    std::int64_t wrong = 0;
    for (std::int64_t t = 0; t < at.length(b); ++t) wrong += best.data()[at.step(b, t)] != labels[at.step(b, t)];
    costs.data()[b] = static_cast<T>(cost * static_cast<double>(wrong));
  }
  return chain_score(p, Indices(std::move(best))) + Var<T>(std::move(costs)) - score;
}

}  // namespace

template <class T>
Var<T> structured_loss(const ChainPotentials<T>& p, const Indices& labels, const StructuredLoss& loss) {
  detail::chain_form(loss_name, p);
  const Layout<T> at(p);
  if (labels.shape() != Shape{at.batch, at.steps})
    fail<ShapeError>(loss_name, "labels ", labels.shape(), " for unary potentials ", p.unary.shape());
  const bool marginal = detail::of_marginals(loss.kind);
  for (std::int64_t b = 0; b < at.batch; ++b)
    for (std::int64_t t = 0; t < at.length(b); ++t)
      if (const std::int64_t y = labels[at.step(b, t)]; y < (marginal ? -1 : 0) || y >= at.states)
        fail<IndexError>(loss_name, "step ", t, " of sequence ", b, " has ", at.states, " states, none is ", y);
  if (marginal) return marginal_losses(p, labels, loss.kind);
  const Var<T> score = chain_score(p, labels);
  for (std::int64_t b = 0; b < at.batch; ++b)
    if (score.data()[b] == -std::numeric_limits<T>::infinity())
      fail<NumericalError>(loss_name, "the potentials forbid the labels of sequence ", b);
  switch (loss.kind) {
    case LossKind::pseudo_likelihood:
      return pseudo_likelihood(p, labels);
    case LossKind::piecewise:
      return piecewise_log_partition(p) - score;
    case LossKind::max_margin:
      return margin(p, labels, loss.cost, score);
    case LossKind::perceptron:
      return margin(p, labels, 0, score);
    default:
      return chain_log_partition(p) - score;
  }
}

template Var<float> structured_loss(const ChainPotentials<float>&, const Indices&, const StructuredLoss&);
template Var<double> structured_loss(const ChainPotentials<double>&, const Indices&, const StructuredLoss&);

}  // namespace tapestry
