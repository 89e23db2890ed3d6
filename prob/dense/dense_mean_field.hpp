#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/autodiff/variable.hpp>
#include <tapestry/graph/unroll.hpp>
#include <tapestry/prob/dense/gaussian_filter.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

struct DenseMeanFieldOptions {
  std::int64_t iterations = 10;
  double damping = 0;     ///< part of the old probabilities that stays
  double tolerance = -1;  ///< stops where no probability changes by more; negative: never
  /// How gradients pass through the iterations.
  LoopGradient gradient = LoopGradient::full;
  std::int64_t last = 5;      ///< iterations that LoopGradient::truncated passes through
  bool log_partition = true;  ///< costs about as much as an iteration
};

template <class T>
struct DenseMeanField {
  Var<T> marginals;  ///< [points, states]
  /// Expected score plus entropy, for a symmetric compatibility: a lower bound with exact filters and without
  /// include_self, else an estimate.
  Var<T> log_partition;
  BoundKind kind = BoundKind::estimate;
  InferenceTrace trace;
  bool converged = false;
};

/// Mean field in a model where every two points are joined (Kraehenbuehl, Koltun 2011), by parallel updates
///   q_i = softmax(unary_i + sum_j k(i, j) compatibility q_j),   k = sum over m of weight_m filter_m,
/// from q = softmax(unary): a conditional random field as a recurrent network (Zheng et al. 2015) where it is unrolled.
/// unary [points, states] are log-potentials; weights are [filters], or [filters, states] for one by the neighbour's
/// state; compatibility is [states, states] (row: own state), positive where it attracts. Differentiable to any order
/// with respect to these three. @throws ShapeError, Error for options out of range
template <class T>
DenseMeanField<T> dense_mean_field(const Var<T>& unary, const std::vector<GaussianFilter<T>>& filters,
                                   const Var<T>& weights, const Var<T>& compatibility,
                                   const DenseMeanFieldOptions& options = {});

extern template DenseMeanField<float> dense_mean_field(const Var<float>&, const std::vector<GaussianFilter<float>>&,
                                                       const Var<float>&, const Var<float>&,
                                                       const DenseMeanFieldOptions&);
extern template DenseMeanField<double> dense_mean_field(const Var<double>&, const std::vector<GaussianFilter<double>>&,
                                                        const Var<double>&, const Var<double>&,
                                                        const DenseMeanFieldOptions&);

}  // namespace tapestry
