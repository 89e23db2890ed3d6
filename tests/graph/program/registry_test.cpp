#include "autodiff/registry_examples.hpp"

#include <string>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/graph/program/program.hpp>

using namespace tapestry;
using namespace tapestry::testing;

namespace {

template <class T>
std::vector<Var<T>> leaves(const std::vector<Tensor<double>>& values, bool requires_grad) {
  std::vector<Var<T>> out;
  for (const Tensor<double>& value : values) out.emplace_back(Tensor<T>(xt::cast<T>(value)), requires_grad);
  return out;
}

}  // namespace

TEST_CASE("program: every registered operation gives the tape's values and gradients on new inputs") {
  std::string refused;
  for (const RegisteredOperation& op : registry().operations()) {
    if (op.name == "dropout") continue;  // has other numbers in each run
    CAPTURE(op.name);
    Tensor<double> weights;
    const auto f = [&](const std::vector<Var<double>>& x) {
      const Var<double> y = op.apply(x);
      weights = uniform_example(y.shape(), -1, 1)(9);
      return std::vector<Var<double>>{sum(y * Var<double>(Tensor<double>(weights))), y};
    };
    Program<double> program;
    try {
      program = capture<double>(f, leaves<double>(examples(op, 1), op.differentiable));
    } catch (const GraphError&) {
      refused += op.name + ' ';
      continue;
    }
    const auto values = examples(op, 2);
    const auto inputs = leaves<double>(values, op.differentiable);
    const std::vector<Var<double>> expected = f(inputs);
    program.run(std::span(inputs));
    const auto compare = [&](const auto& got, const auto& right) {
      REQUIRE(got.size() == right.size());
      for (std::size_t i = 0; i < right.size(); ++i) CHECK(close(got.data()[i], right.data()[i], 1e-13));
    };
    compare(program.output(1), expected[1].value());
    compare(program.output(0), expected[0].value());
    if (!expected[0].requires_grad()) continue;
    expected[0].backward();
    program.run_backward(std::span(inputs));
    compare(program.output(0), expected[0].value());
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].has_gradient()) compare(program.gradient(i), inputs[i].gradient());
  }
  // These give indices, which are no variables.
  CHECK(refused == "argmax argmin argsort ");
}
