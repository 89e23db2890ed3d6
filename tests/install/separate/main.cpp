#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include <tapestry/autodiff/configuration.hpp>
#include <tapestry/tapestry.hpp>

namespace {

using Variable = tapestry::Var<double>;
using Variables = std::vector<Variable>;

// An operation of one's own in full: a class.
class Cube final : public tapestry::Operation<double> {
 public:
  std::string_view name() const override { return "cube"; }
  tapestry::Shape shape(const Shapes& in, int) const override { return in[0]; }
  tapestry::Linearity linearity() const override { return tapestry::Linearity::elementwise; }
  void forward(tapestry::Forward<double>& c) override {
    const auto x = c.input(0);
    for (std::int64_t i = 0; i < x.size(); ++i) c.output()[i] = x[i] * x[i] * x[i];
  }
  void vjp(tapestry::Vjp<double>& c) override { c.add(0, c.gradient() * 3.0 * square(c.input(0))); }
};

// A layer of one's own: members, their names, and a forward().
struct Scale {
  Variable factor{tapestry::Tensor<double>{2.0, 3.0, 4.0}, true};
  void members(tapestry::Members& m) { m("factor", factor); }
  Variable forward(const Variable& x) const { return x * factor; }
};

// Each way to write an operation passes the gradient check to second order.
void check_own_operations() {
  const Variables inputs = {Variable(tapestry::Tensor<double>{0.5, -1.0, 2.0})};
  const auto check = [&](const char* name, const tapestry::Function<double>& f) {
    tapestry::check_gradients(f, inputs, {.order = 2, .name = name});
  };
  const Scale scale;
  check("composed", [&](const Variables& x) { return scale.forward(x[0]) * x[0]; });
  check("elementwise",
        [](const Variables& x) { return tapestry::elementwise([](auto a) { return a * sigmoid(a); }, x[0]); });
  check("class", [](const Variables& x) { return tapestry::record(std::make_unique<Cube>(), x[0]); });
  const tapestry::CustomOperation<double> twice{
      .name = "twice",
      .forward = [](const tapestry::TensorViews<double>& x,
                    std::monostate&) { return std::vector<tapestry::Tensor<double>>{2.0 * x[0]}; },
      .vjp_in_operations = [](const Variables&, const Variables&,
                              const Variables& g) { return Variables{g[0] * 2.0}; }};
  check("custom", [&](const Variables& x) { return twice(x)[0]; });
  if (tapestry::parameter_count(scale) != 3) throw tapestry::Error("the layer's parameters are not found");
}

}  // namespace

int main() {
  std::cout << tapestry::configuration();
  check_own_operations();
  Variable x(xt::xarray<double>({1.0, 2.0, 3.0}), true);
  tapestry::sum(x * tapestry::tanh(x)).backward();
  const auto gradient = x.gradient();
  for (int i = 0; i < 3; ++i) {
    const double at = i + 1.0, expected = std::tanh(at) + at * (1 - std::tanh(at) * std::tanh(at));
    if (std::abs(gradient(i) - expected) > 1e-14) {
      std::printf("the gradient at %g is %.17g, not %.17g\n", at, gradient(i), expected);
      return 1;
    }
  }
  std::puts("everything agrees");
}
