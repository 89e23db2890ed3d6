#include <tapestry/prob/chain.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/prob/chain_operations.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry {

using detail::chain_form;
using detail::chain_input;
using detail::chain_inputs;
using detail::ChainCurvature;
using detail::ChainEngine;
using detail::ChainForm;
using detail::ChainGradient;
using detail::ChainInput;
using detail::PoolBuffer;

namespace {

template <class T>
std::vector<Var<T>> list(const Var<T>& first, const std::vector<Var<T>>& rest) {
  std::vector<Var<T>> out{first};
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}

/// The potentials of a call that is not recorded.
template <class T>
ChainInput<T> plain_input(const ChainForm& form, const std::vector<Var<T>>& inputs) {
  const T* pointers[4] = {};
  for (std::size_t i = 0; i < inputs.size(); ++i) pointers[i] = inputs[i].data();
  return chain_input<T>(form, inputs[0].shape(), inputs[1].shape(), pointers);
}

template <class T, class Context>
ChainInput<T> input_of(const ChainForm& form, Context& context) {
  const T* pointers[4] = {};
  for (int i = 0; i < form.inputs(); ++i) pointers[i] = context.input(i).data;
  return chain_input<T>(form, context.input(0).shape, context.input(1).shape, pointers);
}

template <class T>
class LogPartition final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  explicit LogPartition(ChainForm form) : form_(std::move(form)) {}
  LogPartition() = default;
  void attributes(Attributes& a) override { form_.exchange(a); }
  bool suits(const Shapes& in) override {
    return in.size() == form_.inputs() && detail::are_chain_potentials(form_, in, 0);
  }
  std::string_view name() const override { return "chain_log_partition"; }
  Shape shape(const Shapes& inputs, int) const override { return {inputs[0][0]}; }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  void forward(Forward<T>& context) override {
    engine_.forward(input_of<T>(form_, context), context.output().data, true);
  }
  void backward(Backward<T>& context) override {
    const ChainInput<T> in = input_of<T>(form_, context);
    engine_.rebind(in);
    const auto transition_count = static_cast<std::size_t>(context.input_shape(1).elements());
    PoolBuffer<T> transitions(context.wants(1) ? transition_count : 0);
    T* pairwise = context.wants(1) ? transitions.data() : nullptr;
    const auto rest = [&](const T* unary) {
      T* start = form_.start && context.wants(form_.start_input()) ? context.add_to(form_.start_input()) : nullptr;
      T* end = form_.end && context.wants(form_.end_input()) ? context.add_to(form_.end_input()) : nullptr;
      detail::add_ends(in, unary, start, end);
      if (!context.wants(1)) return;
      const Target<T> target = context.target(1);
      for (std::size_t i = 0; i < transition_count; ++i)
        target.data[i] = target.accumulate ? target.data[i] + pairwise[i] : pairwise[i];
    };
    const T* g = context.gradient().data;
    if (context.wants(0)) {
      const Target<T> target = context.target(0);
      if (!target.accumulate) {
        engine_.backward(g, target.data, pairwise);
        return rest(target.data);
      }
    }
    PoolBuffer<T> unary(in.batch * in.steps * in.states);
    engine_.backward(g, unary.data(), pairwise);
    if (context.wants(0)) {
      T* sum = context.add_to(0);
      for (std::size_t i = 0; i < in.batch * in.steps * in.states; ++i) sum[i] += unary.data()[i];
    }
    rest(unary.data());
  }
  void vjp(Vjp<T>& context) override {
    std::vector<Var<T>> inputs{context.gradient()};
    for (int i = 0; i < form_.inputs(); ++i) inputs.push_back(context.input(i));
    const auto gradients = apply_all<T>(std::make_unique<ChainGradient<T>>(form_), inputs);
    for (int i = 0; i < form_.inputs(); ++i)
      if (context.wants(i)) context.add(i, gradients[static_cast<std::size_t>(i)]);
  }

 private:
  ChainForm form_;
  ChainEngine<T> engine_;
};

// The entropy's gradient is minus the curvature of the log-partition along the potentials themselves.
template <class T>
class Entropy final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  explicit Entropy(ChainForm form) : form_(std::move(form)) {}
  Entropy() = default;
  void attributes(Attributes& a) override { form_.exchange(a); }
  bool suits(const Shapes& in) override {
    return in.size() == form_.inputs() && detail::are_chain_potentials(form_, in, 0);
  }
  std::string_view name() const override { return "chain_entropy"; }
  Shape shape(const Shapes& inputs, int) const override { return {inputs[0][0]}; }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  void forward(Forward<T>& context) override {
    const ChainInput<T> in = input_of<T>(form_, context);
    PoolBuffer<T> log_partition(in.batch);
    ChainEngine<T> engine;
    engine.forward(in, log_partition.data(), true);
    engine.entropy(context.output().data);
  }
  void vjp(Vjp<T>& context) override {
    std::vector<Var<T>> inputs{-context.gradient()};
    for (int pass = 0; pass < 2; ++pass)
      for (int i = 0; i < form_.inputs(); ++i) inputs.push_back(context.input(i));
    const auto tangents = apply_all<T>(std::make_unique<ChainCurvature<T>>(form_), inputs);
    for (int i = 0; i < form_.inputs(); ++i)
      if (context.wants(i)) context.add(i, tangents[static_cast<std::size_t>(i) + 1]);
  }

 private:
  ChainForm form_;
};

/// @throws ShapeError, IndexError for labels that do not go with the potentials
void check_labels(const ChainForm& form, const Indices& labels, const Shape& unary) {
  if (labels.shape() != Shape{unary[0], unary[1]})
    fail<ShapeError>("chain_score", "labels ", labels.shape(), " for unary potentials ", unary);
  for (std::int64_t b = 0; b < unary[0]; ++b)
    for (std::int64_t t = 0; t < (form.lengths ? (*form.lengths)[b] : unary[1]); ++t)
      if (const std::int64_t y = labels[b * unary[1] + t]; y < 0 || y >= unary[2])
        fail<IndexError>("chain_score", "label ", y, " of sequence ", b, ", step ", t, " with ", unary[2], " states");
}

/// Calls f(input, element, sequence) for every potential that the labels use.
template <class F>
void visit_labels(const ChainForm& form, const Shape& unary, const Shape& transitions, const Indices& labels, F&& f) {
  const std::int64_t B = unary[0], N = unary[1], K = unary[2];
  const std::int64_t step = transitions.rank() > 2 ? K * K : 0;
  const std::int64_t sequence = transitions.rank() > 3 ? (N - 1) * K * K : 0;
  for (std::int64_t b = 0; b < B; ++b) {
    const std::int64_t length = form.lengths ? (*form.lengths)[b] : N;
    const std::int64_t* y = labels.data() + b * N;
    for (std::int64_t t = 0; t < length; ++t) {
      f(0, (b * N + t) * K + y[t], b);
      if (t > 0) f(1, b * sequence + (t - 1) * step + y[t - 1] * K + y[t], b);
    }
    if (length > 0 && form.start) f(form.start_input(), y[0], b);
    if (length > 0 && form.end) f(form.end_input(), y[length - 1], b);
  }
}

template <class T>
class Score final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  Score(ChainForm form, Indices labels) : form_(std::move(form)), labels_(std::move(labels)) {}
  Score() = default;
  void attributes(Attributes& a) override { form_.exchange(a), a(labels_); }
  bool suits(const Shapes& in) override {
    if (in.size() != form_.inputs() || !detail::are_chain_potentials(form_, in, 0)) return false;
    check_labels(form_, labels_, in[0]);
    return true;
  }
  std::string_view name() const override { return "chain_score"; }
  Shape shape(const Shapes& inputs, int) const override { return {inputs[0][0]}; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& context) override {
    const T* pointers[4] = {};
    for (int i = 0; i < form_.inputs(); ++i) pointers[i] = context.input(i).data;
    const auto out = context.output();
    PoolBuffer<double> sums(static_cast<std::size_t>(out.size()));
    std::fill_n(sums.data(), out.size(), 0.0);
    visit_labels(form_, context.input(0).shape, context.input(1).shape, labels_,
                 [&](int i, std::int64_t element, std::int64_t b) {
                   sums.data()[b] += static_cast<double>(pointers[i][element]);
                 });
    for (std::int64_t b = 0; b < out.size(); ++b) out[b] = static_cast<T>(sums.data()[b]);
  }
  void backward(Backward<T>& context) override {
    T* targets[4] = {};
    for (int i = 0; i < form_.inputs(); ++i)
      if (context.wants(i)) targets[i] = context.add_to(i);
    const auto g = context.gradient();
    visit_labels(form_, context.input_shape(0), context.input_shape(1), labels_,
                 [&](int i, std::int64_t element, std::int64_t b) {
                   if (targets[i] != nullptr) targets[i][element] += g[b];
                 });
  }
  void vjp(Vjp<T>& context) override;

 private:
  ChainForm form_;
  Indices labels_;
};

/// The transpose of Score.
template <class T>
class ScoreTransposed final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  ScoreTransposed(ChainForm form, Indices labels, std::vector<Shape> shapes)
      : form_(std::move(form)), labels_(std::move(labels)), shapes_(std::move(shapes)) {}
  ScoreTransposed() = default;
  void attributes(Attributes& a) override {
    form_.exchange(a), a(labels_), a(shapes_);
    if (!a.reading()) return;
    Attributes::require(static_cast<int>(shapes_.size()) == form_.inputs());
    detail::check_chain("load_program", form_, shapes_);
    check_labels(form_, labels_, shapes_[0]);
  }
  bool suits(const Shapes& in) override { return in[0] == Shape{shapes_[0][0]}; }
  std::string_view name() const override { return "chain_score_gradient"; }
  int outputs() const override { return form_.inputs(); }
  Shape shape(const Shapes&, int output) const override { return shapes_[static_cast<std::size_t>(output)]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& context) override {
    T* targets[4] = {};
    for (int i = 0; i < form_.inputs(); ++i) {
      targets[i] = context.output(i).data;
      std::fill_n(targets[i], context.output(i).size(), T(0));
    }
    const auto g = context.input(0);
    visit_labels(form_, shapes_[0], shapes_[1], labels_,
                 [&](int i, std::int64_t element, std::int64_t b) { targets[i][element] += g[b]; });
  }
  void vjp(Vjp<T>& context) override {
    std::vector<Var<T>> inputs;
    for (int i = 0; i < form_.inputs(); ++i) inputs.push_back(context.gradient(i));
    context.add(0, apply<T>(std::make_unique<Score<T>>(form_, labels_), inputs));
  }

 private:
  ChainForm form_;
  Indices labels_;
  std::vector<Shape> shapes_;
};

template <class T>
void Score<T>::vjp(Vjp<T>& context) {
  std::vector<Shape> shapes;
  for (int i = 0; i < form_.inputs(); ++i) shapes.push_back(context.shape(i));
  const Var<T> inputs[] = {context.gradient()};
  const auto out = apply_all<T>(std::make_unique<ScoreTransposed<T>>(form_, labels_, std::move(shapes)), inputs);
  for (int i = 0; i < form_.inputs(); ++i)
    if (context.wants(i)) context.add(i, out[static_cast<std::size_t>(i)]);
}

}  // namespace

void detail::register_chain() {
  register_operations<LogPartition>("chain_log_partition");
  register_operations<Entropy>("chain_entropy");
  register_operations<Score>("chain_score");
  register_operations<ScoreTransposed>("chain_score_gradient");
  register_operations<ChainGradient>("chain_marginals");
  register_operations<ChainCurvature>("chain_curvature");
}

template <class T>
Var<T> chain_log_partition(const ChainPotentials<T>& potentials) {
  return apply<T>(std::make_unique<LogPartition<T>>(chain_form("chain_log_partition", potentials)),
                  chain_inputs(potentials));
}

template <class T>
ChainMarginals<T> chain_marginals(const ChainPotentials<T>& potentials) {
  ChainForm form = chain_form("chain_marginals", potentials);
  const Var<T> ones = Var<T>::ones({potentials.unary.extent(0)});
  const auto out =
      apply_all<T>(std::make_unique<ChainGradient<T>>(std::move(form)), list(ones, chain_inputs(potentials)));
  return {out[0], out[1]};
}

template <class T>
Var<T> chain_entropy(const ChainPotentials<T>& potentials) {
  return apply<T>(std::make_unique<Entropy<T>>(chain_form("chain_entropy", potentials)), chain_inputs(potentials));
}

template <class T>
Var<T> chain_score(const ChainPotentials<T>& potentials, const Indices& labels) {
  ChainForm form = chain_form("chain_score", potentials);
  check_labels(form, labels, potentials.unary.shape());
  return apply<T>(std::make_unique<Score<T>>(std::move(form), labels), chain_inputs(potentials));
}

template <class T>
ChainBest<T> chain_viterbi(const ChainPotentials<T>& potentials) {
  const ChainForm form = chain_form("chain_viterbi", potentials);
  const Shape& shape = potentials.unary.shape();
  ChainBest<T> out{empty_tensor<std::int64_t>({shape[0], shape[1]}), empty_tensor<T>({shape[0]})};
  ChainEngine<T>().best(plain_input(form, chain_inputs(potentials)), out.states.data(), out.score.data());
  return out;
}

template <class T>
ChainBest<T> chain_k_best(const ChainPotentials<T>& potentials, int k) {
  const ChainForm form = chain_form("chain_k_best", potentials);
  if (k < 1) fail<Error>("chain_k_best", "k = ", k, " is less than one");
  const Shape& shape = potentials.unary.shape();
  ChainBest<T> out{empty_tensor<std::int64_t>({shape[0], k, shape[1]}), empty_tensor<T>({shape[0], k})};
  ChainEngine<T>().best_k(plain_input(form, chain_inputs(potentials)), static_cast<std::size_t>(k), out.states.data(),
                          out.score.data());
  return out;
}

template <class T>
IndexTensor chain_sample(const ChainPotentials<T>& potentials, const Tensor<T>& uniforms) {
  const ChainForm form = chain_form("chain_sample", potentials);
  const Shape& shape = potentials.unary.shape();
  const Shape given = shape_of(uniforms);
  if (given.rank() != 3 || given[1] != shape[0] || given[2] != shape[1])
    fail<ShapeError>("chain_sample", "uniforms ", given, " must be [count, B, T] for unary potentials ", shape);
  IndexTensor out = empty_tensor<std::int64_t>(given);
  PoolBuffer<T> log_partition(static_cast<std::size_t>(shape[0]));
  const auto inputs = chain_inputs(potentials);
  ChainEngine<T> engine;
  engine.forward(plain_input(form, inputs), log_partition.data(), true);
  engine.sample(uniforms.data(), static_cast<std::size_t>(given[0]), out.data());
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                           \
  template Var<T> chain_log_partition(const ChainPotentials<T>&);         \
  template ChainMarginals<T> chain_marginals(const ChainPotentials<T>&);  \
  template Var<T> chain_entropy(const ChainPotentials<T>&);               \
  template Var<T> chain_score(const ChainPotentials<T>&, const Indices&); \
  template ChainBest<T> chain_viterbi(const ChainPotentials<T>&);         \
  template ChainBest<T> chain_k_best(const ChainPotentials<T>&, int);     \
  template IndexTensor chain_sample(const ChainPotentials<T>&, const Tensor<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
