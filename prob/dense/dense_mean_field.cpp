#include <tapestry/prob/dense/dense_mean_field.hpp>

#include <algorithm>
#include <chrono>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>

namespace tapestry {

template <class T>
DenseMeanField<T> dense_mean_field(const Var<T>& unary, const std::vector<GaussianFilter<T>>& filters,
                                   const Var<T>& weights, const Var<T>& compatibility,
                                   const DenseMeanFieldOptions& options) {
  constexpr auto name = "dense_mean_field";
  const auto start = std::chrono::steady_clock::now();
  if (unary.rank() != 2 || unary.shape()[1] < 1)
    fail<ShapeError>(name, "unary potentials ", unary.shape(), " must be [points, states]");
  const std::int64_t states = unary.shape()[1], count = static_cast<std::int64_t>(filters.size());
  for (const auto& filter : filters)
    if (filter.points() != unary.shape()[0])
      fail<ShapeError>(name, "a filter of ", filter.points(), " points for unary potentials ", unary.shape());
  if (!(weights.shape() == Shape{count}) && !(weights.shape() == Shape{count, states}))
    fail<ShapeError>(name, "weights ", weights.shape(), " for ", count, " filters and ", states, " states");
  if (!(compatibility.shape() == Shape{states, states}))
    fail<ShapeError>(name, "compatibility ", compatibility.shape(), " for ", states, " states");
  if (options.iterations < 0 || !(options.damping >= 0 && options.damping < 1))
    fail(name, options.iterations, " iterations with a damping of ", options.damping);

  const Var<T> by_filter = reshape(weights, Shape{count, weights.size() / std::max<std::int64_t>(count, 1)});
  // Steps may run again in the backward pass, after this function: they own what they use.
  const auto messages = [filters, by_filter, compatibility, count, shape = unary.shape()](const Var<T>& q) {
    Var<T> sum;
    for (std::int64_t m = 0; m < count; ++m) {
      const Var<T> part = filters[static_cast<std::size_t>(m)](q) * slice(by_filter, 0, Slice{m, m + 1});
      sum = m == 0 ? part : sum + part;
    }
    return count == 0 ? Var<T>::zeros(shape) : matmul(sum, transpose(compatibility));
  };
  const auto damping = static_cast<T>(options.damping);
  UnrollOptions loop;
  loop.gradient = options.gradient;
  loop.last = options.last;
  loop.tolerance = options.tolerance;
  auto unrolled = unroll(
      [unary, messages, damping](const Var<T>& q) {
        const Var<T> next = softmax(unary + messages(q));
        return damping > 0 ? next * (1 - damping) + q * damping : next;
      },
      softmax(unary), options.iterations, loop);

  DenseMeanField<T> out;
  out.marginals = unrolled.state;
  const Var<T>& q = out.marginals;
  if (options.log_partition) {
    // States of probability zero count for nothing, also where their potential is -inf.
    const Var<T> zero = Var<T>::zeros({}), possible = greater(q, zero);
    const Var<T> own = where(possible, unary, zero) - log(where(possible, q, Var<T>::ones({})));
    out.log_partition = sum(q * (own + messages(q) * T(.5)));
  }
  const bool pairs =
      std::all_of(filters.begin(), filters.end(), [](const auto& f) { return f.exact() && f.of_pairs(); });
  out.kind = pairs ? BoundKind::lower_bound : BoundKind::estimate;
  out.converged = unrolled.converged;
  out.trace.residual = std::move(unrolled.residuals);
  out.trace.iterations = unrolled.steps;
  out.trace.updates = unrolled.steps * unary.shape()[0];
  out.trace.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

template DenseMeanField<float> dense_mean_field(const Var<float>&, const std::vector<GaussianFilter<float>>&,
                                                const Var<float>&, const Var<float>&, const DenseMeanFieldOptions&);
template DenseMeanField<double> dense_mean_field(const Var<double>&, const std::vector<GaussianFilter<double>>&,
                                                 const Var<double>&, const Var<double>&, const DenseMeanFieldOptions&);

}  // namespace tapestry
