#include <tapestry/autodiff/ops/arithmetic.hpp>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/binary_operation.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>

namespace tapestry {
namespace {

using detail::Binary;
using detail::BinaryRule;

// 1 where a > b, 1/2 at a tie, 0 elsewhere; no gradient.
template <class T>
Var<T> share_of_larger(const Var<T>& a, const Var<T>& b) {
  return T(0.5) * (sign(a - b) + T(1));
}

constexpr std::uint32_t both = Needs::input(0) | Needs::input(1);

template <class T>
constexpr BinaryRule<T> add_rule{"add", Binary::add, Needs::nothing, Linearity::linear, [](Vjp<T>& c) {
                                   for (const int i : {0, 1})
                                     if (c.wants(i)) c.add(i, c.gradient());
                                 }};
template <class T>
constexpr BinaryRule<T> subtract_rule{"subtract", Binary::subtract, Needs::nothing, Linearity::linear, [](Vjp<T>& c) {
                                        if (c.wants(0)) c.add(0, c.gradient());
                                        if (c.wants(1)) c.add(1, -c.gradient());
                                      }};
template <class T>
constexpr BinaryRule<T> multiply_rule{"multiply", Binary::multiply, both, Linearity::elementwise, [](Vjp<T>& c) {
                                        if (c.wants(0)) c.add(0, c.gradient() * c.input(1));
                                        if (c.wants(1)) c.add(1, c.gradient() * c.input(0));
                                      }};
template <class T>
constexpr BinaryRule<T> divide_rule{"divide", Binary::divide, both, Linearity::elementwise, [](Vjp<T>& c) {
                                      const Var<T> ratio = c.gradient() / c.input(1);
                                      if (c.wants(0)) c.add(0, ratio);
                                      if (c.wants(1)) c.add(1, -ratio * (c.input(0) / c.input(1)));
                                    }};
template <class T>
constexpr BinaryRule<T> maximum_rule{"maximum", Binary::maximum, both, Linearity::elementwise, [](Vjp<T>& c) {
                                       if (c.wants(0)) c.add(0, c.gradient() * share_of_larger(c.input(0), c.input(1)));
                                       if (c.wants(1)) c.add(1, c.gradient() * share_of_larger(c.input(1), c.input(0)));
                                     }};
template <class T>
constexpr BinaryRule<T> minimum_rule{"minimum", Binary::minimum, both, Linearity::elementwise, [](Vjp<T>& c) {
                                       if (c.wants(0)) c.add(0, c.gradient() * share_of_larger(c.input(1), c.input(0)));
                                       if (c.wants(1)) c.add(1, c.gradient() * share_of_larger(c.input(0), c.input(1)));
                                     }};

}  // namespace

template <class T>
Var<T> add(const Var<T>& a, const Var<T>& b) {
  return detail::binary<add_rule<T>>(a, b);
}
template <class T>
Var<T> subtract(const Var<T>& a, const Var<T>& b) {
  return detail::binary<subtract_rule<T>>(a, b);
}
template <class T>
Var<T> multiply(const Var<T>& a, const Var<T>& b) {
  return detail::binary<multiply_rule<T>>(a, b);
}
template <class T>
Var<T> divide(const Var<T>& a, const Var<T>& b) {
  return detail::binary<divide_rule<T>>(a, b);
}
template <class T>
Var<T> maximum(const Var<T>& a, const Var<T>& b) {
  return detail::binary<maximum_rule<T>>(a, b);
}
template <class T>
Var<T> minimum(const Var<T>& a, const Var<T>& b) {
  return detail::binary<minimum_rule<T>>(a, b);
}
template <class T>
Var<T> operator-(const Var<T>& a) {
  return negative(a);
}

#define TAPESTRY_INSTANTIATE(T)                           \
  template Var<T> add(const Var<T>&, const Var<T>&);      \
  template Var<T> subtract(const Var<T>&, const Var<T>&); \
  template Var<T> multiply(const Var<T>&, const Var<T>&); \
  template Var<T> divide(const Var<T>&, const Var<T>&);   \
  template Var<T> maximum(const Var<T>&, const Var<T>&);  \
  template Var<T> minimum(const Var<T>&, const Var<T>&);  \
  template Var<T> operator-(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
