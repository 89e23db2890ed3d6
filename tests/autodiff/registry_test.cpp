#include <tapestry/autodiff/registry.hpp>

#include <set>

#include "autodiff/ops/compare.hpp"
#include "autodiff/registry_examples.hpp"

using namespace tapestry;
using namespace tapestry::testing;

TEST_CASE("registry: names are unique, and every operation has a reference or a reason why not") {
  std::set<std::string> names;
  for (const RegisteredOperation& op : registry().operations()) {
    CHECK_MESSAGE(names.insert(op.name).second, op.name);
    CHECK_MESSAGE((op.reference == nullptr) != op.no_reference.empty(), op.name);
  }
}

TEST_CASE("registry: every operation's value is its reference's") {
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.reference) continue;
    for (const std::uint64_t seed : {1, 2, 3}) {
      const auto inputs = examples(op, seed);
      const Tensor<double> value = op.apply(constants(inputs)).tensor(), right = expected(op, inputs);
      REQUIRE_MESSAGE(shape_of(value) == shape_of(right), op.name);
      for (std::size_t i = 0; i < value.size(); ++i)
        CHECK_MESSAGE(close(value.data()[i], right.data()[i], 1e-13), op.name, ": ", value.data()[i], " instead of ",
                      right.data()[i]);
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

TEST_CASE("registry: the rules in operations give the gradients of the first-order pass") {
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.differentiable || op.name == "dropout") continue;  // dropout has other numbers in each call
    CAPTURE(op.name);
    std::vector<Var<double>> leaves;
    for (const Tensor<double>& input : examples(op, 13)) leaves.emplace_back(input, true);
    if (op.apply(leaves).requires_grad()) check_fused_backward_at(op.apply, leaves, 1e-11);
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
    const Var<double> right = op.apply(precise);
    REQUIRE_MESSAGE(y.shape() == right.shape(), op.name);
    const auto compare = [&](const float* a, const Tensor<double>& b) {
      const double allowed = op.float_tolerance * largest(b);
      for (std::size_t i = 0; i < b.size(); ++i)
        CHECK_MESSAGE((static_cast<double>(a[i]) == b.data()[i] || std::abs(a[i] - b.data()[i]) <= allowed), op.name);
    };
    compare(y.data(), right.tensor());
    if (!op.differentiable || !y.requires_grad()) continue;
    const Tensor<double> seed = uniform_example(y.shape(), -1, 1)(9);
    const auto g = grad(y, single, Var<float>(Tensor<float>(xt::cast<float>(seed))));
    const auto h = grad(right, precise, Var<double>(seed));
    for (std::size_t i = 0; i < g.size(); ++i) compare(g[i].data(), h[i].tensor());
  }
}
