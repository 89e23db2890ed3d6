#include <tapestry/models/crf/graph_crf.hpp>

#include <doctest/doctest.h>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/crf/chain_crf.hpp>
#include <tapestry/models/layers/linear.hpp>
#include <tapestry/prob/graph_builders.hpp>

using namespace tapestry;

namespace {

/// A chain, as a graph.
struct Chain {
  Linear<double> unary;
  Var<double> transitions;
  FactorGraph<double> graph(const Var<double>& x) const {
    FactorGraph<double> graph;
    const auto items = graph.add_variables("items", {x.extent(1)}, 3);
    graph.add_unary("unary", items, unary.forward(x));
    graph.add_factors("transitions", chain_edges(graph.ids(items)), transitions);
    return graph;
  }
  void members(Members& m) { m("unary", unary)("transitions", transitions); }
};

/// A method of one's own that says nothing.
struct Silent {
  static constexpr const char* name = "silence";
};
template <class T>
InferenceResult<T> infer(const FactorGraph<T>&, const Silent&) {
  return {};
}

}  // namespace

TEST_CASE("GraphCrf: a chain as a graph is a chain") {
  Generator random(1);
  const Linear<double> unary(4, 3, random);
  ChainCrf<double, Linear<double>> chain(unary, 3);
  chain.chain.transitions = variable(random.normal<double>({3, 3}));
  GraphCrf<double, Chain> graph(Chain{unary, chain.chain.transitions});
  CHECK(parameters<double>(graph).size() == 3);
  const Var<double> x(random.normal<double>({2, 5, 4}));
  const Indices labels(random.integers({2, 5}, 3));
  for (const LossKind kind : {LossKind::likelihood, LossKind::univariate_log, LossKind::perceptron}) {
    chain.structured = graph.structured = {kind};
    double sum = 0;
    const Var<double> loss = graph.loss(x, labels);
    for (std::int64_t b = 0; b < 2; ++b) sum += loss.data()[b];
    CHECK(chain.loss(x, labels).item() == doctest::Approx(sum / 10).epsilon(1e-10));
  }
  CHECK(graph.decode(x) == chain.decode(x));
  const auto marginals = chain_marginals(chain.potentials(x)).unary;
  const auto result = graph.infer(x);
  for (std::int64_t i = 0; i < marginals.size(); ++i)
    CHECK(result.variables[0].data()[i] == doctest::Approx(marginals.data()[i]).epsilon(1e-10));
  graph.method = Silent{};
  CHECK_THROWS_WITH_AS(graph.decode(x), doctest::Contains("silence gives no assignment"), GraphError);
}
