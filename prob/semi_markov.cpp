#include <tapestry/prob/semi_markov.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/losses/marginal_loss.hpp>

namespace tapestry {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

struct Extents {
  std::int64_t batch, steps, durations, states;
};

template <class T>
Extents check(const char* name, const SemiMarkovPotentials<T>& p) {
  const Shape& s = p.segments.shape();
  if (s.rank() != 4 || s[2] < 1 || s[3] < 1)
    fail<ShapeError>(name, "segments must be [B, T, D, K] with D and K of at least one, not ", s);
  if (p.transitions.shape() != Shape{s[3], s[3]})
    fail<ShapeError>(name, "transitions ", p.transitions.shape(), " for ", s[3], " states");
  if (p.lengths) {
    if (p.lengths->shape() != Shape{s[0]})
      fail<ShapeError>(name, "lengths ", p.lengths->shape(), " for a batch of ", s[0]);
    for (std::int64_t b = 0; b < s[0]; ++b)
      if ((*p.lengths)[b] < 0 || (*p.lengths)[b] > s[1])
        fail<IndexError>(name, "length ", (*p.lengths)[b], " of sequence ", b, " is outside [0, ", s[1], "]");
  }
  return {s[0], s[1], s[2], s[3]};
}

/// One sequence: recursions over steps in logarithms.
template <class T>
class Sequence {
 public:
  Sequence(const Extents& e, std::int64_t length, const T* segments, const T* transitions)
      : n_(length), D_(e.durations), K_(e.states), segments_(segments), transitions_(transitions) {}

  double segment(std::int64_t t, std::int64_t d, std::int64_t k) const {
    return static_cast<double>(segments_[(t * D_ + d) * K_ + k]);
  }
  double transition(std::int64_t j, std::int64_t k) const { return static_cast<double>(transitions_[j * K_ + k]); }

  template <class Term>
  static double sum(std::int64_t terms, Term term) {
    double largest = minus_infinity, total = 0;
    for (std::int64_t i = 0; i < terms; ++i) largest = std::max(largest, term(i));
    if (largest == minus_infinity) return largest;
    for (std::int64_t i = 0; i < terms; ++i) total += std::exp(term(i) - largest);
    return largest + std::log(total);
  }
  double& at(std::vector<double>& x, std::int64_t t, std::int64_t k) const {
    return x[static_cast<std::size_t>(t * K_ + k)];
  }

  /// ended(t, k): all that ends with a segment of state k before step t; begun(t, k): the same with the transition to a
  /// segment of state k that begins at t.
  double log_partition() {
    ended_.assign(static_cast<std::size_t>((n_ + 1) * K_), minus_infinity);
    begun_.assign(ended_.size(), 0.0);
    for (std::int64_t t = 1; t <= n_; ++t) {
      for (std::int64_t k = 0; k < K_; ++k)
        at(ended_, t, k) =
            sum(std::min(D_, t), [&](std::int64_t d) { return at(begun_, t - d - 1, k) + segment(t - d - 1, d, k); });
      for (std::int64_t k = 0; k < K_; ++k)
        at(begun_, t, k) = sum(K_, [&](std::int64_t j) { return at(ended_, t, j) + transition(j, k); });
    }
    return n_ == 0 ? 0 : sum(K_, [&](std::int64_t k) { return at(ended_, n_, k); });
  }

  /// Adds g times the expected numbers of segments and transitions, either may be null.
  void add_expectations(double g, T* segments, T* transitions) {
    const double total = log_partition();
    if (n_ == 0 || total == minus_infinity) return;
    // rest(t, k): all that follows a segment of state k that ended before step t; ahead(t, k): all from a segment of
    // state k that begins at t.
    std::vector<double> rest(ended_.size(), 0.0), ahead(ended_.size(), minus_infinity);
    for (std::int64_t t = n_; t-- > 0;) {
      for (std::int64_t k = 0; k < K_; ++k)
        at(ahead, t, k) =
            sum(std::min(D_, n_ - t), [&](std::int64_t d) { return segment(t, d, k) + at(rest, t + d + 1, k); });
      for (std::int64_t k = 0; k < K_; ++k)
        at(rest, t, k) = sum(K_, [&](std::int64_t j) { return transition(k, j) + at(ahead, t, j); });
    }
    const auto probability = [&](double log_p) { return static_cast<T>(g * std::exp(log_p - total)); };
    for (std::int64_t t = 0; t < n_; ++t)
      for (std::int64_t k = 0; k < K_; ++k) {
        for (std::int64_t d = 0; segments != nullptr && d < std::min(D_, n_ - t); ++d)
          segments[(t * D_ + d) * K_ + k] += probability(at(begun_, t, k) + segment(t, d, k) + at(rest, t + d + 1, k));
        for (std::int64_t j = 0; transitions != nullptr && t > 0 && j < K_; ++j)
          transitions[j * K_ + k] += probability(at(ended_, t, j) + transition(j, k) + at(ahead, t, k));
      }
  }

  /// The best segmentation, into arrays of the sequence's steps.
  double best(std::int64_t* states, std::int64_t* begins) {
    std::vector<double> ended(static_cast<std::size_t>((n_ + 1) * K_), minus_infinity), begun(ended.size(), 0.0);
    std::vector<std::int64_t> duration(ended.size(), -1), before(ended.size(), -1);
    const auto place = [&](std::int64_t t, std::int64_t k) { return static_cast<std::size_t>(t * K_ + k); };
    for (std::int64_t t = 1; t <= n_; ++t) {
      for (std::int64_t k = 0; k < K_; ++k)
        for (std::int64_t d = 0; d < std::min(D_, t); ++d)
          if (const double x = begun[place(t - d - 1, k)] + segment(t - d - 1, d, k); x > ended[place(t, k)]) {
            ended[place(t, k)] = x;
            duration[place(t, k)] = d;
          }
      for (std::int64_t k = 0; k < K_; ++k) {
        begun[place(t, k)] = minus_infinity;
        for (std::int64_t j = 0; j < K_; ++j)
          if (const double x = ended[place(t, j)] + transition(j, k); x > begun[place(t, k)]) {
            begun[place(t, k)] = x;
            before[place(t, k)] = j;
          }
      }
    }
    if (n_ == 0) return 0;
    const auto last = std::max_element(ended.end() - K_, ended.end());
    if (*last == minus_infinity) return minus_infinity;
    std::int64_t k = last - (ended.end() - K_);
    for (std::int64_t t = n_; t > 0;) {
      const std::int64_t first = t - duration[place(t, k)] - 1;
      std::fill(states + first, states + t, k);
      begins[first] = 1;
      t = first;
      k = before[place(t, k)];
    }
    return *last;
  }

 private:
  std::int64_t n_, D_, K_;
  const T *segments_, *transitions_;
  std::vector<double> ended_, begun_;
};

template <class T>
class SemiMarkovLogPartition final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  SemiMarkovLogPartition(const Extents& extents, std::optional<Indices> lengths)
      : e_(extents), lengths_(std::move(lengths)) {}
  std::string_view name() const override { return "semi_markov_log_partition"; }
  Shape shape(const Shapes& inputs, int) const override { return {inputs[0][0]}; }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  void forward(Forward<T>& c) override {
    for (std::int64_t b = 0; b < e_.batch; ++b)
      c.output()[b] = static_cast<T>(sequence(b, c.input(0).data, c.input(1).data).log_partition());
  }
  void backward(Backward<T>& c) override {
    T* segments = c.wants(0) ? c.add_to(0) : nullptr;
    T* transitions = c.wants(1) ? c.add_to(1) : nullptr;
    for (std::int64_t b = 0; b < e_.batch; ++b)
      sequence(b, c.input(0).data, c.input(1).data)
          .add_expectations(static_cast<double>(c.gradient()[b]),
                            segments == nullptr ? nullptr : segments + b * stride(), transitions);
  }
  /// The same recursion in operations.
  void vjp(Vjp<T>& c) override {
    detail::vjp_through<T>(c, [this](const std::vector<Var<T>>& x) {
      std::vector<Var<T>> begun{Var<T>::zeros({e_.batch, e_.states})}, sums;
      for (std::int64_t t = 1; t <= e_.steps; ++t) {
        std::vector<Var<T>> terms;
        for (std::int64_t d = 0; d < std::min(e_.durations, t); ++d)
          terms.push_back(begun[static_cast<std::size_t>(t - d - 1)] + select(select(x[0], 1, t - d - 1), 1, d));
        const Var<T> ended = logsumexp(stack(terms, 0), {0});
        sums.push_back(logsumexp(ended, {1}));
        begun.push_back(logsumexp(reshape(ended, Shape{e_.batch, e_.states, 1}) + x[1], {1}));
      }
      std::vector<std::int64_t> entries, rows;
      for (std::int64_t b = 0; b < e_.batch; ++b)
        if (length(b) > 0) {
          entries.push_back((length(b) - 1) * e_.batch + b);
          rows.push_back(b);
        }
      return std::vector<Var<T>>{entries.empty() ? Var<T>::zeros({e_.batch})
                                                 : detail::sum_by_row(stack(sums, 0), entries, rows, e_.batch)};
    });
  }

 private:
  std::int64_t length(std::int64_t b) const { return lengths_ ? (*lengths_)[b] : e_.steps; }
  std::int64_t stride() const { return e_.steps * e_.durations * e_.states; }
  Sequence<T> sequence(std::int64_t b, const T* segments, const T* transitions) const {
    return {e_, length(b), segments + b * stride(), transitions};
  }
  Extents e_;
  std::optional<Indices> lengths_;
};

}  // namespace

template <class T>
Var<T> semi_markov_log_partition(const SemiMarkovPotentials<T>& p) {
  const Extents e = check("semi_markov_log_partition", p);
  return record(std::make_unique<SemiMarkovLogPartition<T>>(e, p.lengths), p.segments, p.transitions);
}

template <class T>
Var<T> semi_markov_score(const SemiMarkovPotentials<T>& p, const Segmentation& given) {
  constexpr const char* name = "semi_markov_score";
  const Extents e = check(name, p);
  for (const IndexTensor* x : {&given.states, &given.begins})
    if (shape_of(*x) != Shape{e.batch, e.steps})
      fail<ShapeError>(name, "a segmentation of shape ", shape_of(*x), " for segments ", p.segments.shape());
  std::vector<std::int64_t> segments, segment_rows, transitions, transition_rows;
  for (std::int64_t b = 0; b < e.batch; ++b) {
    const std::int64_t length = p.lengths ? (*p.lengths)[b] : e.steps;
    const std::int64_t *states = given.states.data() + b * e.steps, *begins = given.begins.data() + b * e.steps;
    for (std::int64_t first = 0; first < length;) {
      const std::int64_t k = states[first];
      if (k < 0 || k >= e.states) fail<IndexError>(name, "step ", first, " of sequence ", b, " has no state ", k);
      std::int64_t end = first + 1;
      while (end < length && begins[end] == 0) {
        if (states[end] != k)
          fail<IndexError>(name, "sequence ", b, " changes its state at step ", end, " within a segment");
        ++end;
      }
      if (end - first > e.durations)
        fail<IndexError>(name, "sequence ", b, " has a segment of ", end - first, " steps, at most ", e.durations,
                         " are possible");
      segments.push_back(((b * e.steps + first) * e.durations + end - first - 1) * e.states + k);
      segment_rows.push_back(b);
      if (first > 0) {
        transitions.push_back(states[first - 1] * e.states + k);
        transition_rows.push_back(b);
      }
      first = end;
    }
  }
  const Var<T> of_segments = detail::sum_by_row(p.segments, segments, segment_rows, e.batch);
  return of_segments + detail::sum_by_row(p.transitions, transitions, transition_rows, e.batch);
}

template <class T>
SemiMarkovBest<T> semi_markov_viterbi(const SemiMarkovPotentials<T>& p) {
  const Extents e = check("semi_markov_viterbi", p);
  SemiMarkovBest<T> out{
      {empty_tensor<std::int64_t>({e.batch, e.steps}), empty_tensor<std::int64_t>({e.batch, e.steps})},
      empty_tensor<T>({e.batch})};
  std::fill(out.segmentation.states.begin(), out.segmentation.states.end(), -1);
  std::fill(out.segmentation.begins.begin(), out.segmentation.begins.end(), 0);
  for (std::int64_t b = 0; b < e.batch; ++b) {
    Sequence<T> sequence(e, p.lengths ? (*p.lengths)[b] : e.steps,
                         p.segments.data() + b * e.steps * e.durations * e.states, p.transitions.data());
    out.score.data()[b] = static_cast<T>(
        sequence.best(out.segmentation.states.data() + b * e.steps, out.segmentation.begins.data() + b * e.steps));
  }
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                                           \
  template Var<T> semi_markov_log_partition(const SemiMarkovPotentials<T>&);              \
  template Var<T> semi_markov_score(const SemiMarkovPotentials<T>&, const Segmentation&); \
  template SemiMarkovBest<T> semi_markov_viterbi(const SemiMarkovPotentials<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
