#include "autodiff/registry_examples.hpp"

#include <algorithm>
#include <random>
#include <span>
#include <string>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
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

void compare(const auto& got, const auto& right, double tolerance) {
  REQUIRE(got.size() == right.size());
  for (std::size_t i = 0; i < right.size(); ++i) CHECK(close(got.data()[i], right.data()[i], tolerance));
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
    compare(program.output(1), expected[1].value(), 1e-13);
    compare(program.output(0), expected[0].value(), 1e-13);
    if (!expected[0].requires_grad()) continue;
    expected[0].backward();
    program.run_backward(std::span(inputs));
    compare(program.output(0), expected[0].value(), 1e-13);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].has_gradient()) compare(program.gradient(i), inputs[i].gradient(), 1e-13);
  }
  // These give indices, which are no variables.
  CHECK(refused == "argmax argmin argsort ");
}

TEST_CASE("program: random programs of the registered operations give the tape's values and gradients") {
  std::vector<const RegisteredOperation*> all;
  for (const RegisteredOperation& op : registry().operations())
    if (op.name != "dropout" && op.name != "argmax" && op.name != "argmin" && op.name != "argsort") all.push_back(&op);
  std::mt19937 random(5);
  for (int round = 0; round < 3; ++round) {
    std::shuffle(all.begin(), all.end(), random);
    for (std::size_t first = 0; first < all.size(); first += 6) {
      const std::span<const RegisteredOperation* const> chosen(all.data() + first,
                                                               std::min<std::size_t>(6, all.size() - first));
      std::string names;
      for (const RegisteredOperation* op : chosen) names += op->name + ' ';
      CAPTURE(names);
      const auto values_of = [&](std::uint64_t seed) {
        std::vector<Tensor<double>> out;
        for (const RegisteredOperation* op : chosen)
          for (Tensor<double>& value : examples(*op, seed)) out.push_back(std::move(value));
        return out;
      };
      // Each operation's inputs depend on the results of those before; every second result is made twice, one is not
      // read, and chains of elementwise functions are between.
      const auto f = [&](const std::vector<Var<double>>& x) {
        Var<double> state(0.3);
        std::size_t next = 0;
        for (std::size_t k = 0; k < chosen.size(); ++k) {
          const auto inputs = [&] {
            std::vector<Var<double>> in;
            const Var<double> scale = 1.0 + 0.01 * tanh(state);
            for (std::size_t i = 0; i < chosen[k]->inputs.size(); ++i) in.push_back(x[next + i] * scale);
            return in;
          };
          Var<double> y = chosen[k]->apply(inputs());
          if (k % 2 == 0) y = y + chosen[k]->apply(inputs());
          if (k == 3) sum(exp(y * 0.01));
          state = 0.5 * state + mean(sin(y * 0.1) * (1.0 - y * 0.02));
          next += chosen[k]->inputs.size();
        }
        return std::vector<Var<double>>{state};
      };
      Program<double> program = capture<double>(f, leaves<double>(values_of(1), true));
      const auto inputs = leaves<double>(values_of(2), true);
      const std::vector<Var<double>> expected = f(inputs);
      program.run(std::span(inputs));
      compare(program.output(0), expected[0].value(), 1e-12);
      expected[0].backward();
      program.run_backward(std::span(inputs));
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (inputs[i].has_gradient()) compare(program.gradient(i), inputs[i].gradient(), 1e-11);
    }
  }
}
