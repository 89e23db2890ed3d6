#include <doctest/doctest.h>

#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>

#include "enumerated_losses.hpp"

using namespace tapestry;
using namespace testing_losses;

namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// g of convex losses: f(x + d) >= f(x) + <g, d> for every d.
template <class F>
void check_subgradient(F f, const Potentials& x) {
  const Var<double> loss = f(x);
  loss.backward();
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Potentials moved;
    double expected = loss.item();
    for (std::size_t i = 0; i < x.size(); ++i) {
      Tensor<double> d = testing_models::normal_numbers(x[i].shape(), 1000 + 10 * seed + i, seed % 2 == 0 ? 1 : 1e-3);
      for (std::int64_t e = 0; e < x[i].size(); ++e) {
        if (x[i].has_gradient()) expected += x[i].gradient().data()[e] * d.data()[e];
        d.data()[e] += x[i].data()[e];
      }
      moved.emplace_back(std::move(d), true);
    }
    CHECK(f(moved).item() >= expected - 1e-12);
  }
}

Potentials constants(std::initializer_list<Shape> shapes) {
  Potentials out;
  for (const auto& shape : shapes) out.emplace_back(Tensor<double>(Var<double>::filled(shape, 0.25).value()), true);
  return out;
}

}  // namespace

TEST_CASE(
    "losses: where many assignments are best, decoding's gradient is still a subgradient, and the value that of all") {
  const Indices labels(index_tensor({6}, labels_a));
  for (const LossKind kind : {LossKind::max_margin, LossKind::perceptron}) {
    CAPTURE(static_cast<int>(kind));
    // All assignments tie; and two of them do, the labels not among them.
    auto two = mixed_potentials(false);
    for (double& value : two[0].mutable_value()) value = 0;
    for (auto x : {constants({{3, 3}, {3, 3}, {1, 3, 2, 2}, {4}, {1, 2}}), two}) {
      const auto loss = [&](const Potentials& p) { return structured_loss(mixed_graph(p), labels, {kind, 0.7}); };
      CHECK(loss(x).item() == doctest::Approx(enumerated(mixed_graph(x), labels_a, kind, 0, 0.7)).epsilon(1e-12));
      check_subgradient(loss, x);
    }
    const auto chain = [&](const Potentials& p) {
      return sum(
          structured_loss(ChainPotentials<double>{p[0], p[1]}, Indices(index_tensor({1, 3}, {0, 2, 1})), {kind, 0.7}));
    };
    const auto flat = constants({{1, 3, 3}, {3, 3}});
    CHECK(chain(flat).item() == doctest::Approx(kind == LossKind::max_margin ? 3 * 0.7 : 0).epsilon(1e-12));
    check_subgradient(chain, flat);
  }
}

TEST_CASE("losses: potentials of -inf leave every loss and its gradient finite, and what enumeration gives") {
  auto x = mixed_potentials(false);
  x[0].mutable_value()(1, 2) = minus_infinity;
  x[1].mutable_value()(1, 1) = minus_infinity;
  x[2].mutable_value()(0, 0, 1, 1) = minus_infinity;
  x[3].mutable_value()(0) = minus_infinity;
  const Indices labels(index_tensor({6}, labels_a));
  for (const LossKind kind : all_kinds) {
    CAPTURE(static_cast<int>(kind));
    for (auto& v : x) v.zero_gradient();
    const auto loss = structured_loss(mixed_graph(x), labels, {kind, 0.7});
    CHECK(loss.item() == doctest::Approx(enumerated(mixed_graph(x), labels_a, kind, 0, 0.7)).epsilon(1e-10));
    REQUIRE(loss.requires_grad());
    loss.backward();
    for (const auto& v : x)
      for (std::int64_t e = 0; e < v.size() && v.has_gradient(); ++e) {
        CHECK(std::isfinite(v.gradient().data()[e]));
        if (v.data()[e] == minus_infinity) CHECK(v.gradient().data()[e] == 0);
      }
  }
}

TEST_CASE("losses: gradients of marginal losses with hidden labels, and of a batch with others hidden in each") {
  States a = labels_a, b = labels_b;
  a[0] = a[4] = b[3] = -1;
  States both = a;
  both.insert(both.end(), b.begin(), b.end());
  const Indices labels(index_tensor({2, 6}, both));
  for (const LossKind kind :
       {LossKind::univariate_log, LossKind::univariate_quadratic, LossKind::clique_log, LossKind::clique_quadratic}) {
    CAPTURE(static_cast<int>(kind));
    const auto x = mixed_potentials(true);
    const auto loss = structured_loss(mixed_graph(x), labels, {kind});
    CHECK(loss.data()[0] == doctest::Approx(enumerated(mixed_graph(x), a, kind, 0)).epsilon(1e-10));
    CHECK(loss.data()[1] == doctest::Approx(enumerated(mixed_graph(x), b, kind, 1)).epsilon(1e-10));
    CHECK_NOTHROW(check_gradients([&](const auto& p) { return sum(structured_loss(mixed_graph(p), labels, {kind})); },
                                  x, {.forward_mode = false}));
  }
}

TEST_CASE("losses of chains: hidden labels are left out, with the steps that they belong to") {
  const auto x = normal_variables({{2, 4, 3}, {3, 3}, {3}, {3}});
  const States rows[] = {{0, -1, 2, 1}, {-1, 1, 1, 0}};
  States both = rows[0];
  both.insert(both.end(), rows[1].begin(), rows[1].end());
  for (const LossKind kind :
       {LossKind::univariate_log, LossKind::univariate_quadratic, LossKind::clique_log, LossKind::clique_quadratic}) {
    CAPTURE(static_cast<int>(kind));
    const auto loss = [&](const Potentials& p) {
      return structured_loss(ChainPotentials<double>{p[0], p[1], std::nullopt, p[2], p[3]},
                             Indices(index_tensor({2, 4}, both)), {kind});
    };
    FactorGraph<double> graph;
    const auto steps = graph.add_variables("steps", {4}, 3);
    graph.add_unary("unary", steps, x[0]);
    graph.add_factors("transitions", chain_edges(graph.ids(steps)), x[1]);
    graph.add_factors("start", index_tensor({1, 1}, {0}), x[2]);
    graph.add_factors("end", index_tensor({1, 1}, {3}), x[3]);
    for (std::int64_t r = 0; r < 2; ++r)
      CHECK(loss(x).data()[r] ==
            doctest::Approx(enumerated(graph, rows[static_cast<std::size_t>(r)], kind, r)).epsilon(1e-10));
    CHECK_NOTHROW(check_gradients([&](const auto& p) { return sum(loss(p)); }, x, {.forward_mode = false}));
  }
}

TEST_CASE("losses: every kind in float") {
  const auto x = mixed_potentials(false);
  FactorGraph<float> graph;
  const auto a = graph.add_variables("a", {3}, 3);
  graph.add_variables("b", {3}, 2);
  const auto narrow = [](const Var<double>& v) {
    Tensor<float> out = empty_tensor<float>(v.shape());
    std::transform(v.data(), v.data() + v.size(), out.data(), [](double one) { return static_cast<float>(one); });
    return Var<float>(std::move(out), true);
  };
  graph.add_unary("unary", a, narrow(x[0]));
  graph.add_factors("pairs", complete_edges(graph.ids(a)), narrow(x[1]));
  graph.add_factors("triple", index_tensor({1, 3}, {2, 3, 4}), narrow(x[2]));
  const Indices labels(index_tensor({6}, labels_a));
  for (const LossKind kind : all_kinds) {
    CAPTURE(static_cast<int>(kind));
    CHECK(structured_loss(graph, labels, {kind, 0.7}).item() ==
          doctest::Approx(structured_loss(mixed_graph(x, false), labels, {kind, 0.7}).item()).epsilon(1e-5));
  }
}
