#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/prob/dense/dense_mean_field.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/mean_field.hpp>

#include "prob/normal_numbers.hpp"

using namespace tapestry;
using testing_models::normal_numbers;

namespace {

Var<double> identity() {
  Tensor<double> out = empty_tensor<double>({3, 3});
  for (int i = 0; i < 9; ++i) out.data()[i] = i % 4 == 0;
  return Var<double>(std::move(out));
}

}  // namespace

TEST_CASE("dense mean field equals parallel mean field on the complete graph") {
  const auto positions = normal_numbers({6, 2}, 1), colors = normal_numbers({6, 3}, 2);
  const std::vector<GaussianFilter<double>> filters = {GaussianFilter<double>(positions),
                                                       GaussianFilter<double>(colors)};
  const Var<double> unary(normal_numbers({6, 3}, 3));
  Tensor<double> weights = {.5, .8};
  const auto compatibility = identity();
  FactorGraph<double> graph;
  const auto points = graph.add_variables("points", {6}, 3);
  graph.add_unary("unary", points, unary);
  const auto edges = complete_edges(graph.ids(points));
  Tensor<double> weight = empty_tensor<double>({15});
  const auto kernel = [](const Tensor<double>& f, std::size_t i, std::size_t j) {
    double square = 0;
    for (std::size_t k = 0; k < f.shape()[1]; ++k) square += (f(i, k) - f(j, k)) * (f(i, k) - f(j, k));
    return std::exp(-square / 2);
  };
  for (std::size_t e = 0; e < 15; ++e) {
    const auto i = static_cast<std::size_t>(edges(e, 0)), j = static_cast<std::size_t>(edges(e, 1));
    weight(e) = .5 * kernel(positions, i, j) + .8 * kernel(colors, i, j);
  }
  graph.add_potts("pairs", edges, Var<double>(std::move(weight)));
  for (const double damping : {0., .3}) {
    const auto dense = dense_mean_field(unary, filters, Var<double>(weights), compatibility,
                                        {.iterations = 200, .damping = damping, .tolerance = 1e-13});
    const auto general = infer(
        graph,
        MeanField{.iterations = 200, .tolerance = 1e-13, .update = MeanFieldUpdate::parallel, .damping = damping});
    CHECK(dense.converged);
    CHECK(dense.kind == BoundKind::lower_bound);
    CHECK(dense.log_partition.item() == doctest::Approx(general.log_partition.item()).epsilon(1e-10));
    CHECK(dense.log_partition.item() < infer(graph, JunctionTree{}).log_partition.item());
    for (std::int64_t i = 0; i < 18; ++i)
      CHECK(std::abs(dense.marginals.data()[i] - general.variables[0].data()[i]) < 1e-10);
  }
}

TEST_CASE("a dense field unrolled is a recurrent network: gradients of all that is learned") {
  const auto positions = normal_numbers({12, 2}, 4), colors = normal_numbers({12, 5}, 5);
  for (const FilterMethod method : {FilterMethod::exact, FilterMethod::lattice}) {
    const std::vector<GaussianFilter<double>> filters = {
        GaussianFilter<double>(positions, {.method = method}),
        GaussianFilter<double>(colors, {.method = method, .normalize = true})};
    for (const LoopGradient gradient : {LoopGradient::full, LoopGradient::checkpointed})
      for (const bool by_state : {false, true})
        check_gradients(
            [&](const std::vector<Var<double>>& in) {
              const auto field = dense_mean_field(in[0], filters, in[1], in[2],
                                                  {.iterations = 3, .damping = .2, .gradient = gradient});
              return sum(field.marginals * in[0]) + field.log_partition;
            },
            {Var<double>(normal_numbers({12, 3}, 6), true),
             Var<double>(normal_numbers(by_state ? Shape{2, 3} : Shape{2}, 7), true),
             Var<double>(normal_numbers({3, 3}, 8), true)},
            {.order = gradient == LoopGradient::full ? 2 : 1});
  }
}

TEST_CASE("dense fields: impossible states, no filters, what is refused") {
  const std::vector<GaussianFilter<double>> filters = {GaussianFilter<double>(normal_numbers({4, 2}, 9))};
  auto potentials = normal_numbers({4, 3}, 10);
  potentials(0, 1) = -std::numeric_limits<double>::infinity();
  const Var<double> unary(potentials, true);
  const auto field = dense_mean_field(unary, filters, Var<double>::ones({1}), identity());
  CHECK(field.marginals.value()(0, 1) == 0);
  CHECK(std::isfinite(field.log_partition.item()));
  field.log_partition.backward();
  for (const double g : unary.gradient()) CHECK(std::isfinite(g));
  const auto alone = dense_mean_field(unary, {}, Var<double>::zeros({0}), identity());
  double expected = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    double total = 0;
    for (std::size_t k = 0; k < 3; ++k) total += std::exp(potentials(i, k));
    expected += std::log(total);
  }
  CHECK(alone.log_partition.item() == doctest::Approx(expected).epsilon(1e-13));
  CHECK_THROWS_AS(dense_mean_field(Var<double>::zeros({5, 3}), filters, Var<double>::ones({1}), identity()),
                  ShapeError);
  CHECK_THROWS_AS(dense_mean_field(unary, filters, Var<double>::ones({2}), identity()), ShapeError);
  CHECK_THROWS_AS(dense_mean_field(unary, filters, Var<double>::ones({1}), Var<double>::ones({2, 2})), ShapeError);
  CHECK_THROWS_AS(dense_mean_field(unary, filters, Var<double>::ones({1}), identity(), {.damping = 1}), Error);
}

TEST_CASE("dense fields: two damped iterations with a compatibility that is not symmetric, by plain loops") {
  const auto positions = normal_numbers({4, 1}, 5), unary = normal_numbers({4, 2}, 6);
  const double table[2][2] = {{.4, 1.3}, {-.6, .2}}, damping = .3;  // row: own state
  Tensor<double> compatibility = empty_tensor<double>({2, 2}), weights = {.7};
  for (std::size_t k = 0; k < 4; ++k) compatibility.data()[k] = table[k / 2][k % 2];
  double q[4][2], next[4][2];
  for (int iteration = 0; iteration < 3; ++iteration) {
    for (std::size_t i = 0; i < 4; ++i) {
      double p[2];
      for (std::size_t k = 0; k < 2; ++k) {
        p[k] = unary(i, k);
        for (std::size_t j = 0; j < 4 && iteration > 0; ++j)
          for (std::size_t l = 0; l < 2 && j != i; ++l)
            p[k] += .7 * std::exp(-std::pow(positions(i, 0) - positions(j, 0), 2) / 2) * table[k][l] * q[j][l];
      }
      const double first = 1 / (1 + std::exp(p[1] - p[0]));
      next[i][0] = iteration == 0 ? first : (1 - damping) * first + damping * q[i][0];
      next[i][1] = 1 - next[i][0];
    }
    std::copy(&next[0][0], &next[0][0] + 8, &q[0][0]);
  }
  const auto found =
      dense_mean_field(Var<double>(unary), {GaussianFilter<double>(positions)}, Var<double>(std::move(weights)),
                       Var<double>(std::move(compatibility)), {.iterations = 2, .damping = damping});
  for (std::size_t i = 0; i < 8; ++i) CHECK(std::abs(found.marginals.data()[i] - q[i / 2][i % 2]) < 1e-12);
}
