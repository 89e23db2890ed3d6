#include <algorithm>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/derivatives.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/pooling.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/sorting.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/program/description.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/state.hpp>

using namespace tapestry;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

V normal(const Shape& shape, std::uint64_t seed) {
  return V(Generator(seed).normal<double>(shape), true);
}

Program<double> loaded(std::string bytes) {
  auto state = std::make_unique<Program<double>::State>();
  state->build(detail::read_description(std::move(bytes), detail::DType::float64, 1 << 20));
  return Program<double>(std::move(state));
}

/// The program and what it is loaded as, against the tape, on inputs other than those of the capture.
void check_captured(const MultiFunction<double>& f, const std::vector<Shape>& shapes) {
  Vars examples, x;
  for (const Shape& shape : shapes) {
    examples.push_back(normal(shape, 10 + examples.size()));
    x.push_back(normal(shape, 20 + x.size()));
  }
  Program<double> program = capture<double>(f, examples);
  Program<double> other = loaded(detail::describe(program.state().source));
  const V expected = f(x)[0];
  expected.backward();
  for (Program<double>* side : {&program, &other}) {
    side->run_backward(std::span<const V>(x));
    CHECK(side->output()() == doctest::Approx(expected.item()).epsilon(1e-12));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Tensor<double> right = x[i].gradient();
      for (std::size_t k = 0; k < right.size(); ++k)
        CHECK(side->gradient(i).data()[k] == doctest::Approx(right.data()[k]).epsilon(1e-12));
    }
  }
}

/// y = x + z, whose gradient for z is left out or a number.
class HalfGradient final : public Operation<double> {
 public:
  explicit HalfGradient(const bool* leaves_out) : leaves_out_(leaves_out) {}
  std::string_view name() const override { return "half_gradient"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  void forward(Forward<double>& c) override {
    for (std::int64_t i = 0; i < c.output().size(); ++i) c.output()[i] = c.input(0)[i] + c.input(1)[i];
  }
  void backward(Backward<double>& c) override {
    if (c.wants(0)) c.pass(0);
    if (!c.wants(1) || *leaves_out_) return;
    const Target<double> to = c.target(1);
    for (std::int64_t i = 0; i < to.size(); ++i) to.data[i] = to.accumulate ? to.data[i] + 7 : 7;
  }

 private:
  const bool* leaves_out_;
};

}  // namespace

TEST_CASE("program: a gradient that an operation leaves out is zero, whatever its memory held") {
  bool leaves_out = false;
  const auto f = [&](const V& x, const V& z) { return sum(record(std::make_unique<HalfGradient>(&leaves_out), x, z)); };
  const V x = normal({3}, 1), z = normal({3}, 2);
  Program<double> program = capture(f, x, z);
  program.run_backward(x, z);
  CHECK(program.gradient(1) == Tensor<double>{7.0, 7.0, 7.0});
  leaves_out = true;
  program.run_backward(x, z);
  CHECK(program.gradient(0) == Tensor<double>{1.0, 1.0, 1.0});
  CHECK(program.gradient(1) == Tensor<double>{0.0, 0.0, 0.0});
}

TEST_CASE("program: gradients of operands that broadcast along any axes are summed to their shapes") {
  for (const Shape& shape :
       {Shape{4}, Shape{3, 1}, Shape{2, 1, 4}, Shape{1}, Shape{}, Shape{2, 1, 1}, Shape{1, 3, 4}}) {
    CAPTURE(shape);
    check_captured([](const Vars& x) { return Vars{sum(exp(x[0] * x[1]) - square(x[1] - x[0]))}; }, {{2, 3, 4}, shape});
    check_captured([](const Vars& x) { return Vars{sum(square(sum_to(exp(x[0]), x[1].shape()) * x[1]))}; },
                   {{2, 3, 4}, shape});
  }
}

TEST_CASE("program: a step is kept that only the places it finds are read of") {
  // Of the maximum itself nothing is read: its gradient is 1 at the places.
  check_captured(
      [](const Vars& x) {
        const V g = grad(sum(max_pool2d(x[0], 2)), {x[0]}, {.create_graph = true})[0];
        return Vars{sum(g * square(x[0]))};
      },
      {{2, 4, 4}});
  check_captured(
      [](const Vars& x) {
        const V ordered = sort(x[0], 0);
        const V g = grad(sum(ordered * x[1]), {x[0]}, {.create_graph = true})[0];
        return Vars{sum(g * x[0])};
      },
      {{5}, {5}});
}

TEST_CASE("program: what labels choose of a constant is not a constant") {
  Indices rows{0, 1};
  const auto f = [&](const V& x) { return sum(take(V(Generator(1).normal<double>({4, 2})), rows, 0) * x); };
  const V x = normal({2, 2}, 2);
  Program<double> program = capture(f, x);
  rows.assign(IndexTensor{3, 2});
  program.run(x);
  CHECK(program.output()() == f(x).item());
}

TEST_CASE("program file: steps that are read before they are computed, or computed twice, are refused") {
  const V x = normal({3}, 1);
  const Program<double> program = capture([](const V& v) { return sum(exp(sum(exp(v), {0}, true) * v)); }, x);
  const detail::ProgramGraph good = program.state().source;
  REQUIRE(good.steps.size() >= 4);
  CHECK_NOTHROW(loaded(detail::describe(good)));
  for (std::size_t s = 0; s + 1 < good.steps.size(); ++s) {
    detail::ProgramGraph bad = good;
    std::swap(bad.steps[s], bad.steps[s + 1]);
    CHECK_THROWS_WITH_AS(loaded(detail::describe(bad)), doctest::Contains("contradicts itself"), IoError);
    bad = good;
    bad.steps.push_back(bad.steps[s]);
    CHECK_THROWS_WITH_AS(loaded(detail::describe(bad)), doctest::Contains("contradicts itself"), IoError);
  }
}

TEST_CASE("program file: a value that takes more than is allowed is refused") {
  const Program<double> program = capture(
      [](const V& v) {
        return sum(broadcast_to(v, {100, 3}) * 2.0);
      },
      normal({3}, 1));
  const std::string bytes = detail::describe(program.state().source);
  CHECK_NOTHROW(detail::read_description(bytes, detail::DType::float64, 2400));
  CHECK_THROWS_WITH_AS(detail::read_description(bytes, detail::DType::float64, 2399),
                       doctest::Contains("takes 2400 bytes, more than the 2399 that are allowed"), IoError);
}
