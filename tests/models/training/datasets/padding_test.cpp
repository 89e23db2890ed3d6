#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/datasets/padding.hpp>

#include <span>
#include <vector>

#include <doctest/doctest.h>

using namespace tapestry;

TEST_CASE("stack and pad") {
  const std::vector<Tensor<float>> same{{1, 2}, {3, 4}, {5, 6}};
  const auto stacked = stack<float>(same);
  CHECK(shape_of(stacked) == Shape{3, 2});
  CHECK(stacked(2, 0) == 5);
  CHECK(shape_of(stack(std::span<const Tensor<float>>())) == Shape{0});

  const std::vector<Tensor<double>> sequences{{{1, 2}, {3, 4}}, empty_tensor<double>({0, 2}), {{5, 6}}};
  const auto padded = pad<double>(sequences, -1);
  CHECK(padded.values == Tensor<double>{{{1, 2}, {3, 4}}, {{-1, -1}, {-1, -1}}, {{5, 6}, {-1, -1}}});
  CHECK(padded.lengths.tensor() == IndexTensor{2, 0, 1});
  CHECK(pad(std::span<const Tensor<double>>()).lengths.size() == 0);

  const std::vector<Tensor<double>> differ{{{1, 2}}, {{1, 2, 3}}}, scalars{Tensor<double>(1.)};
  CHECK_THROWS_AS(pad<double>(differ), ShapeError);
  CHECK_THROWS_AS(stack<double>(differ), ShapeError);
  CHECK_THROWS_AS(pad<double>(scalars), ShapeError);
}
