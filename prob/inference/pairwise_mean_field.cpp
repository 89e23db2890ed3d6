#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/kept_iterations.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/inference/pairwise_setting.hpp>
#include <tapestry/prob/inference/parallel_mean_field.hpp>
#include <tapestry/prob/kernels/pairwise_mean_field.hpp>
#include <tapestry/prob/split.hpp>

namespace tapestry::detail {
namespace {

/// One batch element's iterations.
template <class T>
class FieldRun {
 public:
  explicit FieldRun(std::shared_ptr<const PairwisePlan> plan)
      : plan_(std::move(plan)), graph_(plan_->wiring()->graph(static_cast<std::size_t>(plan_->states()))) {}

  PairwisePotentials<T>& potentials() { return potentials_; }
  std::size_t size() const { return graph_.variables * graph_.states; }

  void prepare() {
    const auto in = potentials_.input();
    T* tables = tables_.reserve(pair_elements());
    blocks(
        [&](std::size_t begin, std::size_t end) { field_.load(graph_, in.potentials, in.index, begin, end, tables); });
  }
  void softmax(const T* logits, T* p) const {
    variables([&](std::size_t begin, std::size_t end) {
      const std::size_t K = graph_.states;
      passing_.normalise(graph_, logits, nullptr, begin, end, p);
      beliefs_.exp(p + begin * K, (end - begin) * K, p + begin * K);
    });
  }
  void logits(const T* q, T* out) const {
    const auto in = potentials_.input();
    PoolBuffer<T> messages(message_elements());
    blocks([&](std::size_t begin, std::size_t end) {
      field_.expect(graph_, tables_.data(), q, begin, end, messages.data());
    });
    variables([&](std::size_t begin, std::size_t end) {
      passing_.gather(graph_, in.unary, messages.data(), begin, end, out, nullptr);
    });
  }
  /// next = q after one update, damped.
  void step(const T* q, T damping, T* next) const {
    PoolBuffer<T> unnormalised(size());
    logits(q, unnormalised.data());
    softmax(unnormalised.data(), next);
    for (std::size_t i = 0; damping != T(0) && i < size(); ++i) next[i] = (T(1) - damping) * next[i] + damping * q[i];
  }
  double bound(const T* q) const {
    PoolBuffer<T> unnormalised(size());
    logits(q, unnormalised.data());
    const T* unary = potentials_.input().unary;
    double sum = 0;
    for (std::size_t v = 0; v < graph_.variables; ++v) {
      bool possible = false;
      for (std::size_t i = v * graph_.states; i < (v + 1) * graph_.states; ++i) {
        if (q[i] == T(0)) continue;
        possible = true;
        const auto p = static_cast<double>(q[i]);
        sum += p * (.5 * (static_cast<double>(unary[i]) + unnormalised.data()[i]) - std::log(p));
      }
      if (!possible) return -std::numeric_limits<double>::infinity();
    }
    return sum;
  }

  /// Gradients so far: of q, of the unary potentials, and of the tables by block.
  struct Gradients {
    PoolBuffer<T> q, unary, pairs;
  };
  Gradients begin(const T* given) const {
    Gradients g;
    g.q.reserve(size());
    std::fill_n(g.unary.reserve(size()), size(), T(0));
    std::fill_n(g.pairs.reserve(pair_elements()), pair_elements(), T(0));
    if (given != nullptr)
      std::copy_n(given, size(), g.q.data());
    else
      std::fill_n(g.q.data(), size(), T(0));
    return g;
  }
  void bound_backward(const T* q, T given, bool constant, Gradients& g) const {
    PoolBuffer<T> half(size()), sent(message_elements()), unnormalised(size());
    for (std::size_t i = 0; i < size(); ++i) {
      half.data()[i] = T(.5) * given * q[i];
      g.unary.data()[i] += given * q[i];
    }
    blocks([&](std::size_t begin, std::size_t end) {
      field_.expect_backward(graph_, tables_.data(), q, half.data(), begin, end, sent.data(), g.pairs.data());
    });
    if (constant) return;
    logits(q, unnormalised.data());
    for (std::size_t i = 0; i < size(); ++i)
      if (q[i] != T(0)) g.q.data()[i] += given * (unnormalised.data()[i] - std::log(q[i]) - T(1));
  }
  void softmax_backward(const T* p, T* grad) const {
    for (std::size_t v = 0; v < graph_.variables; ++v) {
      T mean = 0;
      for (std::size_t i = v * graph_.states; i < (v + 1) * graph_.states; ++i) mean += p[i] * grad[i];
      for (std::size_t i = v * graph_.states; i < (v + 1) * graph_.states; ++i) grad[i] = p[i] * (grad[i] - mean);
    }
  }
  /// g.q becomes the gradient of the q before the step.
  void step_backward(const T* q, const T* next, T damping, Gradients& g) const {
    PoolBuffer<T> fresh(damping != T(0) ? size() : 0), grad(size()), sent(message_elements()), ignored(size());
    for (std::size_t i = 0; i < fresh.size(); ++i) fresh.data()[i] = (next[i] - damping * q[i]) / (T(1) - damping);
    for (std::size_t i = 0; i < size(); ++i) grad.data()[i] = (T(1) - damping) * g.q.data()[i];
    softmax_backward(damping != T(0) ? fresh.data() : next, grad.data());
    for (std::size_t i = 0; i < size(); ++i) g.unary.data()[i] += grad.data()[i];
    blocks([&](std::size_t begin, std::size_t end) {
      field_.expect_backward(graph_, tables_.data(), q, grad.data(), begin, end, sent.data(), g.pairs.data());
    });
    PoolBuffer<T> before(size());
    std::fill_n(ignored.data(), size(), T(0));
    variables([&](std::size_t begin, std::size_t end) {
      passing_.scatter(graph_, sent.data(), begin, end, before.data(), ignored.data());
    });
    for (std::size_t i = 0; i < size(); ++i) g.q.data()[i] = before.data()[i] + damping * g.q.data()[i];
  }
  void start_backward(const T* q, Gradients& g) const {
    softmax_backward(q, g.q.data());
    for (std::size_t i = 0; i < size(); ++i) g.unary.data()[i] += g.q.data()[i];
  }
  /// The gradient of each different table.
  void collect(const Gradients& g, T* out) const {
    const std::size_t square = graph_.states * graph_.states, lanes = passing_.lanes;
    const std::int64_t* index = potentials_.input().index;
    std::fill_n(out, potentials_.tables() * square, T(0));
    for (std::size_t f = 0; f < graph_.factors; ++f) {
      T* to = out + (index == nullptr ? f : static_cast<std::size_t>(index[f])) * square;
      const T* from = g.pairs.data() + f / lanes * square * lanes + f % lanes;
      for (std::size_t n = 0; n < square; ++n) to[n] += from[n * lanes];
    }
  }

  std::vector<PoolBuffer<T>> kept;
  std::int64_t steps = 0;

 private:
  std::size_t block_count() const { return (graph_.factors + passing_.lanes - 1) / passing_.lanes; }
  std::size_t message_elements() const { return block_count() * 2 * graph_.states * passing_.lanes; }
  std::size_t pair_elements() const { return block_count() * graph_.states * graph_.states * passing_.lanes; }
  template <class F>
  void blocks(F&& f) const {
    split(block_count(), 16384 / (passing_.lanes * graph_.states * graph_.states), f);
  }
  template <class F>
  void variables(F&& f) const {
    split(graph_.variables, 4096 / graph_.states, f);
  }

  std::shared_ptr<const PairwisePlan> plan_;
  PairwiseGraph graph_;
  PairwisePotentials<T> potentials_;
  PoolBuffer<T> tables_;
  const PairwiseMeanFieldKernels<T>& field_ = kernels<PairwiseMeanFieldKernels<T>>();
  const PairwiseBeliefPropagationKernels<T>& passing_ = kernels<PairwiseBeliefPropagationKernels<T>>();
  const PairwiseBeliefKernels<T>& beliefs_ = kernels<PairwiseBeliefKernels<T>>();
};

template <class T>
class PairwiseMeanField final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  using Setting = PairwiseSetting<MeanField>;
  PairwiseMeanField(Setting setting, std::shared_ptr<FieldProgress> progress)
      : setting_(std::move(setting)), rows_(setting_.batch > 0 ? setting_.batch : 1), progress_(std::move(progress)) {}
  explicit PairwiseMeanField(Attributes& a) : PairwiseMeanField(Setting(a), std::make_shared<FieldProgress>()) {}
  void attributes(Attributes& a) override { setting_.exchange(a); }
  bool suits(const Shapes& in) override { return are_potentials(plan().graph(), in, 0, setting_.batch); }
  std::string_view name() const override { return "pairwise_mean_field"; }
  int outputs() const override { return 2; }
  Shape shape(const Shapes&, int output) const override {
    return output == 0 ? Shape{rows_} : Shape{rows_, plan().graph().states()};
  }

  void forward(Forward<T>& c) override {
    const auto potentials = potentials_of(plan().graph(), c, 0);
    runs_.clear();
    *progress_ = {{}, true, progress_->bounds};
    for (std::int64_t b = 0; b < rows_; ++b) {
      runs_.push_back(std::make_unique<FieldRun<T>>(setting_.plan));
      FieldRun<T>& run = *runs_.back();
      run.potentials().load(plan(), potentials.data, potentials.layouts, b);
      run.prepare();
      iterate(run, b == 0);
      const T* q = run.kept.back().data();
      c.output(0)[b] = static_cast<T>(run.bound(q));
      std::copy_n(q, run.size(), c.output(1).data + b * static_cast<std::int64_t>(run.size()));
      if (!setting_.keep) runs_.clear();
    }
  }

  /// Beyond the first order the same iterations are composed of operations.
  void vjp(Vjp<T>& c) override {
    vjp_through<T>(c, [this](const std::vector<Var<T>>& potentials) {
      const ComposedGraph<T> graph(plan().structure(), setting_.batch);
      const ComposedMeanField<T> field(graph, graph.arrange(potentials));
      std::int64_t most = 0;
      for (const auto& run : runs_) most = std::max(most, run->steps);
      const bool truncated = options().gradient == GradientMode::truncated && most > options().truncation;
      const std::int64_t recorded = options().gradient == GradientMode::likelihood ? 0
                                    : truncated                                    ? options().truncation
                                                                                   : most + 1;
      Var<T> q;
      for (std::int64_t left = most + 1; left-- > 0;) {
        const EnableGradients enable(gradients_enabled() && left < recorded);
        const Var<T> next = q.defined() ? field.step(q, options().damping) : field.start();
        IndexTensor going = empty_tensor<std::int64_t>({rows_, 1});
        for (std::int64_t b = 0; b < rows_; ++b)
          going.data()[b] = left < runs_[static_cast<std::size_t>(b)]->steps ? 1 : 0;
        q = q.defined() ? where(Indices(going), next, q) : next;
      }
      return std::vector<Var<T>>{broadcast_to(field.bound(q), Shape{rows_}), q};
    });
  }

  void backward(Backward<T>& c) override {
    const auto potentials = potentials_of(plan().graph(), c, 0);
    if (!setting_.keep) fail<GraphError>(name(), "was made without gradients");
    for (std::int64_t b = 0; b < rows_; ++b) {
      FieldRun<T>& run = *runs_[static_cast<std::size_t>(b)];
      if (c.output(0)[b] == -std::numeric_limits<T>::infinity()) {
        for (std::size_t g = 0; g < potentials.data.size(); ++g)
          if (c.wants(static_cast<int>(g))) c.add_to(static_cast<int>(g));
        continue;
      }
      run.potentials().load(plan(), potentials.data, potentials.layouts, b);
      const bool constant = options().gradient == GradientMode::likelihood;
      const auto size = static_cast<std::int64_t>(run.size());
      auto g = run.begin(c.has_gradient(1) && !constant ? c.gradient(1).data + b * size : nullptr);
      if (c.has_gradient(0)) run.bound_backward(run.kept.back().data(), c.gradient(0)[b], constant, g);
      if (!constant) pass_back(run, g);
      hand_out(run, g, b, potentials, c);
    }
  }

 private:
  const PairwisePlan& plan() const { return *setting_.plan; }
  const MeanField& options() const { return setting_.options; }
  IterationPlan iterations() const { return IterationPlan::of<T>(options(), setting_.keep); }

  void iterate(FieldRun<T>& run, bool traced) {
    const T damping = static_cast<T>(options().damping);
    PoolBuffer<T> first(run.size());
    run.softmax(run.potentials().input().unary, first.data());
    const bool converged = iterate_keeping(
        iterations(), std::move(first), run.kept, run.steps,
        [&](const PoolBuffer<T>& now, PoolBuffer<T>& next) { run.step(now.data(), damping, next.reserve(run.size())); },
        [&](const PoolBuffer<T>& now, const PoolBuffer<T>& next) {
          T residual = 0;
          for (std::size_t i = 0; i < run.size(); ++i)
            residual = std::max(residual, std::abs(next.data()[i] - now.data()[i]));
          if (traced) {
            auto& trace = progress_->trace;
            trace.residual.push_back(static_cast<double>(residual));
            if (progress_->bounds) trace.bound.push_back(run.bound(next.data()));
            ++trace.iterations;
          }
          progress_->trace.updates += plan().graph().size();
          return static_cast<double>(residual);
        });
    progress_->converged = progress_->converged && converged;
  }

  void pass_back(FieldRun<T>& run, typename FieldRun<T>::Gradients& g) const {
    const T damping = static_cast<T>(options().damping);
    auto& kept = run.kept;
    const std::int64_t every = iterations().stride();
    if (every > 1) {
      const T* end_q = kept.back().data();
      for (std::int64_t begin = run.steps > 0 ? (run.steps - 1) / every * every : -1; begin >= 0; begin -= every) {
        const std::int64_t n = std::min(begin + every, run.steps) - begin;
        std::vector<PoolBuffer<T>> segment(static_cast<std::size_t>(n));
        const T* q = kept[static_cast<std::size_t>(begin / every)].data();
        for (std::int64_t i = 0; i + 1 < n; ++i) {
          run.step(q, damping, segment[static_cast<std::size_t>(i)].reserve(run.size()));
          q = segment[static_cast<std::size_t>(i)].data();
        }
        for (std::int64_t i = n; i-- > 0;) {
          const T* from = i == 0 ? kept[static_cast<std::size_t>(begin / every)].data()
                                 : segment[static_cast<std::size_t>(i - 1)].data();
          run.step_backward(from, i + 1 == n ? end_q : segment[static_cast<std::size_t>(i)].data(), damping, g);
        }
        end_q = kept[static_cast<std::size_t>(begin / every)].data();
      }
    } else {
      for (std::size_t n = kept.size() - 1; n-- > 0;) run.step_backward(kept[n].data(), kept[n + 1].data(), damping, g);
    }
    if (options().gradient == GradientMode::truncated && run.steps > options().truncation) return;
    run.start_backward(kept.front().data(), g);
  }

  void hand_out(FieldRun<T>& run, const typename FieldRun<T>::Gradients& g, std::int64_t b,
                const PotentialInputs<T>& inputs, Backward<T>& c) {
    const std::int64_t K = plan().states(), square = K * K;
    PoolBuffer<T> tables(run.potentials().tables() * static_cast<std::size_t>(square));
    run.collect(g, tables.data());
    for (std::size_t number = 0; number < plan().graph().factors.size(); ++number) {
      const int input = static_cast<int>(number);
      if (!c.wants(input)) continue;
      const auto& layout = inputs.layouts[number];
      const auto& group = plan().graph().factors[number];
      T* out = c.add_to(input) + (layout.batch > 0 ? b * layout.batch_stride : 0);
      if (plan().pairwise(number)) {
        const T* from = tables.data() + run.potentials().first_table(number) * static_cast<std::size_t>(square);
        const std::int64_t n = (layout.factor_stride == 0 ? 1 : group.factors()) * square;
        for (std::int64_t i = 0; i < n; ++i) out[i] += from[i];
        continue;
      }
      for (std::int64_t f = 0; f < group.factors(); ++f)
        for (std::int64_t k = 0; k < K; ++k)
          out[f * layout.factor_stride + k] += g.unary.data()[group.scopes[f] * K + k];
    }
  }

  Setting setting_;
  std::int64_t rows_;
  std::shared_ptr<FieldProgress> progress_;
  std::vector<std::unique_ptr<FieldRun<T>>> runs_;
};

}  // namespace

void register_pairwise_mean_field() {
  register_operations<PairwiseMeanField>("pairwise_mean_field");
}

template <class T>
std::vector<Var<T>> pairwise_mean_field(const std::shared_ptr<const PairwisePlan>& plan,
                                        const std::vector<Var<T>>& potentials, const MeanField& options,
                                        std::int64_t batch, bool keep, const std::shared_ptr<FieldProgress>& progress) {
  return apply_all<T>(
      std::make_unique<PairwiseMeanField<T>>(PairwiseSetting<MeanField>(plan, options, batch, keep), progress),
      potentials);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                      \
  template std::vector<Var<T>> pairwise_mean_field(const std::shared_ptr<const PairwisePlan>&,                       \
                                                   const std::vector<Var<T>>&, const MeanField&, std::int64_t, bool, \
                                                   const std::shared_ptr<FieldProgress>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
