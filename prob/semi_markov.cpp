#include <tapestry/prob/semi_markov.hpp>

#include <algorithm>
#include <limits>
#include <vector>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/losses/marginal_loss.hpp>
#include <tapestry/prob/saved_structure.hpp>
#include <tapestry/prob/semi_markov_sequence.hpp>

namespace tapestry {
namespace {

using Extents = detail::SemiMarkovExtents;
template <class T>
using Sequence = detail::SemiMarkovSequence<T>;

Extents check(const char* name, const Shape& s, const Shape& transitions, const std::optional<Indices>& lengths) {
  if (s.rank() != 4 || s[2] < 1 || s[3] < 1)
    fail<ShapeError>(name, "segments must be [B, T, D, K] with D and K of at least one, not ", s);
  if (transitions != Shape{s[3], s[3]}) fail<ShapeError>(name, "transitions ", transitions, " for ", s[3], " states");
  if (lengths) {
    if (lengths->shape() != Shape{s[0]}) fail<ShapeError>(name, "lengths ", lengths->shape(), " for a batch of ", s[0]);
    for (std::int64_t b = 0; b < s[0]; ++b)
      if ((*lengths)[b] < 0 || (*lengths)[b] > s[1])
        fail<IndexError>(name, "length ", (*lengths)[b], " of sequence ", b, " is outside [0, ", s[1], "]");
  }
  return {s[0], s[1], s[2], s[3]};
}
template <class T>
Extents check(const char* name, const SemiMarkovPotentials<T>& p) {
  return check(name, p.segments.shape(), p.transitions.shape(), p.lengths);
}

/// The segments, with zeros for those that pass a length.
template <class T>
Var<T> within(const Extents& e, const std::optional<Indices>& lengths, const Var<T>& segments) {
  if (!lengths) return segments;
  IndexTensor inside = empty_tensor<std::int64_t>({e.batch, e.steps, e.durations, 1});
  for (std::int64_t i = 0; i < e.batch * e.steps * e.durations; ++i)
    inside.data()[i] = i / e.durations % e.steps + i % e.durations < (*lengths)[i / (e.durations * e.steps)] ? 1 : 0;
  return where(Indices(std::move(inside)), segments, Var<T>(T(0)));
}

/// The same recursion in operations, on segments and transitions.
template <class T>
Var<T> composed_log_partition(const Extents& e, const std::optional<Indices>& lengths, const std::vector<Var<T>>& x) {
  const Var<T> segments = within(e, lengths, x[0]);
  std::vector<Var<T>> begun{Var<T>::zeros({e.batch, e.states})}, sums;
  for (std::int64_t t = 1; t <= e.steps; ++t) {
    std::vector<Var<T>> terms;
    for (std::int64_t d = 0; d < std::min(e.durations, t); ++d)
      terms.push_back(begun[static_cast<std::size_t>(t - d - 1)] + select(select(segments, 1, t - d - 1), 1, d));
    const Var<T> ended = logsumexp(stack(terms, 0), {0});
    sums.push_back(logsumexp(ended, {1}));
    begun.push_back(logsumexp(reshape(ended, Shape{e.batch, e.states, 1}) + x[1], {1}));
  }
  std::vector<std::int64_t> entries, rows;
  for (std::int64_t b = 0; b < e.batch; ++b)
    if (const std::int64_t length = lengths ? (*lengths)[b] : e.steps; length > 0) {
      entries.push_back((length - 1) * e.batch + b);
      rows.push_back(b);
    }
  return entries.empty() ? Var<T>::zeros({e.batch}) : detail::sum_by_row(stack(sums, 0), entries, rows, e.batch);
}

template <class T>
class SemiMarkovLogPartition final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  SemiMarkovLogPartition(const Extents& extents, std::optional<Indices> lengths)
      : e_(extents), lengths_(std::move(lengths)) {}
  SemiMarkovLogPartition() = default;
  void attributes(Attributes& a) override { a(lengths_); }
  bool suits(const Shapes& in) override {
    if (in.size() != 2) return false;
    e_ = check(name().data(), in[0], in[1], lengths_);
    return true;
  }
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
  void vjp(Vjp<T>& c) override {
    detail::vjp_through<T>(c, [this](const std::vector<Var<T>>& x) {
      return std::vector<Var<T>>{composed_log_partition(e_, lengths_, x)};
    });
  }

 private:
  std::int64_t length(std::int64_t b) const { return lengths_ ? (*lengths_)[b] : e_.steps; }
  std::int64_t stride() const { return e_.steps * e_.durations * e_.states; }
  Sequence<T> sequence(std::int64_t b, const T* segments, const T* transitions) const {
    return {e_, length(b), segments + b * stride(), transitions};
  }
  Extents e_{};
  std::optional<Indices> lengths_;
};

/// Outputs: the expected numbers of segments and of transitions.
template <class T>
class SemiMarkovExpectations final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  SemiMarkovExpectations(const Extents& extents, std::optional<Indices> lengths)
      : e_(extents), lengths_(std::move(lengths)) {}
  SemiMarkovExpectations() = default;
  void attributes(Attributes& a) override { a(lengths_); }
  bool suits(const Shapes& in) override {
    if (in.size() != 2) return false;
    e_ = check(name().data(), in[0], in[1], lengths_);
    return true;
  }
  std::string_view name() const override { return "semi_markov_marginals"; }
  int outputs() const override { return 2; }
  Shape shape(const Shapes& inputs, int output) const override { return inputs[output]; }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  void forward(Forward<T>& c) override {
    for (int i = 0; i < 2; ++i) std::fill_n(c.output(i).data, c.input(i).shape.elements(), T(0));
    const std::int64_t stride = e_.steps * e_.durations * e_.states;
    for (std::int64_t b = 0; b < e_.batch; ++b)
      Sequence<T>(e_, lengths_ ? (*lengths_)[b] : e_.steps, c.input(0).data + b * stride, c.input(1).data)
          .add_expectations(1, c.output(0).data + b * stride, c.output(1).data);
  }
  void vjp(Vjp<T>& c) override {
    detail::vjp_through<T>(c, [this](const std::vector<Var<T>>& x) {
      // Not beyond x, which has a history of its own.
      const Var<T> total = sum(composed_log_partition(e_, lengths_, x));
      std::vector<Var<T>> out;
      for (const Var<T>& input : x) out.push_back(Var<T>::zeros(input.shape()));
      if (!total.requires_grad()) return out;
      const std::vector<detail::Node*> roots{total.node()}, targets{x[0].node(), x[1].node()};
      const std::vector<detail::NodeRef> seeds{Var<T>::ones({}).reference()};
      const auto found = detail::gradients(roots, seeds, targets,
                                           {.retain_graph = true, .create_graph = true, .stop_at_targets = true});
      for (std::size_t i = 0; i < out.size(); ++i)
        if (found[i]) out[i] = Var<T>(found[i]);
      return out;
    });
  }

 private:
  Extents e_{};
  std::optional<Indices> lengths_;
};

}  // namespace

void detail::register_semi_markov() {
  register_operations<SemiMarkovLogPartition>("semi_markov_log_partition");
  register_operations<SemiMarkovExpectations>("semi_markov_marginals");
}

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

template <class T>
SemiMarkovMarginals<T> semi_markov_marginals(const SemiMarkovPotentials<T>& p) {
  const Extents e = check("semi_markov_marginals", p);
  auto found = apply_all<T>(std::make_unique<SemiMarkovExpectations<T>>(e, p.lengths),
                            std::vector<Var<T>>{p.segments, p.transitions});
  // A step has the state of all segments that began at most d steps before it and last longer.
  Var<T> states = Var<T>::zeros({e.batch, e.steps, e.states});
  for (std::int64_t before = 0; before < std::min(e.durations, e.steps); ++before) {
    const Var<T> lasting =
        sum(slice(slice(found[0], 1, Slice{0, e.steps - before}), 2, Slice{before, e.durations}), {2});
    states = states + pad(lasting, {{0, 0}, {before, 0}, {0, 0}});
  }
  return {found[0], found[1], states};
}

template <class T>
Var<T> semi_markov_entropy(const SemiMarkovPotentials<T>& p) {
  const Extents e = check("semi_markov_entropy", p);
  // Each sequence alone has transitions of its own.
  const Var<T> zero = Var<T>::zeros({});
  const auto expected = [&](const Var<T>& m, const Var<T>& x) { return m * where(greater(m, zero), x, zero); };
  std::vector<Var<T>> out;
  for (std::int64_t b = 0; b < e.batch; ++b) {
    const Indices length{p.lengths ? (*p.lengths)[b] : e.steps};
    const SemiMarkovPotentials<T> own{slice(p.segments, 0, Slice{b, b + 1}), p.transitions, length};
    const Var<T> log_partition = semi_markov_log_partition(own);
    const bool possible = log_partition.item() != -std::numeric_limits<T>::infinity();
    const auto m = semi_markov_marginals(own);
    out.push_back(possible ? log_partition - sum(expected(m.segments, own.segments)) -
                                 sum(expected(m.transitions, p.transitions))
                           : Var<T>::zeros({1}));
  }
  return out.empty() ? Var<T>::zeros({0}) : concatenate(out, 0);
}

template <class T>
Segmentation semi_markov_sample(const SemiMarkovPotentials<T>& p, const Tensor<T>& uniforms) {
  constexpr const char* name = "semi_markov_sample";
  const Extents e = check(name, p);
  const Shape shape = shape_of(uniforms);
  if (shape.rank() != 3 || shape[1] != e.batch || shape[2] != e.steps)
    fail<ShapeError>(name, "uniforms ", shape, " for segments ", p.segments.shape());
  Segmentation out{empty_tensor<std::int64_t>(shape), empty_tensor<std::int64_t>(shape)};
  std::fill(out.states.begin(), out.states.end(), -1);
  std::fill(out.begins.begin(), out.begins.end(), 0);
  for (std::int64_t b = 0; b < e.batch; ++b) {
    Sequence<T> sequence(e, p.lengths ? (*p.lengths)[b] : e.steps,
                         p.segments.data() + b * e.steps * e.durations * e.states, p.transitions.data());
    sequence.look_ahead();
    for (std::int64_t n = 0; n < shape[0]; ++n) {
      const std::int64_t at = (n * e.batch + b) * e.steps;
      sequence.sample(uniforms.data() + at, out.states.data() + at, out.begins.data() + at);
    }
  }
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                                           \
  template Var<T> semi_markov_log_partition(const SemiMarkovPotentials<T>&);              \
  template Var<T> semi_markov_score(const SemiMarkovPotentials<T>&, const Segmentation&); \
  template SemiMarkovBest<T> semi_markov_viterbi(const SemiMarkovPotentials<T>&);         \
  template SemiMarkovMarginals<T> semi_markov_marginals(const SemiMarkovPotentials<T>&);  \
  template Var<T> semi_markov_entropy(const SemiMarkovPotentials<T>&);                    \
  template Segmentation semi_markov_sample(const SemiMarkovPotentials<T>&, const Tensor<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
