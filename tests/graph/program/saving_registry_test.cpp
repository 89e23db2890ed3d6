#include <string>

#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/program/description.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/state.hpp>

#include "autodiff/registry_examples.hpp"
#include "fuzz/program_properties.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

template <class T>
std::vector<Var<T>> leaves(const RegisteredOperation& op, std::uint64_t seed) {
  std::vector<Var<T>> out;
  for (const Tensor<double>& value : examples(op, seed))
    out.emplace_back(Tensor<T>(xt::cast<T>(value)), op.differentiable);
  return out;
}

template <class T>
const Function<T>& applied(const RegisteredOperation& op) {
  if constexpr (std::is_same_v<T, float>)
    return op.apply_float;
  else
    return op.apply;
}

template <class T>
std::string saved(const Program<T>& program) {
  return detail::describe(program.state().source);
}

template <class T>
Program<T> loaded(std::string bytes, std::size_t most_bytes = 1 << 20) {
  auto state = std::make_unique<typename Program<T>::State>();
  state->build(detail::read_description(std::move(bytes), detail::dtype_of<T>, most_bytes));
  return Program<T>(std::move(state));
}

/// A weighted sum of the results, the results, and with `inner` the sum's gradients, of which the program can be
/// differentiated too.
template <class T>
std::vector<Var<T>> results(const RegisteredOperation& op, const std::vector<Var<T>>& x, bool inner) {
  const Var<T> y = applied<T>(op)(x);
  Tensor<T> weights = empty_tensor<T>(y.shape());
  for (std::size_t i = 0; i < weights.size(); ++i) weights.data()[i] = static_cast<T>((i * 7 % 11) / 5.0 - 1);
  std::vector<Var<T>> out{sum(y * Var<T>(std::move(weights))), y};
  if (!inner) return out;
  Var<T> total = out[0];
  for (const Var<T>& g : grad(out[0], x, {.create_graph = true})) {
    out.push_back(g);
    total = total + sum(g * g);
  }
  out[0] = total;
  return out;
}

template <class T>
void check_same(Program<T>& a, Program<T>& b, const std::vector<Var<T>>& x) {
  a.run(std::span(x));
  b.run(std::span(x));
  REQUIRE(a.outputs() == b.outputs());
  const auto same = [](const auto& left, const auto& right) {
    REQUIRE(left.size() == right.size());
    CHECK(std::equal(left.begin(), left.end(), right.begin()));
  };
  for (std::size_t k = 0; k < a.outputs(); ++k) same(a.output(k), b.output(k));
  bool differentiable = true;
  try {
    a.run_backward(std::span(x));
  } catch (const GraphError&) {
    differentiable = false;
  }
  if (!differentiable) {
    CHECK_THROWS_AS(b.run_backward(std::span(x)), GraphError);
    return;
  }
  b.run_backward(std::span(x));
  for (std::size_t k = 0; k < a.outputs(); ++k) same(a.output(k), b.output(k));
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i].requires_grad()) same(a.gradient(i), b.gradient(i));
}

template <class T>
void check_entry(const RegisteredOperation& op, bool inner, std::string& refused) {
  CAPTURE(op.name);
  CAPTURE(inner);
  Program<T> program;
  try {
    program = capture<T>([&](const std::vector<Var<T>>& x) { return results(op, x, inner); }, leaves<T>(op, 1));
  } catch (const GraphError&) {
    refused += op.name + ' ';
    return;
  }
  Program<T> second = loaded<T>(saved(program));
  check_same(program, second, leaves<T>(op, 2));
  // What was loaded is whole: it can be saved again.
  Program<T> third = loaded<T>(saved(second));
  check_same(second, third, leaves<T>(op, 3));
}

}  // namespace

TEST_CASE("program file: every registered operation gives the same bits after saving and loading") {
  std::string refused, refused_in_float, refused_inner;
  for (const RegisteredOperation& op : registry().operations()) {
    check_entry<double>(op, false, refused);
    check_entry<float>(op, false, refused_in_float);
    if (op.differentiable) check_entry<double>(op, true, refused_inner);
  }
  // What the capture refuses gives indices, which are no variables.
  CHECK(refused == "argmax argmin argsort ");
  CHECK(refused_in_float == refused);
  CHECK(refused_inner == "");
}

TEST_CASE("program file: damage in any operation is refused, or gives a program that can run") {
  Generator random(5);
  int refused = 0, ran = 0;
  const auto attempt = [&](const std::string& bytes) {
    if (fuzz::check_program(bytes) == fuzz::ProgramOutcome::ran)
      ++ran;
    else
      ++refused;
  };
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.differentiable) continue;
    CAPTURE(op.name);
    const std::string good = saved(capture<double>(
        [&](const std::vector<Var<double>>& x) { return results(op, x, true); }, leaves<double>(op, 1)));
    const auto size = static_cast<std::int64_t>(good.size());
    CHECK_THROWS_AS(loaded<double>(good.substr(0, static_cast<std::size_t>(random.integer(size)))), IoError);
    for (int i = 0; i < 12; ++i) {
      std::string bad = good;
      bad[static_cast<std::size_t>(random.integer(size))] ^= static_cast<char>(1 << random.integer(8));
      attempt(bad);
    }
  }
  CHECK(refused > 200);
  CHECK(ran > 200);
}
