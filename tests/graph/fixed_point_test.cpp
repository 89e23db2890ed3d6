#include <tapestry/graph/fixed_point.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/unroll.hpp>

using namespace tapestry;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

const FixedPointMethod methods[] = {FixedPointMethod::plain, FixedPointMethod::damped, FixedPointMethod::anderson};
const AdjointMethod adjoints[] = {AdjointMethod::neumann, AdjointMethod::gmres, AdjointMethod::anderson};

// Mean-field equations of three coupled units: a contraction.
V relax(const V& z, const V& w, const V& b) {
  return tanh(matmul(w, z) + b);
}

const Tensor<double> weights = {{0.1, 0.4, -0.3}, {0.2, -0.2, 0.5}, {-0.4, 0.3, 0.2}};
const Tensor<double> biases = {0.3, -0.5, 0.8};

struct Pair {
  V u, v;
  void members(Members& m) { m("u", u)("v", v); }
};

}  // namespace

TEST_CASE("fixed_point: state and implicit gradient agree with an unrolled loop, by every method") {
  const V w(weights, true), b(biases, true);
  const auto step = [w, b](const V& z) { return relax(z, w, b); };
  const auto loop = unroll(step, V::zeros({3}), 200);
  const Vars expected = grad(sum(square(loop.state)), {w, b});
  for (const FixedPointMethod method : methods)
    for (const AdjointMethod adjoint : adjoints) {
      const auto found = fixed_point(step, V::zeros({3}),
                                     {.method = method, .tolerance = 1e-13, .max_iterations = 300, .adjoint = adjoint});
      CHECK(found.report.converged);
      CHECK(found.report.iterations == static_cast<std::int64_t>(found.report.residuals.size()));
      CHECK(found.report.residuals.back() <= 1e-13);
      const Vars g = grad(sum(square(found.state)), {w, b});
      CHECK(found.adjoint->converged);
      CHECK(found.adjoint->iterations > 0);
      for (int i = 0; i < 3; ++i) {
        CHECK(found.state.value()(i) == doctest::Approx(loop.state.value()(i)).epsilon(1e-12));
        CHECK(g[1].value()(i) == doctest::Approx(expected[1].value()(i)).epsilon(1e-11));
        for (int j = 0; j < 3; ++j)
          CHECK(g[0].value()(i, j) == doctest::Approx(expected[0].value()(i, j)).epsilon(1e-11));
      }
    }
}

TEST_CASE("fixed_point: derivatives to second order, captured computed variables included") {
  for (const AdjointMethod adjoint : adjoints) {
    const Function<double> f = [adjoint](const Vars& x) {
      const V w = x[0] * 0.9;
      const auto step = [w, b = x[1]](const V& z) { return relax(z, w, b); };
      const auto found =
          fixed_point(step, V::zeros({3}), {.tolerance = 1e-14, .max_iterations = 500, .adjoint = adjoint});
      return sum(found.state * found.state * x[1]);
    };
    CHECK_NOTHROW(check_gradients(f, {V(weights), V(biases)}, {.order = 2, .tolerance = 1e-6}));
  }
}

TEST_CASE("fixed_point: third order, against the analytic solution") {
  // z = a z + b, z = b / (1 - a): dz/da = b/(1-a)^2, 2b/(1-a)^3, 6b/(1-a)^4
  const V a = V::filled({}, 0.3, true), b = V::filled({}, 2.0, true);
  const auto step = [a, b](const V& z) { return a * z + b; };
  const V z = fixed_point(step, V(0.0), {.tolerance = 1e-15, .max_iterations = 200}).state;
  CHECK(z.item() == doctest::Approx(2 / 0.7).epsilon(1e-13));
  const V first = grad(z, {a}, {.create_graph = true})[0];
  CHECK(first.item() == doctest::Approx(2 / std::pow(0.7, 2)).epsilon(1e-13));
  const V second = grad(first, {a}, {.create_graph = true})[0];
  CHECK(second.item() == doctest::Approx(4 / std::pow(0.7, 3)).epsilon(1e-12));
  CHECK(grad(second, {a})[0].item() == doctest::Approx(12 / std::pow(0.7, 4)).epsilon(1e-12));
}

TEST_CASE("fixed_point: structured states, float, states that depend on nothing") {
  const V a = V::filled({2}, 0.4, true);
  const auto step = [a](const Pair& s) { return Pair{0.5 * s.v + a, 0.3 * s.u - a}; };
  const auto found = fixed_point(step, Pair{V::zeros({2}), V::zeros({2})});
  // u = v/2 + a, v = 0.3 u - a: u = a/2 / 0.85
  CHECK(found.state.u.value()(1) == doctest::Approx(0.2 / 0.85).epsilon(1e-9));
  CHECK(grad(sum(found.state.u), {a})[0].value()(0) == doctest::Approx(0.5 / 0.85).epsilon(1e-9));
  // A gradient for one part of the state only, and for none of it.
  CHECK(grad(sum(found.state.v * 0.0 + a), {a})[0].value()(0) == 1.0);

  // A part that no other reads, and one that reads none.
  const V b = V::filled({2}, 0.7, true);
  for (const AdjointMethod adjoint : adjoints) {
    const auto chain = fixed_point(
        [a, b](const Pair& s) {
          return Pair{0.5 * s.v + a, 2.0 * b};
        },
        Pair{V::zeros({2}), V::zeros({2})}, {.adjoint = adjoint});
    CHECK(chain.state.u.value()(0) == doctest::Approx(1.1).epsilon(1e-14));
    const Vars g = grad(sum(chain.state.u) + sum(chain.state.v), {a, b});
    CHECK(g[0].value()(1) == doctest::Approx(1).epsilon(1e-13));
    CHECK(g[1].value()(0) == doctest::Approx(3).epsilon(1e-13));
  }

  const Var<float> c = Var<float>::filled({}, 0.5F, true);
  const auto square_root = fixed_point([c](const Var<float>& z) { return 0.5F * (z + c / z); }, Var<float>(1.0F));
  CHECK(square_root.report.converged);
  CHECK(square_root.state.item() == doctest::Approx(std::sqrt(0.5)).epsilon(1e-6));
  CHECK(grad(square_root.state, {c})[0].item() == doctest::Approx(0.5 / std::sqrt(0.5)).epsilon(1e-4));

  const auto cosine = fixed_point([](const V& z) { return cos(z); }, V(1.0), {.tolerance = 1e-12});
  CHECK(cosine.state.item() == doctest::Approx(0.7390851332151607).epsilon(1e-11));
  CHECK(!cosine.state.requires_grad());
}

TEST_CASE("fixed_point: Anderson and damping reach what plain iteration does not") {
  // A rotation by 90 degrees and a shift: plain iteration circles for ever.
  const V shift = V(Tensor<double>{1.0, 0.5}, true);
  const auto step = [shift](const Vars& s) { return Vars{shift - s[1], s[0] * 1.0}; };
  const Vars start = {V::zeros({2}), V::zeros({2})};
  const auto circling = fixed_point(step, start, {.max_iterations = 50});
  CHECK(!circling.report.converged);
  CHECK(circling.report.iterations == 50);
  CHECK(circling.report.message.find("did NOT converge in 50 iterations") != std::string::npos);
  CHECK(circling.report.message.find("unroll() gives that") != std::string::npos);
  for (const FixedPointMethod method : {FixedPointMethod::damped, FixedPointMethod::anderson}) {
    const auto found = fixed_point(step, start, {.method = method, .max_iterations = 200});
    CHECK(found.report.converged);
    CHECK(found.state[0].value()(0) == doctest::Approx(0.5).epsilon(1e-8));
    CHECK(grad(sum(found.state[1]), {shift})[0].value()(0) == doctest::Approx(0.5).epsilon(1e-8));
    if (method == FixedPointMethod::anderson) CHECK(found.report.iterations < 8);
  }
  // The adjoint's Neumann series circles as well, and says so.
  const auto found =
      fixed_point(step, start, {.method = FixedPointMethod::anderson, .adjoint = AdjointMethod::neumann});
  CHECK(found.adjoint->iterations == 0);
  grad(sum(found.state[1]), {shift});
  CHECK(!found.adjoint->converged);
  CHECK(found.adjoint->message.find("only as good as the residual") != std::string::npos);
}

TEST_CASE("fixed_point: a limit on the adjoint's iterations truncates the series") {
  const V a = V::filled({}, 0.5, true);
  const auto step = [a](const V& z) { return a * z + 1.0; };
  const auto found = fixed_point(step, V(0.0), {.adjoint = AdjointMethod::neumann, .adjoint_max_iterations = 3});
  // dz/da = z (1 + a + a^2 + a^3 ...), z = 2
  CHECK(grad(found.state, {a})[0].item() == doctest::Approx(2 * 1.875).epsilon(1e-9));
}

TEST_CASE("fixed_point: an adjoint that does not converge says so, or is an error") {
  const V w(weights, true), b(biases, true);
  const auto step = [w, b](const V& z) { return relax(z, w, b); };
  for (const AdjointMethod adjoint : adjoints) {
    FixedPointOptions options{.max_iterations = 300, .adjoint = adjoint, .adjoint_max_iterations = 2};
    const auto found = fixed_point(step, V::zeros({3}), options);
    grad(sum(found.state), {w}, {.retain_graph = true});
    CHECK_FALSE(found.adjoint->converged);
    CHECK(found.adjoint->iterations == 2);
    CHECK(found.adjoint->residuals.back() > found.adjoint->tolerance);
    CHECK(found.adjoint->message.find("fixed_point: adjoint: did NOT converge in 2 iterations") == 0);
    options.require_convergence = true;
    const auto strict = fixed_point(step, V::zeros({3}), options);
    CHECK(strict.report.converged);
    CHECK_THROWS_AS(grad(sum(strict.state), {w}, {.retain_graph = true}), NumericalError);
    CHECK_THROWS_AS(grad(sum(strict.state), {w}, {.create_graph = true}), NumericalError);
  }
}

TEST_CASE("fixed_point: what does not converge can be an error; bad steps and options") {
  const V a = V::filled({}, 2.0, true);
  const auto growing = [a](const V& z) { return a * z + 1.0; };
  CHECK_THROWS_AS(fixed_point(growing, V(1.0), {.max_iterations = 5, .require_convergence = true}), NumericalError);
  const auto overflow = fixed_point([a](const V& z) { return exp(a * z); }, V(1.0));
  CHECK(!overflow.report.converged);
  CHECK(overflow.report.iterations < 10);
  CHECK_THROWS_AS(fixed_point([](const V& z) { return sum(z); }, V::zeros({2})), ShapeError);
  CHECK_THROWS_AS(fixed_point([](const V& z) { return z; }, V()), GraphError);
  CHECK_THROWS_AS(fixed_point(growing, V(1.0), {.max_iterations = 0}), Error);
  CHECK_THROWS_AS(fixed_point(growing, V(1.0), {.damping = 1.0}), Error);
  // Parameters that changed before backward are noticed.
  V w = V::filled({}, 0.5, true);
  const auto found = fixed_point([w](const V& z) { return w * z + 1.0; }, V(0.0));
  w.assign(Tensor<double>(0.25));
  CHECK_THROWS_AS(grad(found.state, {w}), GraphError);
}

TEST_CASE("fixed_point: memory does not grow with the iterations") {
  const std::int64_t n = 20000;
  const V w = V::filled({}, 0.95, true);
  const auto step = [w](const V& z) { return tanh(w * z) + 0.1; };
  reset_peak_memory();
  const auto before = memory_statistics().in_use;
  const auto found = fixed_point(step, V::zeros({n}), {.tolerance = 1e-12, .max_iterations = 500});
  CHECK(found.report.iterations > 20);
  grad(sum(found.state), {w});
  CHECK(memory_statistics().peak - before < 40 * n * 8);
}
