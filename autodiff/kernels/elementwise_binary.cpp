#include <tapestry/autodiff/kernels/elementwise_loops.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

struct Add {
  static constexpr Binary id = Binary::add;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return a + b;
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V&, const V&) {
    return like(a, 1);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V&, const V&) {
    return like(a, 1);
  }
};
struct Subtract {
  static constexpr Binary id = Binary::subtract;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return a - b;
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V&, const V&) {
    return like(a, 1);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V&, const V&) {
    return like(a, -1);
  }
};
struct Multiply {
  static constexpr Binary id = Binary::multiply;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return a * b;
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V&, const V& b, const V&) {
    return b;
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V&, const V&) {
    return a;
  }
};
struct Divide {
  static constexpr Binary id = Binary::divide;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return a / b;
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V&, const V& b, const V&) {
    return 1 / b;
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V&) {
    return -((a / b) / b);
  }
};
/// 1 where `first` is chosen, half at a tie.
template <class V, class B>
TAPESTRY_INLINE V share(const B& chosen, const V& a, const V& b) {
  return select(chosen, like(a, 1), select(a == b, like(a, 0.5), 0));
}
struct Maximum {
  static constexpr Binary id = Binary::maximum;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return select((a > b) | (a != a), a, b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V& b, const V&) {
    return share(a > b, a, b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V&) {
    return share(b > a, a, b);
  }
};
struct Minimum {
  static constexpr Binary id = Binary::minimum;
  static constexpr int width = 4;
  template <class V>
  TAPESTRY_INLINE V value(const V& a, const V& b) {
    return select((a < b) | (a != a), a, b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_a(const V& a, const V& b, const V&) {
    return share(a < b, a, b);
  }
  template <class V>
  TAPESTRY_INLINE V derivative_b(const V& a, const V& b, const V&) {
    return share(b < a, a, b);
  }
};

#define TAPESTRY_COMPARISON(Name, name, op)           \
  struct Name {                                       \
    static constexpr Binary id = Binary::name;        \
    static constexpr int width = 4;                   \
    template <class V>                                \
    TAPESTRY_INLINE V value(const V& a, const V& b) { \
      return select(a op b, like(a, 1), 0);           \
    }                                                 \
  };
TAPESTRY_COMPARISON(Less, less, <)
TAPESTRY_COMPARISON(LessEqual, less_equal, <=)
TAPESTRY_COMPARISON(Greater, greater, >)
TAPESTRY_COMPARISON(GreaterEqual, greater_equal, >=)
TAPESTRY_COMPARISON(Equal, equal, ==)
TAPESTRY_COMPARISON(NotEqual, not_equal, !=)
#undef TAPESTRY_COMPARISON

}  // namespace

template <class T>
void enter_binary_arithmetic(ElementwiseKernels<T>& t) {
  enter_binary<T, Add, Subtract, Multiply, Divide, Maximum, Minimum, Less, LessEqual, Greater, GreaterEqual, Equal,
               NotEqual>(t);
}
template void enter_binary_arithmetic(ElementwiseKernels<float>&);
template void enter_binary_arithmetic(ElementwiseKernels<double>&);

}  // namespace tapestry::detail::TAPESTRY_ARCH
