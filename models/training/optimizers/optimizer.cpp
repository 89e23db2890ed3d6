#include <tapestry/models/training/optimizers/optimizer.hpp>

#include <cmath>
#include <limits>
#include <optional>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/gradient.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/training/gradient_norm.hpp>
#include <tapestry/models/training/optimizers/max_norm.hpp>

namespace tapestry {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

}  // namespace

/// What a parameter has of one: nothing, a dense array, or rows.
template <class T>
struct Optimizer<T>::Gradient {
  std::optional<TensorView<const T>> dense;
  std::optional<SparseRows<T>> rows;

  const T* data() const { return dense ? dense->data() : rows->values.data(); }
  std::int64_t size() const {
    return static_cast<std::int64_t>(dense ? dense->size() : rows ? rows->values.size() : 0);
  }
};

template <class T>
Optimizer<T>::Optimizer(const ParameterGroups<T>& parameters, Setup setup)
    : setup_(std::move(setup)), members_(parameters.members()), counts_(members_.size(), 0) {
  if (members_.empty()) fail(setup_.name, "there are no parameters to update");
  set_rate(setup_.rate);
  check(setup_.weight_decay >= 0 && std::isfinite(setup_.weight_decay), "a weight decay", setup_.weight_decay);
  for (const auto& member : members_) {
    std::vector<Tensor<T>> tensors;
    for (const OptimizerTensor& tensor : setup_.tensors)
      tensors.emplace_back(detail::xtensor_shape(member.variable.shape()), static_cast<T>(tensor.initial));
    tensors_.push_back(std::move(tensors));
  }
}

template <class T>
void Optimizer<T>::check(bool good, const char* what, double value) const {
  if (!good) fail(setup_.name, what, " of ", value);
}

template <class T>
void Optimizer<T>::set_rate(double rate) {
  check(std::isfinite(rate) && rate >= 0, "a rate", rate);
  rate_ = rate;
}

template <class T>
void Optimizer<T>::set_clipping(const Clipping& clipping) {
  check(clipping.norm >= 0, "a limit on the gradient's norm", clipping.norm);
  check(clipping.value >= 0, "a limit on the gradient's elements", clipping.value);
  clipping_ = clipping;
}

template <class T>
std::vector<Var<T>> Optimizer<T>::parameters() const {
  std::vector<Var<T>> out;
  for (const auto& member : members_) out.push_back(member.variable);
  return out;
}

template <class T>
void Optimizer<T>::zero_gradients() {
  for (auto& member : members_) member.variable.zero_gradient();
}

template <class T>
typename Optimizer<T>::Gradient Optimizer<T>::gradient_of(const Var<T>& variable) const {
  Gradient gradient;
  if (!variable.requires_grad() || !variable.has_gradient()) return gradient;
  if (by_rows())
    if (auto rows = variable.sparse_gradient()) gradient.rows = detail::merge_rows(*rows);
  if (!gradient.rows) gradient.dense = variable.gradient();
  return gradient;
}

template <class T>
std::vector<typename Optimizer<T>::Gradient> Optimizer<T>::gradients() const {
  std::vector<Gradient> out;
  out.reserve(members_.size());
  for (const auto& member : members_) out.push_back(gradient_of(member.variable));
  return out;
}

template <class T>
double Optimizer<T>::gradient_norm() const {
  double squares = 0;
  for (const auto& member : members_) {
    const Gradient gradient = gradient_of(member.variable);
    if (gradient.size() > 0) squares += detail::sum_of_squares(gradient.data(), gradient.size());
  }
  return std::sqrt(squares);
}

template <class T>
void Optimizer<T>::step() {
  const std::vector<Gradient> all = gradients();
  double scale = 1;
  if (clipping_.norm > 0) {
    double squares = 0;
    for (const Gradient& gradient : all)
      if (gradient.size() > 0) squares += detail::sum_of_squares(gradient.data(), gradient.size());
    const double norm = std::sqrt(squares);
    if (!std::isfinite(norm)) fail<NumericalError>(setup_.name, "the gradient's norm is ", norm);
    if (norm > clipping_.norm) scale = clipping_.norm / norm;
  }
  ++steps_;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].dense || all[i].rows) start(i, scale), apply(i, all[i]);
}

template <class T>
typename Optimizer<T>::Terms Optimizer<T>::terms_of(std::size_t i, const Step& step, double scale) const {
  Terms terms{.gradient_scale = static_cast<T>(scale), .gradient_limit = std::numeric_limits<T>::infinity()};
  if (clipping_.value > 0) terms.gradient_limit = static_cast<T>(clipping_.value);
  if (setup_.decoupled)
    terms.shrink = static_cast<T>(1 - step.rate * step.weight_decay);
  else
    terms.l2 = static_cast<T>(step.weight_decay);
  terms.threshold = static_cast<T>(step.rate * members_[i].options.l1);
  return terms;
}

template <class T>
void Optimizer<T>::start(std::size_t i, double scale) {
  auto& [name, variable, options] = members_[i];
  const Step step{rate_ * options.rate_factor, options.weight_decay.value_or(setup_.weight_decay), ++counts_[i]};
  prepare(step);
  terms_ = terms_of(i, step, scale);
  values_ = variable.mutable_data();
  for (std::size_t k = 0; k < tensors_[i].size(); ++k) state_[k] = tensors_[i][k].data();
}

template <class T>
void Optimizer<T>::apply(std::size_t i, const Gradient& gradient) {
  if (gradient.dense) {
    update_all(values_, gradient.data(), state_, members_[i].variable.size(), terms_);
  } else {
    const std::int64_t rows = static_cast<std::int64_t>(gradient.rows->rows.size());
    const std::int64_t width = rows == 0 ? 0 : gradient.size() / rows;
    const std::int64_t* const row = gradient.rows->rows.data();
    detail::parallel_for(rows, std::max<std::int64_t>(1, grain / std::max<std::int64_t>(1, width)),
                         [&](std::int64_t begin, std::int64_t end) {
                           for (std::int64_t k = begin; k < end; ++k) {
                             T* part[most_tensors] = {};
                             for (std::size_t j = 0; j < tensors_[i].size(); ++j) part[j] = state_[j] + row[k] * width;
                             update(values_ + row[k] * width, gradient.data() + k * width, part,
                                    static_cast<std::size_t>(width), terms_);
                           }
                         });
  }
  limit_norms(i, gradient);
}

template <class T>
void Optimizer<T>::limit_norms(std::size_t i, const Gradient& gradient) {
  const auto& [name, variable, options] = members_[i];
  if (options.max_norm == 0 || variable.rank() < 2) return;
  if (gradient.rows && (options.unit_axis == 0 || options.unit_axis == -variable.rank())) {
    const std::int64_t width = variable.size() / variable.extent(0);
    for (const std::int64_t row : gradient.rows->rows)
      detail::limit_unit_norms(values_ + row * width, {1, width}, 0, options.max_norm);
  } else {
    detail::limit_unit_norms(values_, variable.shape(), options.unit_axis, options.max_norm);
  }
}

template <class T>
bool Optimizer<T>::begin(std::size_t parameter) {
  if (!members_[parameter].variable.requires_grad()) return false;
  start(parameter, 1);
  return true;
}

template <class T>
void Optimizer<T>::update_elements(std::size_t parameter, const T* gradient, std::int64_t first,
                                   std::int64_t count) const {
  if (count == members_[parameter].variable.size()) return update_all(values_, gradient, state_, count, terms_);
  T* part[most_tensors] = {};
  for (std::size_t k = 0; k < setup_.tensors.size(); ++k) part[k] = state_[k] + first;
  update(values_ + first, gradient, part, static_cast<std::size_t>(count), terms_);
}

template <class T>
bool Optimizer<T>::update_rows(std::size_t, const detail::GradientProduct<T>& gradient, std::int64_t begin,
                               std::int64_t end) const {
  T* part[most_tensors] = {};
  const std::int64_t first = begin * gradient.columns;
  for (std::size_t k = 0; k < setup_.tensors.size(); ++k) part[k] = state_[k] + first;
  return update_from_factors(values_ + first, part, gradient, begin, end, terms_);
}

template <class T>
void Optimizer<T>::end(std::size_t parameter) {
  limit_norms(parameter, {});
}

template <class T>
void Optimizer<T>::update_rows(std::size_t parameter, const SparseRows<T>& gradient) {
  Gradient given;
  detail::StorageRef whole;
  if (by_rows()) {
    given.rows = detail::merge_rows(gradient);
  } else {
    const Shape& shape = members_[parameter].variable.shape();
    whole = detail::zero_storage(static_cast<std::size_t>(shape.elements()) * sizeof(T));
    detail::scatter_rows(detail::dtype_of<T>, whole->data, shape, gradient.rows, gradient.values.data());
    given.dense = detail::adapt<const T>(whole.as<const T>(), shape, whole);
  }
  apply(parameter, given);
}

template <class T>
void Optimizer<T>::update_all(T* parameter, const T* gradient, T* const* state, std::int64_t n,
                              const Terms& terms) const {
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    T* part[most_tensors] = {};
    for (std::size_t k = 0; k < setup_.tensors.size(); ++k) part[k] = state[k] + begin;
    update(parameter + begin, gradient + begin, part, static_cast<std::size_t>(end - begin), terms);
  });
}

template <class T>
void Optimizer<T>::archive(Archive& a) {
  a("rate", rate_)("steps", steps_);
  for (std::size_t i = 0; i < members_.size(); ++i) {
    a("updates." + members_[i].name, counts_[i]);
    for (std::size_t k = 0; k < setup_.tensors.size(); ++k)
      a(setup_.tensors[k].name + '.' + members_[i].name, tensors_[i][k]);
  }
}

template class Optimizer<float>;
template class Optimizer<double>;

}  // namespace tapestry
