#include <tapestry/models/layers/recurrent.hpp>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

#include "models/layers/layer_checks.hpp"

using namespace tapestry;

namespace {

constexpr RecurrentCell cells[] = {RecurrentCell::tanh, RecurrentCell::lstm, RecurrentCell::gru};

}  // namespace

TEST_CASE("recurrent layers: gradients with lengths, two layers and both directions") {
  Generator g(1);
  for (const RecurrentCell cell : cells) {
    Recurrent<double> layer(cell, 2, 3, g, {.layers = 2, .bidirectional = true});
    check_layer(layer, {variable(g.normal<double>({4, 3, 2})), variable(g.normal<double>({4, 3, 3}))},
                [&](const auto& in) {
                  const auto result = layer.forward(in[0], Indices{4, 0, 2}, in[1]);
                  return sum(square(result.output), {0, 2}) + sum(square(result.hidden), {0, 2});
                });
  }
}

TEST_CASE("recurrent layers: a padded batch gives what each sequence gives alone") {
  Generator g(2);
  const Tensor<double> x = g.normal<double>({5, 3, 2});
  const std::int64_t lengths[] = {5, 1, 3};
  for (const RecurrentCell cell : cells) {
    const Recurrent<double> layer(cell, 2, 4, g, {.layers = 2, .bidirectional = true});
    const auto all = layer.forward(Var<double>(x), Indices{5, 1, 3});
    CHECK(all.output.shape() == Shape{5, 3, 8});
    CHECK(all.hidden.shape() == Shape{4, 3, 4});
    CHECK(all.cell.defined() == (cell == RecurrentCell::lstm));
    for (std::int64_t b = 0; b < 3; ++b) {
      const Var<double> alone = slice(Var<double>(x), {{0, lengths[b]}, {b, b + 1}});
      const auto one = layer.forward(alone);
      for (std::int64_t t = 0; t < 5; ++t)
        for (std::int64_t k = 0; k < 8; ++k) {
          const double expected = t < lengths[b] ? one.output.data()[t * 8 + k] : 0;
          CHECK(all.output.data()[(t * 3 + b) * 8 + k] == doctest::Approx(expected).epsilon(1e-12));
        }
      for (std::int64_t i = 0; i < 4; ++i)
        for (std::int64_t k = 0; k < 4; ++k)
          CHECK(all.hidden.data()[(i * 3 + b) * 4 + k] == doctest::Approx(one.hidden.data()[i * 4 + k]).epsilon(1e-12));
    }
  }
}

TEST_CASE("recurrent layers: the last states go on where a sequence was cut") {
  Generator g(3);
  const Var<double> x(g.normal<double>({6, 2, 2}));
  for (const RecurrentCell cell : cells) {
    const Recurrent<double> layer(cell, 2, 3, g, {.layers = 2});
    const auto whole = layer.forward(x);
    const auto first = layer.forward(slice(x, 0, {0, 4}));
    const auto rest = layer.forward(slice(x, 0, {4, 6}), {}, first.hidden, first.cell);
    for (std::int64_t i = 0; i < 12; ++i)
      CHECK(rest.output.data()[i] == doctest::Approx(whole.output.data()[24 + i]).epsilon(1e-12));
  }
}

TEST_CASE("recurrent layers: bad input is refused") {
  Generator g(4);
  CHECK_THROWS_AS(Lstm<float>(2, 0, g), ShapeError);
  const Rnn<float> layer(2, 3, g);
  CHECK_THROWS_AS(layer.forward(Var<float>::zeros({4, 2})), ShapeError);
  CHECK_THROWS_AS(layer.forward(Var<float>::zeros({4, 1, 2}), Indices{5}), IndexError);
  CHECK_THROWS_AS(layer.forward(Var<float>::zeros({4, 1, 2}), Indices{1, 1}), ShapeError);
  CHECK_THROWS_AS(layer.forward(Var<float>::zeros({4, 1, 2}), {}, Var<float>::zeros({1, 2, 3})), ShapeError);
  CHECK(layer.forward(Var<float>::zeros({0, 2, 2})).output.shape() == Shape{0, 2, 3});
}
