#include <tapestry/models/crf/grid_crf.hpp>

#include <cmath>
#include <functional>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/layers/convolution.hpp>
#include <tapestry/models/training/optimizer.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>

using namespace tapestry;

namespace {

constexpr std::int64_t batch = 2, height = 2, width = 3, states = 2;

GridPotentials<double> random_potentials(bool shared, std::uint64_t seed = 1) {
  Generator g(seed);
  const auto x = [&](const Shape& shape) { return variable(g.normal<double>(shape)); };
  return {x({batch, height, width, states}), x(shared ? Shape{states, states} : Shape{batch, 2, 2, states, states}),
          x(shared ? Shape{states, states} : Shape{batch, 1, 3, states, states})};
}

/// The score of a labelling of one grid, from its definition.
double score_of(const GridPotentials<double>& p, std::int64_t b, const std::vector<std::int64_t>& y) {
  double total = 0;
  for (std::int64_t i = 0; i < height; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const std::int64_t here = y[static_cast<std::size_t>(i * width + j)];
      total += p.unary.data()[((b * height + i) * width + j) * states + here];
      const auto pair = [&](const Var<double>& table, std::int64_t edge, std::int64_t there) {
        return table.data()[(table.rank() == 2 ? 0 : edge) * states * states + here * states + there];
      };
      if (j + 1 < width)
        total += pair(p.horizontal, (b * height + i) * (width - 1) + j, y[static_cast<std::size_t>(i * width + j + 1)]);
      if (i + 1 < height)
        total += pair(p.vertical, (b * (height - 1) + i) * width + j, y[static_cast<std::size_t>((i + 1) * width + j)]);
    }
  return total;
}

void each_labelling(const std::function<void(const std::vector<std::int64_t>&)>& f) {
  for (int code = 0; code < 64; ++code) {
    std::vector<std::int64_t> y;
    for (int i = 0; i < 6; ++i) y.push_back(code >> i & 1);
    f(y);
  }
}

const Indices labels(IndexTensor{{{0, 1, 1}, {1, 0, 1}}, {{1, 1, 0}, {0, 0, 1}}});

struct Pointwise {
  Conv2d<double> layer;
  Var<double> forward(const Var<double>& x) const { return layer.forward(x); }
  void members(Members& m) { m("layer", layer); }
};

}  // namespace

TEST_CASE("grid CRF: score, log-partition, marginals, bound and pseudo-likelihood by enumeration") {
  for (const bool shared : {true, false}) {
    const auto p = random_potentials(shared);
    const auto exact = grid_exact(p);
    const auto score = grid_score(p, labels);
    const auto pseudo = grid_pseudo_log_likelihood(p, labels);
    const auto log_q = grid_log_marginals(p, {GridMethod::mean_field, 3, 0});
    const auto bound = grid_mean_field_bound(p, log_q);
    for (std::int64_t b = 0; b < batch; ++b) {
      double total = 0, expected_bound = 0;
      std::vector<double> ones(6);
      each_labelling([&](const auto& y) {
        const double weight = std::exp(score_of(p, b, y));
        total += weight;
        double log_probability = 0;
        for (std::size_t i = 0; i < 6; ++i) {
          if (y[i] == 1) ones[i] += weight;
          log_probability += log_q.data()[(b * 6 + static_cast<std::int64_t>(i)) * 2 + y[i]];
        }
        expected_bound += std::exp(log_probability) * (score_of(p, b, y) - log_probability);
      });
      CHECK(exact.log_partition.data()[b] == doctest::Approx(std::log(total)).epsilon(1e-12));
      CHECK(bound.data()[b] == doctest::Approx(expected_bound).epsilon(1e-12));
      CHECK(bound.data()[b] < std::log(total));
      std::vector<std::int64_t> y;
      for (std::int64_t i = 0; i < 6; ++i) y.push_back(labels[b * 6 + i]);
      CHECK(score.data()[b] == doctest::Approx(score_of(p, b, y)).epsilon(1e-12));
      double expected_pseudo = 0;
      for (std::size_t i = 0; i < 6; ++i) {
        CHECK(exact.marginals.data()[(b * 6 + static_cast<std::int64_t>(i)) * 2 + 1] ==
              doctest::Approx(ones[i] / total).epsilon(1e-12));
        auto other = y;
        other[i] = 1 - y[i];
        expected_pseudo -= std::log1p(std::exp(score_of(p, b, other) - score_of(p, b, y)));
      }
      CHECK(pseudo.data()[b] == doctest::Approx(expected_pseudo).epsilon(1e-12));
    }
  }
}

TEST_CASE("grid CRF: potentials by edge give what shared ones give, and their directions are told apart") {
  const auto p = random_potentials(true, 2);
  GridPotentials<double> by_edge = p;
  by_edge.horizontal = p.horizontal + Var<double>::zeros({batch, 2, 2, states, states});
  by_edge.vertical = p.vertical + Var<double>::zeros({batch, 1, 3, states, states});
  for (const GridMethod method : {GridMethod::mean_field, GridMethod::belief_propagation})
    for (const double damping : {0.0, 0.3}) {
      const GridInference inference{method, 4, damping};
      const auto a = grid_log_marginals(p, inference), b = grid_log_marginals(by_edge, inference);
      for (std::int64_t i = 0; i < a.size(); ++i) CHECK(a.data()[i] == doctest::Approx(b.data()[i]).epsilon(1e-10));
    }
  // A row without columns below is a chain, on which belief propagation is exact.
  GridPotentials<double> row{slice(p.unary, 1, {0, 1}), p.horizontal, p.vertical};
  const auto exact = grid_exact(row).marginals;
  for (const GridMethod method : {GridMethod::belief_propagation, GridMethod::tree_reweighted}) {
    const auto beliefs = exp(grid_log_marginals(row, {method, 4, 0}));
    for (std::int64_t i = 0; i < exact.size(); ++i)
      CHECK(beliefs.data()[i] == doctest::Approx(exact.data()[i]).epsilon(1e-10));
  }
}

TEST_CASE("grid CRF: tree-reweighted propagation bounds from above with edges that are alike, and trains") {
  const auto p = random_potentials(true);
  // Two rows of three pixels: five of seven edges are in a spanning tree.
  const auto bound = infer(grid_graph(p), TreeReweighted{.iterations = 300, .weights = {1, 5.0 / 7, 5.0 / 7}});
  const auto exact = grid_exact(p);
  const auto log_q = grid_log_marginals(p, {GridMethod::tree_reweighted, 300, 0.3});
  CHECK(bound.converged);
  for (std::int64_t b = 0; b < batch; ++b) CHECK(bound.log_partition.data()[b] > exact.log_partition.data()[b]);
  for (std::int64_t i = 0; i < log_q.size(); ++i)
    CHECK(std::exp(log_q.data()[i]) == doctest::Approx(bound.variables[0].data()[i]).epsilon(1e-6));
  const auto few = grid_log_marginals(p, {GridMethod::tree_reweighted, 3, 0.3});
  const auto same =
      infer(grid_graph(p), TreeReweighted{.iterations = 3, .damping = 0.3, .weights = {1, 5.0 / 7, 5.0 / 7}});
  for (std::int64_t i = 0; i < few.size(); ++i)
    CHECK(std::exp(few.data()[i]) == doctest::Approx(same.variables[0].data()[i]).epsilon(1e-12));
  CHECK_NOTHROW(check_gradients(
      [&](const std::vector<Var<double>>& x) {
        return grid_loss<double>({x[0], x[1], x[2]}, labels, GridLoss::univariate_log,
                                 {GridMethod::tree_reweighted, 3, 0.1});
      },
      {p.unary, p.horizontal, p.vertical}, {.forward_mode = false}));
}

TEST_CASE("grid CRF: gradients of all losses") {
  for (const bool shared : {true, false})
    for (const GridMethod method : {GridMethod::mean_field, GridMethod::belief_propagation})
      for (const GridLoss loss : {GridLoss::univariate_log, GridLoss::univariate_quadratic, GridLoss::likelihood,
                                  GridLoss::pseudo_likelihood}) {
        const auto p = random_potentials(shared, 3);
        CHECK_NOTHROW(check_gradients(
            [&](const std::vector<Var<double>>& x) {
              return grid_loss<double>({x[0], x[1], x[2]}, labels, loss, {method, 3, 0.1});
            },
            {p.unary, p.horizontal, p.vertical}, {.forward_mode = false}));
      }
}

TEST_CASE("grid CRF: contrast is exp(-beta |difference|^2), by edge") {
  GridPairwise<double> pairwise(states, {.contrast = true, .coupling = 0.5});
  pairwise.contrast.mutable_data()[1] = 2;  // horizontal, states 0 and 1
  Generator g(4);
  const Tensor<double> images = g.normal<double>({batch, 3, height, width});
  const auto p = pairwise.potentials(Var<double>::zeros({batch, states, height, width}), Var<double>(images));
  CHECK(p.unary.shape() == Shape{batch, height, width, states});
  REQUIRE(p.horizontal.shape() == Shape{batch, 2, 2, states, states});
  REQUIRE(p.vertical.shape() == Shape{batch, 1, 3, states, states});
  for (std::size_t b = 0; b < 2; ++b) {
    double mean = 0;
    const auto distance = [&](std::size_t y, std::size_t x, std::size_t y2, std::size_t x2) {
      double total = 0;
      for (std::size_t c = 0; c < 3; ++c) total += std::pow(images(b, c, y, x) - images(b, c, y2, x2), 2);
      return total;
    };
    for (std::size_t y = 0; y < 2; ++y)
      for (std::size_t x = 0; x < 3; ++x) {
        if (x < 2) mean += distance(y, x, y, x + 1) / 7;
        if (y < 1) mean += distance(y, x, y + 1, x) / 7;
      }
    const double expected = std::exp(-distance(1, 1, 1, 2) / (2 * mean));
    CHECK(p.horizontal.value()(b, 1, 1, 0, 1) == doctest::Approx(2 * expected).epsilon(1e-12));
    CHECK(p.horizontal.value()(b, 1, 1, 0, 0) == doctest::Approx(0.5).epsilon(1e-12));
    CHECK(p.vertical.value()(b, 0, 1, 1, 1) == doctest::Approx(0.5).epsilon(1e-12));
    CHECK(p.vertical.value()(b, 0, 1, 0, 1) == 0);
  }
}

TEST_CASE("grid CRF: learns, end to end, that neighbours agree") {
  // Every row has one label; pixels show it with strong noise.
  Generator g(5);
  const std::int64_t images = 8, side = 6;
  IndexTensor truth = empty_tensor<std::int64_t>({images, side, side});
  Tensor<double> x = g.normal<double>({images, 1, side, side});
  for (std::size_t b = 0; b < 8; ++b)
    for (std::size_t i = 0; i < 6; ++i) {
      const std::int64_t label = g.integer(2);
      for (std::size_t j = 0; j < 6; ++j) {
        truth(b, i, j) = label;
        x(b, 0, i, j) += static_cast<double>(label) - 0.5;
      }
    }
  for (const GridMethod method :
       {GridMethod::mean_field, GridMethod::belief_propagation, GridMethod::tree_reweighted}) {
    INFO("method " << static_cast<int>(method));
    Generator start(6);
    GridCrf<double, Pointwise> crf({Conv2d<double>(1, 2, 1, start)}, 2, {.inference = {method, 5, 0}});
    Adam<double> adam(parameters<double>(crf), {.rate = 0.1});
    for (int step = 0; step < 60; ++step) {
      adam.zero_gradients();
      crf.loss(Var<double>(x), Indices(truth)).backward();
      adam.step();
    }
    const Tensor<double> h = crf.pairwise.horizontal.tensor(), v = crf.pairwise.vertical.tensor();
    CHECK(h(0, 0) + h(1, 1) - h(0, 1) - h(1, 0) > 1);
    CHECK(std::abs(v(0, 0) + v(1, 1) - v(0, 1) - v(1, 0)) < 1);
    std::int64_t wrong = 0, wrong_alone = 0;
    const auto log_q = crf.log_marginals(Var<double>(x));
    for (std::int64_t i = 0; i < images * side * side; ++i) {
      wrong += (log_q.data()[2 * i + 1] > log_q.data()[2 * i]) != (truth.data()[i] == 1);
      wrong_alone += (x.data()[i] > 0) != (truth.data()[i] == 1);
    }
    CHECK(2 * wrong < wrong_alone);
  }
}

TEST_CASE("grid CRF: with contrast it learns that labels change where colours do") {
  // Two areas side by side, of other labels and colours; the colour alone says nothing of the label.
  Generator g(7);
  const std::int64_t images = 16, side = 6;
  IndexTensor truth = empty_tensor<std::int64_t>({images, side, side});
  Tensor<double> x = g.normal<double>({images, 2, side, side});
  for (std::size_t b = 0; b < 16; ++b) {
    const std::int64_t border = 1 + g.integer(5), left = g.integer(2), light = g.integer(2);
    for (std::size_t i = 0; i < 6; ++i)
      for (std::size_t j = 0; j < 6; ++j) {
        const bool first = static_cast<std::int64_t>(j) < border;
        truth(b, i, j) = first ? left : 1 - left;
        x(b, 0, i, j) += static_cast<double>(truth(b, i, j)) - 0.5;
        x(b, 1, i, j) = first == (light == 1) ? 3 : 0;
      }
  }
  const auto wrong = [&](bool contrast) {
    Generator start(6);
    GridCrf<double, Pointwise> crf({Conv2d<double>(2, 2, 1, start)}, 2,
                                   {.inference = {GridMethod::belief_propagation, 6, 0}, .contrast = contrast});
    Adam<double> adam(parameters<double>(crf), {.rate = 0.1});
    for (int step = 0; step < 80; ++step) {
      adam.zero_gradients();
      crf.loss(Var<double>(x), Indices(truth)).backward();
      adam.step();
    }
    const auto log_q = crf.log_marginals(Var<double>(x));
    int count = 0;
    for (std::int64_t i = 0; i < images * side * side; ++i)
      count += (log_q.data()[2 * i + 1] > log_q.data()[2 * i]) != (truth.data()[i] == 1);
    return count;
  };
  CHECK(2 * wrong(true) < wrong(false));
}

TEST_CASE("grid CRF: bad input is refused") {
  const auto p = random_potentials(true);
  CHECK_THROWS_AS(grid_score(p, Indices{0, 1}), ShapeError);
  CHECK_THROWS_AS(grid_score(p, Indices(IndexTensor{{{0, 1, 1}, {1, 0, 2}}, {{1, 1, 0}, {0, 0, 1}}})), IndexError);
  CHECK_THROWS_AS(grid_log_marginals(p, {GridMethod::mean_field, 3, 1.0}), Error);
  CHECK_THROWS_AS(grid_log_marginals(p, {GridMethod::belief_propagation, -1, 0}), Error);
  CHECK_THROWS_AS(grid_log_marginals<double>({p.unary, p.horizontal, Var<double>::zeros({3, 3})}), ShapeError);
  CHECK_THROWS_AS(grid_log_marginals<double>({p.horizontal, p.horizontal, p.vertical}), ShapeError);
  CHECK_THROWS_AS(grid_mean_field_bound(p, p.horizontal), ShapeError);
  CHECK_THROWS_AS(grid_exact(p, 10), NumericalError);
  GridPairwise<double> pairwise(states, {.contrast = true});
  CHECK_THROWS_AS(pairwise.potentials(Var<double>::zeros({2, 2, 3, 3}), Var<double>::zeros({2, 1, 3, 4})), ShapeError);
}
