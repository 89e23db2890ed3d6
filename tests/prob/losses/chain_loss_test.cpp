#include <doctest/doctest.h>

#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/losses/structured_loss.hpp>

#include "prob/small_graphs.hpp"

using namespace tapestry;
using testing_models::index_tensor;
using testing_models::normal_variables;

namespace {

constexpr std::int64_t B = 3, N = 4, K = 3;
const Indices lengths{4, 1, 3};

ChainPotentials<double> chain_of(const std::vector<Var<double>>& x) {
  return {x[0], x[1], lengths, x[2], x[3]};
}
std::vector<Var<double>> potentials_of(const Shape& transitions) {
  return normal_variables({{B, N, K}, transitions, {K}, {K}});
}

/// One of the sequences alone, as a factor graph.
FactorGraph<double> graph_of(const std::vector<Var<double>>& x, std::int64_t b) {
  FactorGraph<double> graph;
  const std::int64_t n = lengths[b];
  const auto v = graph.add_variables("steps", {n}, K);
  graph.add_unary("unary", v, slice(select(x[0], 0, b), 0, {0, n}));
  if (n > 1) {
    const Var<double> own = x[1].rank() == 4 ? select(x[1], 0, b) : x[1];
    graph.add_factors("transitions", chain_edges(graph.ids(v)), own.rank() == 3 ? slice(own, 0, {0, n - 1}) : own);
  }
  graph.add_factors("start", index_tensor({1, 1}, {0}), x[2]);
  graph.add_factors("end", index_tensor({1, 1}, {n - 1}), x[3]);
  return graph;
}

const std::vector<std::int64_t> labels = {0, 2, 1, 1, 2, 99, 99, 99, 1, 1, 0, 99};

}  // namespace

TEST_CASE("losses of padded chains are those of each sequence's factor graph, and so are their gradients") {
  for (const Shape& transitions : {Shape{K, K}, Shape{N - 1, K, K}, Shape{B, N - 1, K, K}})
    for (int kind = 0; kind <= static_cast<int>(LossKind::perceptron); ++kind) {
      CAPTURE(transitions.rank());
      CAPTURE(kind);
      const StructuredLoss loss{static_cast<LossKind>(kind), 0.8};
      const auto x = potentials_of(transitions), alone = potentials_of(transitions);
      const auto got = structured_loss(chain_of(x), Indices(index_tensor({B, N}, labels)), loss);
      REQUIRE(got.shape() == Shape{B});
      sum(got).backward();
      for (std::int64_t b = 0; b < B; ++b) {
        const auto own = labels.begin() + b * N;
        const auto expected =
            structured_loss(graph_of(alone, b), Indices(index_tensor({lengths[b]}, {own, own + lengths[b]})), loss);
        CHECK(got.data()[b] == doctest::Approx(expected.item()).epsilon(1e-10));
        if (expected.requires_grad()) expected.backward();
      }
      for (std::size_t i = 0; i < x.size(); ++i)
        for (std::int64_t e = 0; e < x[i].size() && alone[i].has_gradient(); ++e)
          CHECK(std::abs(x[i].gradient().data()[e] - alone[i].gradient().data()[e]) < 1e-8);
      CHECK_NOTHROW(check_gradients(
          [&](const auto& p) {
            return sum(structured_loss(chain_of(p), Indices(index_tensor({B, N}, labels)), loss));
          },
          potentials_of(transitions), {.directions = 1, .forward_mode = false}));
    }
}

TEST_CASE("losses of chains: an empty sequence has none") {
  const auto x = normal_variables({{2, 3, K}, {K, K}, {K}, {K}});
  const ChainPotentials<double> chain{x[0], x[1], Indices{3, 0}, x[2], x[3]};
  for (int kind = 0; kind <= static_cast<int>(LossKind::perceptron); ++kind) {
    CAPTURE(kind);
    const auto loss =
        structured_loss(chain, Indices(index_tensor({2, 3}, {0, 1, 2, 9, 9, 9})), {static_cast<LossKind>(kind)});
    CHECK(loss.data()[0] > 0);
    CHECK(loss.data()[1] == 0);
  }
}

TEST_CASE("losses of chains: what they are not given") {
  const auto x = potentials_of({K, K});
  CHECK_THROWS_AS(structured_loss(chain_of(x), Indices(index_tensor({B, 3}, {0, 0, 0, 0, 0, 0, 0, 0, 0}))), ShapeError);
  auto wrong = labels;
  wrong[1] = K;
  CHECK_THROWS_AS(structured_loss(chain_of(x), Indices(index_tensor({B, N}, wrong))), IndexError);
  auto forbidden = x;
  forbidden[1].mutable_data()[0 * K + 2] = -std::numeric_limits<double>::infinity();
  for (const LossKind kind : {LossKind::likelihood, LossKind::piecewise, LossKind::max_margin})
    CHECK_THROWS_AS(structured_loss(chain_of(forbidden), Indices(index_tensor({B, N}, labels)), {kind}),
                    NumericalError);
}
