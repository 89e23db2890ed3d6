#include <tapestry/autodiff/ops/losses.hpp>

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>

namespace tapestry {
namespace {

template <class T>
Var<T> reduced(const Var<T>& losses, Reduction reduction) {
  switch (reduction) {
    case Reduction::mean:
      return mean(losses);
    case Reduction::sum:
      return sum(losses);
    case Reduction::none:
      break;
  }
  return losses;
}

// The element of the last axis that each label names.
template <class T>
Var<T> picked(const char* operation, const Var<T>& x, const Indices& labels) {
  Shape expected = x.shape();
  if (expected.rank() > 0) expected.erase(expected.rank() - 1);
  if (x.rank() == 0 || labels.shape() != expected)
    fail<ShapeError>(operation, "labels of shape ", labels.shape(), " for scores of shape ", x.shape());
  for (std::int64_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || labels[i] >= x.shape().back())
      fail<IndexError>(operation, "label ", labels[i], " at position ", i, " where there are ", x.shape().back(),
                       " classes");
  Shape column = expected;
  column.push_back(1);
  IndexTensor positions = empty_tensor<std::int64_t>(column);
  std::copy_n(labels.data(), labels.size(), positions.data());
  return reshape(take_along_axis(x, Indices(std::move(positions)), -1), expected);
}

}  // namespace

template <class T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels, Reduction reduction) {
  return reduced(-picked("cross_entropy", log_softmax(logits), labels), reduction);
}

template <class T>
Var<T> negative_log_likelihood(const Var<T>& log_probabilities, const Indices& labels, Reduction reduction) {
  return reduced(-picked("negative_log_likelihood", log_probabilities, labels), reduction);
}

template <class T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets, Reduction reduction) {
  return reduced(softplus(logits) - targets * logits, reduction);
}

template <class T>
Var<T> squared_error(const Var<T>& x, const Var<T>& target, Reduction reduction) {
  return reduced(square(x - target), reduction);
}

template <class T>
Var<T> huber(const Var<T>& x, const Var<T>& target, std::type_identity_t<T> delta, Reduction reduction) {
  if (!(delta > 0)) fail("huber", "delta of ", delta);
  const Var<T> size = abs(x - target), inner = minimum(size, Var<T>(delta));
  return reduced(inner * (size - T(0.5) * inner), reduction);
}

template <class T>
Var<T> hinge(const Var<T>& x, const Var<T>& targets, Reduction reduction) {
  return reduced(relu(T(1) - targets * x), reduction);
}

template <class T>
Var<T> kl_divergence(const Var<T>& log_p, const Var<T>& log_q, Reduction reduction) {
  const Var<T> p = exp(log_p), zero = equal(p, Var<T>(T(0)));
  return reduced(sum(where(zero, Var<T>(T(0)), p * (log_p - log_q)), {-1}), reduction);
}

#define TAPESTRY_INSTANTIATE(T)                                                              \
  template Var<T> cross_entropy(const Var<T>&, const Indices&, Reduction);                   \
  template Var<T> negative_log_likelihood(const Var<T>&, const Indices&, Reduction);         \
  template Var<T> binary_cross_entropy_with_logits(const Var<T>&, const Var<T>&, Reduction); \
  template Var<T> squared_error(const Var<T>&, const Var<T>&, Reduction);                    \
  template Var<T> huber(const Var<T>&, const Var<T>&, std::type_identity_t<T>, Reduction);   \
  template Var<T> hinge(const Var<T>&, const Var<T>&, Reduction);                            \
  template Var<T> kl_divergence(const Var<T>&, const Var<T>&, Reduction);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
