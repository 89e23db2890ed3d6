#pragma once

#include <memory>
#include <vector>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/prob/inference/kept_iterations.hpp>
#include <tapestry/prob/inference/message_operations.hpp>
#include <tapestry/prob/inference/pairwise_setting.hpp>

namespace tapestry::detail {

/// What one inference by the pairwise kernels tells beside its outputs.
struct PairwiseProgress {
  InferenceTrace trace;
  bool converged = true;
  std::shared_ptr<FixedPointReport> adjoint = std::make_shared<FixedPointReport>();
};

/// Flooding by the pairwise kernels. Inputs: potentials. Outputs: log-partition, probabilities of each variable group
/// and each factor group.
template <class T>
class PairwisePassing final : public Operation<T>, public SavedOperation {
 public:
  using Engine = PairwiseBeliefPropagationEngine<T>;
  using Messages = PairwiseMessages<T>;
  using Setting = PairwiseSetting<BeliefPropagation>;
  using Shapes = detail::Shapes;
  using Mode = GradientMode;
  PairwisePassing(Setting setting, std::shared_ptr<PairwiseProgress> progress)
      : setting_(std::move(setting)),
        layout_{plan().graph(), setting_.batch, options().factor_marginals},
        progress_(std::move(progress)) {}
  explicit PairwisePassing(Attributes& a) : PairwisePassing(Setting(a), std::make_shared<PairwiseProgress>()) {}
  void attributes(Attributes& a) override { setting_.exchange(a); }
  bool suits(const Shapes& in) override { return are_potentials(plan().graph(), in, 0, setting_.batch); }
  std::string_view name() const override { return "pairwise_passing"; }
  int outputs() const override { return layout_.outputs(); }
  Shape shape(const Shapes&, int output) const override { return layout_.shape(output); }

  void forward(Forward<T>& c) override;
  /// Beyond the first order the same iterations are composed of operations.
  void vjp(Vjp<T>& c) override;
  void backward(Backward<T>& c) override;

 private:
  struct Run {
    explicit Run(Engine e) : engine(std::move(e)) {}
    Engine engine;
    PairwisePotentials<T> potentials;
    std::vector<Messages> kept;  // those of kept_from, kept_from + stride, ..., and the last
    std::int64_t steps = 0;
    bool converged = false;
    PoolBuffer<T> log_marginals;
  };
  const PairwisePlan& plan() const { return *setting_.plan; }
  const BeliefPropagation& options() const { return setting_.options; }
  bool pairwise(int output) const {
    return output > 0 && !layout_.variables(output) && plan().pairwise(layout_.factor_group(output));
  }
  /// Of how many iterations messages are kept apart.
  IterationPlan iterations() const { return IterationPlan::of<T>(options(), setting_.keep); }

  void iterate(Run& run, bool traced);
  void read(Run& run, std::int64_t b, Forward<T>& c);
  PairwiseGradients<T> read_backward(Run& run, std::int64_t b, Backward<T>& c);
  void pass_back(Run& run, PairwiseGradients<T>& g);
  void hand_out(Run& run, const PairwiseGradients<T>& g, std::int64_t b, const PotentialInputs<T>& inputs,
                Backward<T>& c);
  /// The gradients of pairwise factors that have a potential each.
  void add_own_tables(const Run& run, std::size_t number, const PairwiseGradients<T>& g, const Target<T>& out);
  /// The gradients of unary factors where messages are constants.
  void add_own_beliefs(const Run& run, std::size_t number, const PotentialLayout& layout, std::int64_t b,
                       Backward<T>& c, T* out);

  Setting setting_;
  BeliefLayout layout_;
  std::shared_ptr<PairwiseProgress> progress_;
  std::vector<Run> runs_;
};

}  // namespace tapestry::detail
