#include <algorithm>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry::detail {

void register_arithmetic(Registry& r) {
  const auto row = uniform_example({3}), table = uniform_example({2, 3}), column = uniform_example({2, 1});
  add_elementwise(
      r, "add", {table, row}, [](const auto& x) { return x[0] + x[1]; }, [](double a, double b) { return a + b; });
  add_elementwise(
      r, "subtract", {row, table}, [](const auto& x) { return x[0] - x[1]; }, [](double a, double b) { return a - b; });
  add_elementwise(
      r, "multiply", {column, row}, [](const auto& x) { return x[0] * x[1]; },
      [](double a, double b) { return a * b; });
  add_elementwise(
      r, "divide", {table, uniform_example({2, 1}, 0.5, 2)}, [](const auto& x) { return x[0] / x[1]; },
      [](double a, double b) { return a / b; });
  const std::vector<ExampleInput> apart{distinct_example({4, 3}), fixed_example({0.1, 0.2, -0.3})};
  add_elementwise(
      r, "maximum", apart, [](const auto& x) { return maximum(x[0], x[1]); },
      [](double a, double b) { return a != a            ? a
                                      : b > a || b != b ? b
                                                        : a; });
  add_elementwise(
      r, "minimum", apart, [](const auto& x) { return minimum(x[0], x[1]); },
      [](double a, double b) { return a != a            ? a
                                      : b < a || b != b ? b
                                                        : a; });
}

}  // namespace tapestry::detail
