#include <tapestry/autodiff/ops/losses.hpp>

#include <algorithm>
#include <limits>

#include <tapestry/autodiff/axes.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/labels.hpp>
#include <tapestry/autodiff/ops/loss_reduction.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry {
namespace {

// The labels as positions along the last axis of the scores x: [..., 1].
template <class T>
Indices positions(const char* operation, const Var<T>& x, const Indices& labels) {
  detail::check_label_shape(operation, labels, x.shape());
  detail::check_labels(operation, labels, x.shape());
  Shape column = labels.shape();
  column.push_back(1);
  IndexTensor out = empty_tensor<std::int64_t>(column);
  std::copy_n(labels.data(), labels.size(), out.data());
  return Indices(std::move(out));
}

// The scores less that of the label, and -inf for the label itself: [..., classes].
template <class T>
Var<T> beyond_label(const char* operation, const Var<T>& scores, const Indices& labels) {
  const Indices places = positions(operation, scores, labels);
  const Var<T> never = Var<T>::filled(places.shape(), -std::numeric_limits<T>::infinity());
  return put_along_axis(scores - take_along_axis(scores, places, -1), places, never, -1);
}

// For losses that are composed: the error names the loss, not the operation that meets the shapes first.
void require_broadcast(const char* operation, std::initializer_list<Shape> shapes) {
  Shape common;
  for (const Shape& shape : shapes) common = broadcast(operation, common, shape);
}

}  // namespace

template <class T>
Var<T> negative_log_likelihood(const Var<T>& log_probabilities, const Indices& labels, Reduction reduction) {
  const Indices places = positions("negative_log_likelihood", log_probabilities, labels);
  return detail::reduced(-reshape(take_along_axis(log_probabilities, places, -1), labels.shape()), reduction);
}

template <class T>
Var<T> multiclass_margin(const Var<T>& scores, const Indices& labels, std::type_identity_t<T> margin, int power,
                         Reduction reduction) {
  if (power != 1 && power != 2) fail("multiclass_margin", "a power of ", power, " instead of 1 or 2");
  const Var<T> excess = relu(beyond_label("multiclass_margin", scores, labels) + margin);
  return detail::reduced(sum(power == 1 ? excess : square(excess), {-1}), reduction);
}

template <class T>
Var<T> multiclass_hinge(const Var<T>& scores, const Indices& labels, std::type_identity_t<T> margin,
                        Reduction reduction) {
  return detail::reduced(relu(max(beyond_label("multiclass_hinge", scores, labels), {-1}) + margin), reduction);
}

template <class T>
Var<T> margin_ranking(const Var<T>& a, const Var<T>& b, const Var<T>& order, std::type_identity_t<T> margin,
                      Reduction reduction) {
  require_broadcast("margin_ranking", {a.shape(), b.shape(), order.shape()});
  return detail::reduced(relu(margin - order * (a - b)), reduction);
}

template <class T>
Var<T> triplet(const Var<T>& anchor, const Var<T>& positive, const Var<T>& negative, std::type_identity_t<T> margin,
               Reduction reduction) {
  require_broadcast("triplet", {anchor.shape(), positive.shape(), negative.shape()});
  for (const Var<T>* const other : {&positive, &negative})
    normalize_axis("triplet", -1, broadcast("triplet", anchor.shape(), other->shape()));
  const Var<T> near = norm(anchor - positive, 2, {-1}), far = norm(anchor - negative, 2, {-1});
  return detail::reduced(relu(near - far + margin), reduction);
}

template <class T>
Var<T> kl_divergence(const Var<T>& log_p, const Var<T>& log_q, Reduction reduction) {
  normalize_axis("kl_divergence", -1, broadcast("kl_divergence", log_p.shape(), log_q.shape()));
  const Var<T> p = exp(log_p), zero = equal(p, Var<T>(T(0)));
  return detail::reduced(sum(where(zero, Var<T>(T(0)), p * (log_p - log_q)), {-1}), reduction);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                    \
  template Var<T> negative_log_likelihood(const Var<T>&, const Indices&, Reduction);                               \
  template Var<T> multiclass_margin(const Var<T>&, const Indices&, std::type_identity_t<T>, int, Reduction);       \
  template Var<T> multiclass_hinge(const Var<T>&, const Indices&, std::type_identity_t<T>, Reduction);             \
  template Var<T> margin_ranking(const Var<T>&, const Var<T>&, const Var<T>&, std::type_identity_t<T>, Reduction); \
  template Var<T> triplet(const Var<T>&, const Var<T>&, const Var<T>&, std::type_identity_t<T>, Reduction);        \
  template Var<T> kl_divergence(const Var<T>&, const Var<T>&, Reduction);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
