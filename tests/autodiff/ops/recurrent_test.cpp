#include <tapestry/autodiff/ops/recurrent.hpp>

#include <cstdint>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;
using Int = std::int64_t;

std::vector<Shape> lstm_shapes(Int steps, Int batch, Int inputs, Int hidden) {
  return {{steps, batch, inputs}, {batch, hidden},      {batch, hidden},
          {4 * hidden, inputs},   {4 * hidden, hidden}, {4 * hidden}};
}
std::vector<Shape> gru_shapes(Int steps, Int batch, Int inputs, Int hidden) {
  return {{steps, batch, inputs}, {batch, hidden}, {3 * hidden, inputs},
          {3 * hidden, hidden},   {3 * hidden},    {3 * hidden}};
}

template <class T>
Var<T> flat(const Var<T>& x) {
  return reshape(x, {-1});
}
template <class T>
Var<T> lstm_all(const std::vector<Var<T>>& v, const RecurrentOptions& options) {
  const auto y = lstm(v[0], v[1], v[2], v[3], v[4], v[5], options);
  return concatenate({flat(y.output), flat(y.hidden), flat(y.cell)});
}
template <class T>
Var<T> gru_all(const std::vector<Var<T>>& v, const RecurrentOptions& options) {
  const auto y = gru(v[0], v[1], v[2], v[3], v[4], v[5], options);
  return concatenate({flat(y.output), flat(y.hidden)});
}

template <class T = double>
std::vector<Var<T>> leaves(const std::vector<Shape>& shapes) {
  std::vector<Var<T>> out;
  for (const Shape& shape : shapes)
    out.emplace_back(Tensor<T>(normal_values<T>(shape, static_cast<unsigned>(11 + out.size())) * T(0.5)), true);
  return out;
}

// The results and gradients of a padded batch are those of every sequence alone.
template <class F>
void check_ragged(F f, const std::vector<Shape>& shapes, std::size_t states, bool reverse) {
  const Indices lengths{3, 0, 5, 1};
  const Vars v = leaves(shapes);
  const auto y = f(v, RecurrentOptions{.lengths = lengths, .reverse = reverse});
  V total(0.0);
  for (std::size_t k = 0; k < y.size(); ++k)
    total = total + sum(y[k] * V(normal_values(y[k].shape(), 40 + unsigned(k))));
  const auto g = grad(total, v);
  V expected(0.0);
  for (Int b = 0; b < lengths.size(); ++b) {
    Vars alone = v;
    alone[0] = slice(v[0], {{0, lengths[b]}, {b, b + 1}});
    for (std::size_t i = 1; i <= states; ++i) alone[i] = slice(v[i], 0, {b, b + 1});
    const auto z = f(alone, RecurrentOptions{.reverse = reverse});
    check_close(slice(y[0], {{0, lengths[b]}, {b, b + 1}}), z[0], 1e-13);
    const V seed(normal_values(y[0].shape(), 40));
    expected = expected + sum(z[0] * slice(seed, {{0, lengths[b]}, {b, b + 1}}));
    for (std::size_t k = 1; k < y.size(); ++k) {
      check_close(slice(y[k], 0, {b, b + 1}), z[k], 1e-13);
      expected = expected + sum(z[k] * slice(V(normal_values(y[k].shape(), 40 + unsigned(k))), 0, {b, b + 1}));
    }
    const V rest = slice(y[0], {{lengths[b], 5}, {b, b + 1}});
    for (Int i = 0; i < rest.size(); ++i) CHECK(rest.data()[i] == 0.0);
  }
  const auto h = grad(expected, v);
  for (std::size_t i = 0; i < v.size(); ++i) check_close(g[i], h[i], 1e-12);
}

}  // namespace

TEST_CASE("recurrent: the fused backward is the rule, for units in and between blocks") {
  for (const Int hidden : {1, 16, 19, 70})
    for (const bool reverse : {false, true}) {
      CAPTURE(hidden);
      CAPTURE(reverse);
      const RecurrentOptions options{.lengths = Indices{4, 1, 0}, .reverse = reverse};
      check_fused_backward([&](const Vars& v) { return lstm_all(v, {.reverse = reverse}); },
                           lstm_shapes(4, 3, 2, hidden), 1e-10);
      check_fused_backward([&](const Vars& v) { return lstm_all(v, options); }, lstm_shapes(4, 3, 2, hidden), 1e-10);
      check_fused_backward([&](const Vars& v) { return gru_all(v, {.reverse = reverse}); }, gru_shapes(4, 3, 2, hidden),
                           1e-10);
      check_fused_backward([&](const Vars& v) { return gru_all(v, options); }, gru_shapes(4, 3, 2, hidden), 1e-10);
    }
}

TEST_CASE("recurrent: a padded batch gives what each sequence gives alone") {
  for (const bool reverse : {false, true}) {
    check_ragged(
        [](const Vars& v, const RecurrentOptions& o) {
          const auto y = lstm(v[0], v[1], v[2], v[3], v[4], v[5], o);
          return Vars{y.output, y.hidden, y.cell};
        },
        lstm_shapes(5, 4, 3, 18), 2, reverse);
    check_ragged(
        [](const Vars& v, const RecurrentOptions& o) {
          const auto y = gru(v[0], v[1], v[2], v[3], v[4], v[5], o);
          return Vars{y.output, y.hidden};
        },
        gru_shapes(5, 4, 3, 18), 1, reverse);
  }
}

TEST_CASE("recurrent: no steps, no sequences, no inputs") {
  const Vars v = leaves(lstm_shapes(0, 2, 3, 4));
  const auto y = lstm(v[0], v[1], v[2], v[3], v[4], v[5]);
  CHECK(y.output.shape() == Shape{0, 2, 4});
  check_close(y.hidden, v[1], 1e-15);
  check_close(y.cell, v[2], 1e-15);
  check_fused_backward([](const Vars& u) { return lstm_all(u, {}); }, lstm_shapes(0, 2, 3, 4));
  check_fused_backward([](const Vars& u) { return gru_all(u, {}); }, gru_shapes(0, 2, 3, 4));
  check_fused_backward([](const Vars& u) { return lstm_all(u, {}); }, lstm_shapes(2, 0, 3, 4));
  check_fused_backward([](const Vars& u) { return gru_all(u, {}); }, gru_shapes(2, 0, 3, 4));
  check_fused_backward([](const Vars& u) { return lstm_all(u, {}); }, lstm_shapes(2, 3, 0, 4));
}

TEST_CASE("recurrent: the same bits with any number of threads") {
  const int before = threads();
  std::vector<Tensor<float>> results[2];
  for (const int count : {1, 3}) {
    set_threads(count);
    auto& out = results[count == 1 ? 0 : 1];
    for (const bool is_gru : {false, true}) {
      const auto v = leaves<float>(is_gru ? gru_shapes(4, 30, 40, 200) : lstm_shapes(4, 30, 40, 200));
      const Var<float> y = is_gru ? gru_all(v, {}) : lstm_all(v, {});
      out.push_back(y.tensor());
      for (const auto& g : grad(y, v, Var<float>(normal_values<float>(y.shape(), 3)))) out.push_back(g.tensor());
    }
  }
  set_threads(before);
  REQUIRE(results[0].size() == 14);
  for (std::size_t i = 0; i < results[0].size(); ++i) CHECK(results[0][i] == results[1][i]);
}

TEST_CASE("recurrent: what does not fit is named") {
  const Vars v = leaves(lstm_shapes(3, 2, 4, 5));
  const auto run = [&](std::size_t place, const Shape& shape) {
    Vars u = v;
    u[place] = V(normal_values(shape, 1));
    lstm(u[0], u[1], u[2], u[3], u[4], u[5]);
  };
  CHECK_THROWS_WITH_AS(run(0, {3, 2}), "lstm: x must be [steps, batch, inputs], not [3, 2]", ShapeError);
  CHECK_THROWS_WITH_AS(run(1, {3, 5}),
                       "lstm: the first hidden state must be [batch, hidden], not [3, 5] where x is [3, 2, 4]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(run(2, {2, 6}), "lstm: the first cell [2, 6] and hidden state [2, 5] differ", ShapeError);
  CHECK_THROWS_WITH_AS(run(3, {20, 3}), "lstm: the input weight [20, 3] should be [20, 4]", ShapeError);
  CHECK_THROWS_WITH_AS(run(4, {15, 5}), "lstm: the hidden weight [15, 5] should be [20, 5]", ShapeError);
  CHECK_THROWS_WITH_AS(run(5, {5}), "lstm: the bias [5] should be [20]", ShapeError);
  CHECK_THROWS_WITH_AS(lstm(v[0], v[1], v[2], v[3], v[4], v[5], {.lengths = Indices{1, 2, 3}}),
                       "lstm: lengths of shape [3] for a batch of 2", ShapeError);
  CHECK_THROWS_WITH_AS(lstm(v[0], v[1], v[2], v[3], v[4], v[5], {.lengths = Indices{1, 4}}),
                       "lstm: length 4 of sequence 1 is not within 0 and 3", IndexError);
  const Vars u = leaves(gru_shapes(3, 2, 4, 5));
  CHECK_THROWS_WITH_AS(gru(u[0], u[1], u[2], u[3], u[4], V(normal_values({5}, 1))), "gru: a bias [5] should be [15]",
                       ShapeError);
}
