#pragma once

#include <array>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <tapestry/autodiff/elementwise/dual.hpp>
#include <tapestry/autodiff/elementwise/functions.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace detail {

/// How often the derivative of an elementwise function can be taken.
inline constexpr int elementwise_orders = 2;

/// Partial derivative i of F, itself a function that can be differentiated.
template <class F, int i>
struct Partial {
  F f;
  template <class... S>
  auto operator()(const S&... x) const {
    constexpr int n = sizeof...(S);
    return with_duals(std::make_index_sequence<n>(), x...);
  }

 private:
  template <std::size_t... k, class... S>
  auto with_duals(std::index_sequence<k...>, const S&... x) const {
    return derivative(f(Dual<S, 1>::seed(x, k == i ? 0 : -1)...));
  }
  template <class S>
  static S derivative(const Dual<S, 1>& y) {
    return y.d[0];
  }
};

/// One pass over all elements: the value and, if `partials` are given, all partial derivatives.
/// strides[i] is 0 for an input of one element, else 1.
template <class T, class F, int n>
void elementwise_pass(const F& f, const std::array<const T*, n>& x, const std::array<int, n>& strides, T* y,
                      const std::array<T*, n>* partials, std::int64_t size);

template <class T, class F, int n, int order>
class Elementwise final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  Elementwise(F f, std::string name, bool differentiable)
      : f_(f), name_(std::move(name)), differentiable_(differentiable) {}

  std::string_view name() const override { return name_; }
  Shape shape(const Shapes& in, int) const override {
    Shape out = in[0];
    for (int i = 1; i < n; ++i) out = broadcast(name_, out, in[i]);
    return out;
  }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  Linearity linearity() const override { return Linearity::elementwise; }
  bool takes_uniform_gradient() const override { return true; }

  void forward(Forward<T>& c) override {
    std::array<const T*, n> x{};
    std::array<int, n> strides{};
    std::array<T*, n> partials{};
    const std::int64_t size = size_ = c.output().size();
    for (int i = 0; i < n; ++i) {
      x[static_cast<std::size_t>(i)] = c.input(i).data;
      strides[static_cast<std::size_t>(i)] = c.input(i).size() == size ? 1 : 0;
      if (!differentiable_) continue;
      partials_[i] = StorageRef(new_storage(static_cast<std::size_t>(size) * sizeof(T)));
      partials[static_cast<std::size_t>(i)] = partials_[i].template as<T>();
    }
    elementwise_pass<T, F, n>(f_, x, strides, c.output().data, differentiable_ ? &partials : nullptr, size);
  }

  void backward(Backward<T>& c) override {
    const std::int64_t size = size_;
    const T* uniform = c.uniform_gradient();
    const T* g = uniform != nullptr ? uniform : c.gradient().data;
    const bool repeat = uniform != nullptr;
    for (int i = 0; i < n; ++i) {
      if (!c.wants(i)) continue;
      if (!partials_[i]) fail<GraphError>(name_, "its partial derivatives were used up by an earlier backward pass");
      T* partial = partials_[i].template as<T>();
      if (c.input_shape(i).elements() != size) {
        const Scratch<T> full(static_cast<std::size_t>(size));
        multiply_into(g, repeat, partial, full.data(), size, false);
        c.add_reduced(i, full.data());
      } else if (c.last() && c.first(i)) {
        // The partial derivatives are not needed any more: their memory becomes the gradient's.
        if (!repeat || *g != T(1)) multiply_into(g, repeat, partial, partial, size, false);
        c.give(i, std::move(partials_[i]));
      } else {
        const Target<T> out = c.target(i);
        multiply_into(g, repeat, partial, out.data, size, out.accumulate);
      }
    }
  }

  void vjp(Vjp<T>& c) override {
    if constexpr (order < elementwise_orders)
      add_partials(c, std::make_index_sequence<n>());
    else
      fail<GraphError>(name_, "derivatives of an elementwise function go to order ", elementwise_orders);
  }

 private:
  template <std::size_t... k>
  void add_partials(Vjp<T>& c, std::index_sequence<k...>) {
    const std::array<Var<T>, n> x{c.input(static_cast<int>(k))...};
    (add_partial<static_cast<int>(k)>(c, x, std::make_index_sequence<n>()), ...);
  }
  template <int i, std::size_t... k>
  void add_partial(Vjp<T>& c, const std::array<Var<T>, n>& x, std::index_sequence<k...>) {
    if (!c.wants(i)) return;
    const bool differentiable = gradients_enabled() && (x[k].requires_grad() || ...);
    using Next = Elementwise<T, Partial<F, i>, n, order + 1>;
    const Var<T> slope = record(std::make_unique<Next>(Partial<F, i>{f_}, name_ + "'", differentiable), x[k]...);
    c.add(i, c.gradient() * slope);
  }

  F f_;
  std::string name_;
  bool differentiable_;
  StorageRef partials_[n];
  std::int64_t size_ = 0;
};

}  // namespace detail

/// An operation from a function of scalars: f is a generic lambda, `[](auto a, auto b) { return a * exp(b); }`, without
/// branches (use where()), called with blocks of elements. Inputs broadcast as in NumPy. Value and all partial
/// derivatives (by dual numbers) come from one pass with the vector instructions of the machine; derivatives go to
/// second order.
/// @throws ShapeError where the inputs do not broadcast
template <class T, class F, class... Vars>
Var<T> elementwise(std::string name, F f, const Var<T>& first, const Vars&... rest) {
  constexpr int n = 1 + sizeof...(rest);
  Shape shape = first.shape();
  ((shape = broadcast(name, shape, rest.shape())), ...);
  const auto fitted = [&](const Var<T>& x) { return x.shape() == shape || x.size() == 1 ? x : broadcast_to(x, shape); };
  const bool differentiable = gradients_enabled() && (first.requires_grad() || ... || rest.requires_grad());
  using Op = detail::Elementwise<T, F, n, 0>;
  return record(std::make_unique<Op>(f, std::move(name), differentiable), fitted(first), fitted(rest)...);
}
template <class F, class T, class... Vars>
Var<T> elementwise(F f, const Var<T>& first, const Vars&... rest) {
  return elementwise<T>("elementwise", f, first, rest...);
}

}  // namespace tapestry

#include <tapestry/autodiff/elementwise/pass.hpp>
