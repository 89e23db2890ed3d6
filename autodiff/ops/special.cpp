#include <tapestry/autodiff/ops/special.hpp>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/binary_operation.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/parametric_operation.hpp>
#include <tapestry/autodiff/ops/unary_operation.hpp>

namespace tapestry {
namespace {

using detail::Binary;
using detail::BinaryRule;
using detail::Parametric;
using detail::ParametricRule;
using detail::Unary;
using detail::UnaryRule;

constexpr std::uint32_t needs_x = Needs::input(0);
constexpr std::uint32_t needs_y = Needs::output;
constexpr std::uint32_t both = Needs::input(0) | Needs::input(1);

// 1 where x > 0, else 0; no gradient.
template <class T>
Var<T> positive(const Var<T>& x) {
  return sign(relu(x)).detach();
}

template <class T>
constexpr UnaryRule<T> selu_rule{"selu", Unary::selu, needs_y, [](Vjp<T>& c) {
                                   const Var<T> y = c.output(), right = positive(y);
                                   const Var<T> slope = T(1.05070098735548049342) * right +
                                                        (T(1) - right) * (y + T(1.75809934084737685994));
                                   c.add(0, c.gradient() * slope);
                                 }};
template <class T>
constexpr UnaryRule<T> gelu_rule{"gelu", Unary::gelu, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, g * (T(0.5) * erfc(x * T(-0.70710678118654752440)) +
                                                 x * T(0.39894228040143267794) * exp(T(-0.5) * square(x))));
                                 }};
template <class T>
constexpr UnaryRule<T> sin_rule{"sin", Unary::sin, needs_x, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), x = c.input(0);
                                  c.add(0, g * cos(x));
                                }};
template <class T>
constexpr UnaryRule<T> cos_rule{"cos", Unary::cos, needs_x, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), x = c.input(0);
                                  c.add(0, -g * sin(x));
                                }};
template <class T>
constexpr UnaryRule<T> tan_rule{"tan", Unary::tan, needs_y, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), y = c.output();
                                  c.add(0, g * (T(1) + square(y)));
                                }};
template <class T>
constexpr UnaryRule<T> asin_rule{"asin", Unary::asin, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, g * rsqrt(T(1) - square(x)));
                                 }};
template <class T>
constexpr UnaryRule<T> acos_rule{"acos", Unary::acos, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, -g * rsqrt(T(1) - square(x)));
                                 }};
template <class T>
constexpr UnaryRule<T> atan_rule{"atan", Unary::atan, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, g / (T(1) + square(x)));
                                 }};
template <class T>
constexpr UnaryRule<T> sinh_rule{"sinh", Unary::sinh, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, g * cosh(x));
                                 }};
template <class T>
constexpr UnaryRule<T> cosh_rule{"cosh", Unary::cosh, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, g * sinh(x));
                                 }};
template <class T>
constexpr UnaryRule<T> erf_rule{"erf", Unary::erf, needs_x, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), x = c.input(0);
                                  c.add(0, g * T(1.12837916709551257390) * exp(-square(x)));
                                }};
template <class T>
constexpr UnaryRule<T> erfc_rule{"erfc", Unary::erfc, needs_x, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), x = c.input(0);
                                   c.add(0, g * T(-1.12837916709551257390) * exp(-square(x)));
                                 }};
template <class T>
constexpr UnaryRule<T> lgamma_rule{"lgamma", Unary::lgamma, needs_x, [](Vjp<T>& c) {
                                     const Var<T> g = c.gradient(), x = c.input(0);
                                     c.add(0, g * digamma(x));
                                   }};
template <class T>
constexpr UnaryRule<T> digamma_rule{"digamma", Unary::digamma, needs_x, [](Vjp<T>& c) {
                                      const Var<T> g = c.gradient(), x = c.input(0);
                                      c.add(0, g * polygamma(1, x));
                                    }};
template <class T>
constexpr UnaryRule<T> trigamma_rule{"trigamma", Unary::trigamma, needs_x, [](Vjp<T>& c) {
                                       const Var<T> g = c.gradient(), x = c.input(0);
                                       c.add(0, g * polygamma(2, x));
                                     }};
template <class T>
constexpr UnaryRule<T> logit_rule{"logit", Unary::logit, needs_x, [](Vjp<T>& c) {
                                    const Var<T> g = c.gradient(), x = c.input(0);
                                    c.add(0, g / (x * (T(1) - x)));
                                  }};
template <class T>
constexpr ParametricRule<T> leaky_relu_rule{"leaky_relu", Parametric::leaky_relu, [](Vjp<T>& c, T p, T) {
                                              const Var<T> x = c.input(0);
                                              c.add(0, c.gradient() * (positive(x) + p * (T(1) - positive(x))));
                                            }};
template <class T>
constexpr ParametricRule<T> elu_rule{
    "elu", Parametric::elu, [](Vjp<T>& c, T p, T) {
      const Var<T> x = c.input(0);
      c.add(0, c.gradient() * (positive(x) + p * (T(1) - positive(x)) * exp(minimum(x, Var<T>(T(0))))));
    }};
template <class T>
constexpr ParametricRule<T> clamp_rule{"clamp", Parametric::clamp, [](Vjp<T>& c, T p, T q) {
                                         const Var<T> x = c.input(0);
                                         c.add(0, c.gradient() * ((T(1) - positive(p - x)) * (T(1) - positive(x - q))));
                                       }};
template <class T>
constexpr ParametricRule<T> power_rule{"pow", Parametric::power, [](Vjp<T>& c, T p, T) {
                                         const Var<T> x = c.input(0);
                                         c.add(0, c.gradient() * (p * pow(x, p - T(1))));
                                       }};
template <class T>
constexpr ParametricRule<T> polygamma_rule{"polygamma", Parametric::polygamma, [](Vjp<T>& c, T p, T) {
                                             const Var<T> x = c.input(0);
                                             c.add(0, c.gradient() * (polygamma(static_cast<int>(p) + 1, x)));
                                           }};
template <class T>
constexpr BinaryRule<T> pow_pair_rule{"pow", Binary::pow, both | needs_y, Linearity::elementwise, [](Vjp<T>& c) {
                                        const Var<T> a = c.input(0), b = c.input(1);
                                        if (c.wants(0)) c.add(0, c.gradient() * b * pow(a, b - T(1)));
                                        if (c.wants(1)) c.add(1, c.gradient() * xlogy(c.output(), a));
                                      }};
template <class T>
constexpr BinaryRule<T> xlogy_pair_rule{"xlogy", Binary::xlogy, both, Linearity::elementwise, [](Vjp<T>& c) {
                                          const Var<T> a = c.input(0), b = c.input(1);
                                          if (c.wants(0)) c.add(0, c.gradient() * log(b));
                                          if (c.wants(1)) c.add(1, c.gradient() * (a / b));
                                        }};
template <class T>
constexpr BinaryRule<T> atan2_pair_rule{"atan2", Binary::atan2, both, Linearity::elementwise, [](Vjp<T>& c) {
                                          const Var<T> a = c.input(0), b = c.input(1),
                                                       square_norm = square(a) + square(b);
                                          if (c.wants(0)) c.add(0, c.gradient() * (b / square_norm));
                                          if (c.wants(1)) c.add(1, -c.gradient() * (a / square_norm));
                                        }};
template <class T>
constexpr BinaryRule<T> logaddexp_pair_rule{"logaddexp", Binary::logaddexp, both, Linearity::elementwise,
                                            [](Vjp<T>& c) {
                                              const Var<T> share = sigmoid(c.input(0) - c.input(1));
                                              if (c.wants(0)) c.add(0, c.gradient() * share);
                                              if (c.wants(1)) c.add(1, c.gradient() * sigmoid(c.input(1) - c.input(0)));
                                            }};

}  // namespace

template <class T>
Var<T> selu(const Var<T>& x) {
  return detail::unary<selu_rule<T>>(x);
}
template <class T>
Var<T> gelu(const Var<T>& x) {
  return detail::unary<gelu_rule<T>>(x);
}
template <class T>
Var<T> sin(const Var<T>& x) {
  return detail::unary<sin_rule<T>>(x);
}
template <class T>
Var<T> cos(const Var<T>& x) {
  return detail::unary<cos_rule<T>>(x);
}
template <class T>
Var<T> tan(const Var<T>& x) {
  return detail::unary<tan_rule<T>>(x);
}
template <class T>
Var<T> asin(const Var<T>& x) {
  return detail::unary<asin_rule<T>>(x);
}
template <class T>
Var<T> acos(const Var<T>& x) {
  return detail::unary<acos_rule<T>>(x);
}
template <class T>
Var<T> atan(const Var<T>& x) {
  return detail::unary<atan_rule<T>>(x);
}
template <class T>
Var<T> sinh(const Var<T>& x) {
  return detail::unary<sinh_rule<T>>(x);
}
template <class T>
Var<T> cosh(const Var<T>& x) {
  return detail::unary<cosh_rule<T>>(x);
}
template <class T>
Var<T> erf(const Var<T>& x) {
  return detail::unary<erf_rule<T>>(x);
}
template <class T>
Var<T> erfc(const Var<T>& x) {
  return detail::unary<erfc_rule<T>>(x);
}
template <class T>
Var<T> lgamma(const Var<T>& x) {
  return detail::unary<lgamma_rule<T>>(x);
}
template <class T>
Var<T> digamma(const Var<T>& x) {
  return detail::unary<digamma_rule<T>>(x);
}
template <class T>
Var<T> trigamma(const Var<T>& x) {
  return detail::unary<trigamma_rule<T>>(x);
}
template <class T>
Var<T> logit(const Var<T>& x) {
  return detail::unary<logit_rule<T>>(x);
}
template <class T>
Var<T> leaky_relu(const Var<T>& x, std::type_identity_t<T> slope) {
  return detail::parametric(leaky_relu_rule<T>, x, slope, T(0));
}
template <class T>
Var<T> elu(const Var<T>& x, std::type_identity_t<T> alpha) {
  return detail::parametric(elu_rule<T>, x, alpha, T(0));
}
template <class T>
Var<T> clamp(const Var<T>& x, std::type_identity_t<T> low, std::type_identity_t<T> high) {
  if (!(low <= high)) fail("clamp", "the interval [", low, ", ", high, "] is empty");
  return detail::parametric(clamp_rule<T>, x, low, high);
}
template <class T>
Var<T> pow(const Var<T>& x, std::type_identity_t<T> p) {
  return detail::parametric(power_rule<T>, x, p, T(0));
}
template <class T>
Var<T> polygamma(int order, const Var<T>& x) {
  if (order < 0 || order > 60) fail("polygamma", "order ", order, " is not in 0 to 60");
  return order == 0 ? digamma(x) : detail::parametric(polygamma_rule<T>, x, static_cast<T>(order), T(0));
}
template <class T>
Var<T> pow(const Var<T>& a, const Var<T>& b) {
  return detail::binary<pow_pair_rule<T>>(a, b);
}
template <class T>
Var<T> xlogy(const Var<T>& a, const Var<T>& b) {
  return detail::binary<xlogy_pair_rule<T>>(a, b);
}
template <class T>
Var<T> atan2(const Var<T>& a, const Var<T>& b) {
  return detail::binary<atan2_pair_rule<T>>(a, b);
}
template <class T>
Var<T> logaddexp(const Var<T>& a, const Var<T>& b) {
  return detail::binary<logaddexp_pair_rule<T>>(a, b);
}

#define TAPESTRY_INSTANTIATE(T)                                                           \
  template Var<T> selu(const Var<T>&);                                                    \
  template Var<T> gelu(const Var<T>&);                                                    \
  template Var<T> sin(const Var<T>&);                                                     \
  template Var<T> cos(const Var<T>&);                                                     \
  template Var<T> tan(const Var<T>&);                                                     \
  template Var<T> asin(const Var<T>&);                                                    \
  template Var<T> acos(const Var<T>&);                                                    \
  template Var<T> atan(const Var<T>&);                                                    \
  template Var<T> sinh(const Var<T>&);                                                    \
  template Var<T> cosh(const Var<T>&);                                                    \
  template Var<T> erf(const Var<T>&);                                                     \
  template Var<T> erfc(const Var<T>&);                                                    \
  template Var<T> lgamma(const Var<T>&);                                                  \
  template Var<T> digamma(const Var<T>&);                                                 \
  template Var<T> trigamma(const Var<T>&);                                                \
  template Var<T> logit(const Var<T>&);                                                   \
  template Var<T> leaky_relu(const Var<T>&, std::type_identity_t<T>);                     \
  template Var<T> elu(const Var<T>&, std::type_identity_t<T>);                            \
  template Var<T> clamp(const Var<T>&, std::type_identity_t<T>, std::type_identity_t<T>); \
  template Var<T> pow(const Var<T>&, std::type_identity_t<T>);                            \
  template Var<T> polygamma(int, const Var<T>&);                                          \
  template Var<T> pow(const Var<T>&, const Var<T>&);                                      \
  template Var<T> xlogy(const Var<T>&, const Var<T>&);                                    \
  template Var<T> atan2(const Var<T>&, const Var<T>&);                                    \
  template Var<T> logaddexp(const Var<T>&, const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
