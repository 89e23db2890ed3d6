#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/models/features/encoder.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

namespace tapestry {

namespace detail {
template <class T>
class IndicatorPlan;
}

/// A linear-chain CRF whose log-potentials are sums of the weights of sparse indicator features (Lafferty, McCallum and
/// Pereira 2001), over one data set. Sequences of similar length are computed together; T is float or double.
/// Weights are one variable [features]: the state features, then the transitions.
template <class T>
class IndicatorChain {
 public:
  /// @throws IndexError if the data has an attribute that the features do not know.
  IndicatorChain(const SparseSequences& data, const IndicatorFeatures& features);
  /// The same features for several data sets, or parts of one.
  IndicatorChain(const SparseSequences& data, std::shared_ptr<const IndicatorFeatures> features);

  std::int64_t features() const noexcept;
  std::int64_t labels() const noexcept;
  std::int64_t items() const noexcept;

  /// The potentials of all batches, on the tape: for any loss or inference on chains. @throws ShapeError
  std::vector<ChainPotentials<T>> potentials(const Var<T>& weights) const;
  /// The numbers, in the data, of the sequences of a batch.
  const std::vector<std::int64_t>& members(std::size_t batch) const;

  /// How often each feature occurs together with the data's labels (times the attribute's value).
  /// @throws IndexError if an item's label is unknown
  const Tensor<T>& observed() const;
  /// The sum over the data of the log-probability of its labels. @throws IndexError if an item's label is unknown
  Var<T> log_likelihood(const Var<T>& weights) const;

  /// Any loss (StructuredLoss names them), summed over the data. @throws IndexError if an item's label is unknown
  Var<T> loss(const Var<T>& weights, const StructuredLoss& loss = {}) const;

  /// The most probable labels of each item, in the data's order (Viterbi).
  std::vector<std::int32_t> decode(const Var<T>& weights) const;

 private:
  std::shared_ptr<const detail::IndicatorPlan<T>> plan_;
};

}  // namespace tapestry
