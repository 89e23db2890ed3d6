#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/models/features/emission.hpp>

// The layout of a data set for IndicatorChain, and the operations from weights to potentials and back.
namespace tapestry::detail {

template <class T>
class IndicatorPlan {
 public:
  struct Batch {
    std::int64_t first_item, last_item;  ///< in the order of the batches
    std::int64_t steps;                  ///< of the longest sequence
    std::vector<std::int64_t> members;   ///< numbers of the sequences in the data
    std::vector<std::int64_t> padding;   ///< rows of [sequences * steps] that belong to no item
    Indices lengths, truths;             ///< truths: the labels [sequences, steps], 0 behind the lengths
    Shape shape() const { return {static_cast<std::int64_t>(members.size()), steps, labels}; }
    std::int64_t labels;
  };

  IndicatorPlan(const SparseSequences& data, std::shared_ptr<const IndicatorFeatures> features);

  std::vector<std::int64_t> offsets;  ///< of the sequences, in the data's own order
  std::shared_ptr<const IndicatorFeatures> shared_features;
  const IndicatorFeatures& features;  ///< the same
  std::vector<Batch> batches;
  std::vector<std::int64_t> rows;  ///< of each item (in the order of the batches), in its batch
  SparseEmission<T> emission;
  std::int64_t unknown_labels = 0;

  /// [features]: how often each occurs with the data's labels; counted when it is first asked for.
  /// @throws IndexError if a label is unknown
  const Tensor<T>& observed() const;
  /// @throws IndexError if a label is unknown
  void check_labels() const;

  /// Shape of output i: the batches' potentials, then the transitions.
  Shape shape(int i) const;
  int outputs() const { return static_cast<int>(batches.size()) + 1; }

 private:
  mutable std::once_flag counted_;
  mutable Tensor<T> observed_;
};

/// weights [features] to the potentials of each batch and the transitions [labels, labels].
template <class T>
class IndicatorScores final : public Operation<T> {
 public:
  using Plan = std::shared_ptr<const IndicatorPlan<T>>;
  explicit IndicatorScores(Plan plan) : plan_(std::move(plan)) {}
  std::string_view name() const override { return "indicator_scores"; }
  int outputs() const override { return plan_->outputs(); }
  Shape shape(const Shapes& inputs, int output) const override;
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& context) override;
  void backward(Backward<T>& context) override;
  void vjp(Vjp<T>& context) override;

 private:
  Plan plan_;
};

/// The transpose of IndicatorScores.
template <class T>
class IndicatorCounts final : public Operation<T> {
 public:
  using Plan = std::shared_ptr<const IndicatorPlan<T>>;
  explicit IndicatorCounts(Plan plan) : plan_(std::move(plan)) {}
  std::string_view name() const override { return "indicator_counts"; }
  Shape shape(const Shapes& inputs, int output) const override;
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& context) override;
  void vjp(Vjp<T>& context) override;

 private:
  Plan plan_;
};

}  // namespace tapestry::detail
