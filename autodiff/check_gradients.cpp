#include <tapestry/autodiff/check_gradients.hpp>

#include <algorithm>
#include <cmath>
#include <random>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {
namespace {

using Vars = std::vector<Var<double>>;

Tensor<double> random_direction(const Shape& shape, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  Tensor<double> out = empty_tensor<double>(shape);
  for (double& x : out) x = normal(random);
  return out;
}

Vars random_directions(const Vars& like, std::mt19937_64& random) {
  Vars out;
  for (const Var<double>& x : like) out.emplace_back(random_direction(x.shape(), random));
  return out;
}

Vars leaves_at(const Vars& inputs, const Vars& direction, double step) {
  Vars out;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    out.push_back(variable(Tensor<double>(inputs[i].value() + step * direction[i].value())));
  return out;
}

double dot(const Vars& a, const Vars& b) {
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i) out += sum(a[i] * b[i]).item();
  return out;
}

class Checker {
 public:
  explicit Checker(const CheckGradientsOptions& options) : options_(options), random_(options.seed) {}

  // Compares the derivatives of g along random directions with central differences.
  void check(const Function<double>& g, const Vars& inputs, int order) {
    const std::int64_t results = g(inputs).size();
    for (int k = 0; k < options_.directions; ++k) {
      const Vars v = random_directions(inputs, random_);
      const Var<double> u(random_direction(g(inputs).shape(), random_));
      const auto scalar = [&](double step) {
        const Vars at = leaves_at(inputs, v, step);
        return results == 0 ? 0.0 : sum(g(at) * u).item();
      };
      const double h = options_.step;
      // Richardson: fourth order in h.
      const double numeric = (8 * (scalar(h / 2) - scalar(-h / 2)) - (scalar(h) - scalar(-h))) / (6 * h);
      compare(dot(vjp(g, inputs, u).second, v), numeric, "reverse mode", order, k);
      if (options_.forward_mode) compare(sum(jvp(g, inputs, v).second * u).item(), numeric, "forward mode", order, k);
    }
  }

  // A scalar function whose value is the gradient of <u, f> along v, for the next order.
  Function<double> directional(const Function<double>& f, const Vars& inputs) {
    const Vars v = random_directions(inputs, random_);
    const Var<double> u(random_direction(f(inputs).shape(), random_));
    return [f, u, v](const Vars& at) {
      Vars xs;
      for (const Var<double>& x : at) {
        xs.push_back(x.requires_grad() ? x : x.detach());
        if (!x.requires_grad()) xs.back().set_requires_grad(true);
      }
      const EnableGradients on;
      const Var<double> y = f(xs);
      Var<double> out(0.0);
      if (!y.requires_grad()) return out;
      const Vars g = grad(y, xs, u, {.create_graph = true});
      for (std::size_t i = 0; i < g.size(); ++i) out = out + sum(g[i] * v[i]);
      return out;
    };
  }

 private:
  void compare(double analytic, double numeric, std::string_view mode, int order, int k) const {
    const double error = std::abs(analytic - numeric) / std::max(1.0, std::abs(numeric));
    if (!(error <= options_.tolerance))
      fail<NumericalError>(options_.name, mode, " of order ", order, ", direction ", k, ": analytic ", analytic,
                           ", numeric ", numeric, " (relative error ", error, ")");
  }

  const CheckGradientsOptions& options_;
  std::mt19937_64 random_;
};

}  // namespace

void check_gradients(const Function<double>& f, const std::vector<Var<double>>& inputs, CheckGradientsOptions options) {
  if (options.order < 1 || options.order > 2) fail(options.name, "order ", options.order, " instead of 1 or 2");
  Vars constants;
  for (const Var<double>& x : inputs) constants.push_back(x.detach());
  Checker checker(options);
  checker.check(f, constants, 1);
  if (options.order == 2) checker.check(checker.directional(f, constants), constants, 2);
}

}  // namespace tapestry
