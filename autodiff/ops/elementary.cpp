#include <tapestry/autodiff/ops/elementary.hpp>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/unary_operation.hpp>

namespace tapestry {
namespace {

using detail::Unary;
using detail::UnaryRule;

constexpr std::uint32_t needs_x = Needs::input(0);
constexpr std::uint32_t needs_y = Needs::output;

template <class T>
constexpr UnaryRule<T> negative_rule{"negative", Unary::negative, Needs::nothing, [](Vjp<T>& c) {
                                       const Var<T> g = c.gradient();
                                       c.add(0, -g);
                                     }};
template <class T>
constexpr UnaryRule<T> square_rule{"square", Unary::square, needs_x, [](Vjp<T>& c) {
                                     const Var<T> g = c.gradient(), x = c.input(0);
                                     c.add(0, g * x * T(2));
                                   }};
template <class T>
constexpr UnaryRule<T> sqrt_rule{"sqrt", Unary::sqrt, needs_y, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), y = c.output();
                                   c.add(0, T(0.5) * g / y);
                                 }};
template <class T>
constexpr UnaryRule<T> rsqrt_rule{"rsqrt", Unary::rsqrt, needs_y, [](Vjp<T>& c) {
                                    const Var<T> g = c.gradient(), y = c.output();
                                    c.add(0, T(-0.5) * g * y * y * y);
                                  }};
template <class T>
constexpr UnaryRule<T> reciprocal_rule{"reciprocal", Unary::reciprocal, needs_y, [](Vjp<T>& c) {
                                         const Var<T> g = c.gradient(), y = c.output();
                                         c.add(0, -g * y * y);
                                       }};
template <class T>
constexpr UnaryRule<T> exp_rule{"exp", Unary::exp, needs_y, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), y = c.output();
                                  c.add(0, g * y);
                                }};
template <class T>
constexpr UnaryRule<T> expm1_rule{"expm1", Unary::expm1, needs_y, [](Vjp<T>& c) {
                                    const Var<T> g = c.gradient(), y = c.output();
                                    c.add(0, g * (y + T(1)));
                                  }};
template <class T>
constexpr UnaryRule<T> log_rule{"log", Unary::log, needs_x, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), x = c.input(0);
                                  c.add(0, g / x);
                                }};
template <class T>
constexpr UnaryRule<T> log1p_rule{"log1p", Unary::log1p, needs_x, [](Vjp<T>& c) {
                                    const Var<T> g = c.gradient(), x = c.input(0);
                                    c.add(0, g / (x + T(1)));
                                  }};
template <class T>
constexpr UnaryRule<T> log_sigmoid_rule{"log_sigmoid", Unary::log_sigmoid, needs_x, [](Vjp<T>& c) {
                                          const Var<T> g = c.gradient(), x = c.input(0);
                                          c.add(0, g * sigmoid(-x));
                                        }};
template <class T>
constexpr UnaryRule<T> sigmoid_rule{"sigmoid", Unary::sigmoid, needs_y, [](Vjp<T>& c) {
                                      const Var<T> g = c.gradient(), y = c.output();
                                      c.add(0, g * y * (T(1) - y));
                                    }};
template <class T>
constexpr UnaryRule<T> tanh_rule{"tanh", Unary::tanh, needs_y, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), y = c.output();
                                   c.add(0, g * (T(1) - y * y));
                                 }};
template <class T>
constexpr UnaryRule<T> relu_rule{"relu", Unary::relu, needs_y, [](Vjp<T>& c) {
                                   const Var<T> g = c.gradient(), y = c.output();
                                   c.add(0, g * sign(y));
                                 }};
template <class T>
constexpr UnaryRule<T> softplus_rule{"softplus", Unary::softplus, needs_x, [](Vjp<T>& c) {
                                       const Var<T> g = c.gradient(), x = c.input(0);
                                       c.add(0, g * sigmoid(x));
                                     }};
template <class T>
constexpr UnaryRule<T> abs_rule{"abs", Unary::abs, needs_x, [](Vjp<T>& c) {
                                  const Var<T> g = c.gradient(), x = c.input(0);
                                  c.add(0, g * sign(x));
                                }};
template <class T>
constexpr UnaryRule<T> sign_rule{"sign", Unary::sign, Needs::nothing, [](Vjp<T>&) {}};
template <class T>
constexpr UnaryRule<T> floor_rule{"floor", Unary::floor, Needs::nothing, [](Vjp<T>&) {}};
template <class T>
constexpr UnaryRule<T> round_rule{"round", Unary::round, Needs::nothing, [](Vjp<T>&) {}};

}  // namespace

template <class T>
Var<T> negative(const Var<T>& x) {
  return detail::unary<negative_rule<T>>(x);
}
template <class T>
Var<T> square(const Var<T>& x) {
  return detail::unary<square_rule<T>>(x);
}
template <class T>
Var<T> sqrt(const Var<T>& x) {
  return detail::unary<sqrt_rule<T>>(x);
}
template <class T>
Var<T> rsqrt(const Var<T>& x) {
  return detail::unary<rsqrt_rule<T>>(x);
}
template <class T>
Var<T> reciprocal(const Var<T>& x) {
  return detail::unary<reciprocal_rule<T>>(x);
}
template <class T>
Var<T> exp(const Var<T>& x) {
  return detail::unary<exp_rule<T>>(x);
}
template <class T>
Var<T> expm1(const Var<T>& x) {
  return detail::unary<expm1_rule<T>>(x);
}
template <class T>
Var<T> log(const Var<T>& x) {
  return detail::unary<log_rule<T>>(x);
}
template <class T>
Var<T> log1p(const Var<T>& x) {
  return detail::unary<log1p_rule<T>>(x);
}
template <class T>
Var<T> log_sigmoid(const Var<T>& x) {
  return detail::unary<log_sigmoid_rule<T>>(x);
}
template <class T>
Var<T> sigmoid(const Var<T>& x) {
  return detail::unary<sigmoid_rule<T>>(x);
}
template <class T>
Var<T> tanh(const Var<T>& x) {
  return detail::unary<tanh_rule<T>>(x);
}
template <class T>
Var<T> relu(const Var<T>& x) {
  return detail::unary<relu_rule<T>>(x);
}
template <class T>
Var<T> softplus(const Var<T>& x) {
  return detail::unary<softplus_rule<T>>(x);
}
template <class T>
Var<T> abs(const Var<T>& x) {
  return detail::unary<abs_rule<T>>(x);
}
template <class T>
Var<T> sign(const Var<T>& x) {
  return detail::unary<sign_rule<T>>(x);
}
template <class T>
Var<T> floor(const Var<T>& x) {
  return detail::unary<floor_rule<T>>(x);
}
template <class T>
Var<T> round(const Var<T>& x) {
  return detail::unary<round_rule<T>>(x);
}

#define TAPESTRY_INSTANTIATE(T)               \
  template Var<T> negative(const Var<T>&);    \
  template Var<T> square(const Var<T>&);      \
  template Var<T> sqrt(const Var<T>&);        \
  template Var<T> rsqrt(const Var<T>&);       \
  template Var<T> reciprocal(const Var<T>&);  \
  template Var<T> exp(const Var<T>&);         \
  template Var<T> expm1(const Var<T>&);       \
  template Var<T> log(const Var<T>&);         \
  template Var<T> log1p(const Var<T>&);       \
  template Var<T> log_sigmoid(const Var<T>&); \
  template Var<T> sigmoid(const Var<T>&);     \
  template Var<T> tanh(const Var<T>&);        \
  template Var<T> relu(const Var<T>&);        \
  template Var<T> softplus(const Var<T>&);    \
  template Var<T> abs(const Var<T>&);         \
  template Var<T> sign(const Var<T>&);        \
  template Var<T> floor(const Var<T>&);       \
  template Var<T> round(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
