#include <tapestry/autodiff/registry.hpp>

#include <algorithm>
#include <cmath>
#include <set>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>

using namespace tapestry;

namespace {

std::vector<Tensor<double>> examples(const RegisteredOperation& op, std::uint64_t seed) {
  std::vector<Tensor<double>> out;
  for (const ExampleInput& input : op.inputs) out.push_back(input(seed + out.size()));
  return out;
}

std::vector<Var<double>> constants(const std::vector<Tensor<double>>& inputs) {
  std::vector<Var<double>> out;
  for (const Tensor<double>& input : inputs) out.emplace_back(input);
  return out;
}

double largest(const Tensor<double>& x) {
  double out = 1e-300;
  for (const double value : x)
    if (std::isfinite(value)) out = std::max(out, std::abs(value));
  return out;
}

}  // namespace

TEST_CASE("registry: names are unique") {
  std::set<std::string> names;
  for (const RegisteredOperation& op : registry().operations()) CHECK_MESSAGE(names.insert(op.name).second, op.name);
}

TEST_CASE("registry: every operation's value is its reference's") {
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.reference) continue;
    for (const std::uint64_t seed : {1, 2, 3}) {
      const auto inputs = examples(op, seed);
      const Tensor<double> value = op.apply(constants(inputs)).tensor(), expected = op.reference(inputs);
      REQUIRE_MESSAGE(shape_of(value) == shape_of(expected), op.name);
      for (std::size_t i = 0; i < value.size(); ++i)
        CHECK_MESSAGE(value.data()[i] == doctest::Approx(expected.data()[i]).epsilon(1e-13).scale(1), op.name);
    }
  }
}

TEST_CASE("registry: every derivative agrees with finite differences, reverse and forward, to second order") {
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.differentiable) continue;
    CHECK_NOTHROW_MESSAGE(check_gradients(op.apply, constants(examples(op, 7)),
                                          {.order = 2, .tolerance = op.gradient_tolerance, .name = op.name}),
                          op.name);
  }
}

TEST_CASE("registry: float results and gradients agree with double ones") {
  for (const RegisteredOperation& op : registry().operations()) {
    const auto inputs = examples(op, 5);
    std::vector<Var<float>> single;
    std::vector<Var<double>> precise;
    for (const Tensor<double>& input : inputs) {
      single.emplace_back(Tensor<float>(xt::cast<float>(input)), op.differentiable);
      precise.emplace_back(Tensor<double>(xt::cast<double>(xt::cast<float>(input))), op.differentiable);
    }
    const Var<float> y = op.apply_float(single);
    const Var<double> expected = op.apply(precise);
    REQUIRE_MESSAGE(y.shape() == expected.shape(), op.name);
    const auto compare = [&](const float* a, const Tensor<double>& b) {
      const double allowed = op.float_tolerance * largest(b);
      for (std::size_t i = 0; i < b.size(); ++i)
        CHECK_MESSAGE((static_cast<double>(a[i]) == b.data()[i] || std::abs(a[i] - b.data()[i]) <= allowed), op.name);
    };
    compare(y.data(), expected.tensor());
    if (!op.differentiable || !y.requires_grad()) continue;
    const Tensor<double> seed = uniform_example(y.shape(), -1, 1)(9);
    const auto g = grad(y, single, Var<float>(Tensor<float>(xt::cast<float>(seed))));
    const auto h = grad(expected, precise, Var<double>(seed));
    for (std::size_t i = 0; i < g.size(); ++i) compare(g[i].data(), h[i].tensor());
  }
}
