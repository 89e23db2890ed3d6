#include <tapestry/models/crf/dense_crf.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/layers/convolution.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>

using namespace tapestry;

namespace {

constexpr std::int64_t height = 3, width = 4, states = 2;

/// The same iterations in plain loops: kernels, their normalisation, softmax.
std::vector<double> by_hand(const DensePairwise<double>& p, const double* scores, const double* image,
                            std::int64_t channels, std::int64_t iterations) {
  const std::int64_t n = height * width;
  const auto& o = p.options;
  std::vector<double> kernel[2], q(static_cast<std::size_t>(n * states));
  for (int m = 0; m < 2; ++m) {
    std::vector<double> sums(static_cast<std::size_t>(n), 1.0);  // a pixel counts in its own sum
    kernel[m].resize(static_cast<std::size_t>(n * n));
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        if (i == j) continue;
        const double deviation = m == 0 ? o.position_deviation : o.far_deviation;
        double d = (std::pow(double(i / width - j / width), 2) + std::pow(double(i % width - j % width), 2)) /
                   (deviation * deviation);
        for (std::int64_t c = 0; m == 1 && c < channels; ++c)
          d += std::pow((image[c * n + i] - image[c * n + j]) / o.color_deviation, 2);
        sums[static_cast<std::size_t>(i)] += kernel[m][static_cast<std::size_t>(i * n + j)] = std::exp(-d / 2);
      }
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        kernel[m][static_cast<std::size_t>(i * n + j)] /=
            std::sqrt(sums[static_cast<std::size_t>(i)] * sums[static_cast<std::size_t>(j)]);
  }
  const auto update = [&](bool pairs) {
    std::vector<double> next(q.size());
    for (std::int64_t i = 0; i < n; ++i) {
      double total = 0, logits[states];
      for (std::int64_t a = 0; a < states; ++a) {
        logits[a] = scores[a * n + i];
        for (std::int64_t j = 0; pairs && j < n; ++j)
          for (std::int64_t b = 0; b < states; ++b)
            for (int m = 0; m < 2; ++m)
              logits[a] += kernel[m][static_cast<std::size_t>(i * n + j)] * p.weights.data()[m * states + b] *
                           p.compatibility.data()[a * states + b] * q[static_cast<std::size_t>(j * states + b)];
        total += std::exp(logits[a]);
      }
      for (std::int64_t a = 0; a < states; ++a)
        next[static_cast<std::size_t>(i * states + a)] = std::exp(logits[a]) / total;
    }
    q = next;
  };
  update(false);
  for (std::int64_t k = 0; k < iterations; ++k) update(true);
  return q;
}

}  // namespace

TEST_CASE("DenseCrf: mean field over all pairs of pixels, as loops say, image by image") {
  Generator random(1);
  DensePairwise<double> pairwise(
      states,
      {.iterations = 2, .test_iterations = 4, .position_deviation = 1.5, .far_deviation = 4, .color_deviation = 0.8});
  pairwise.weights = variable(random.uniform<double>({2, states}, 0.2, 1.0));
  pairwise.compatibility = variable(random.normal<double>({states, states}));
  const Var<double> scores(random.normal<double>({2, states, height, width})),
      images(random.normal<double>({2, 3, height, width}));
  for (const bool training : {true, false}) {
    train(pairwise, training);
    const Var<double> log_q = pairwise.log_marginals(scores, images);
    CHECK(log_q.shape() == Shape{2, height, width, states});
    for (std::int64_t b = 0; b < 2; ++b) {
      const auto expected = by_hand(pairwise, scores.data() + b * states * height * width,
                                    images.data() + b * 3 * height * width, 3, training ? 2 : 4);
      for (std::size_t i = 0; i < expected.size(); ++i)
        CHECK(std::exp(log_q.data()[b * height * width * states + static_cast<std::int64_t>(i)]) ==
              doctest::Approx(expected[i]).epsilon(1e-9));
    }
  }
  const Indices labels(random.integers({2, height, width}, states));
  train(pairwise);
  CHECK_NOTHROW(check_gradients(
      [&](const std::vector<Var<double>>& x) {
        DensePairwise<double> p = pairwise;
        p.weights = x[1];
        p.compatibility = x[2];
        return negative_log_likelihood(p.log_marginals(x[0], images), labels);
      },
      {scores, pairwise.weights, pairwise.compatibility}, {.forward_mode = false}));
  CHECK_THROWS_AS(pairwise.log_marginals(scores, Var<double>::zeros({2, 3, height, width + 1})), ShapeError);
  CHECK_THROWS_AS(pairwise.log_marginals(Var<double>::zeros({2, 3, height, width}), images), ShapeError);
}

TEST_CASE("DenseCrf: starts with the coupling between equal states and the weights of its options") {
  const DensePairwise<double> pairwise(2, {.coupling = 0.7, .weight = 3});
  CHECK(pairwise.compatibility.tensor() == Tensor<double>{{0.7, 0}, {0, 0.7}});
  CHECK(pairwise.weights.tensor() == Tensor<double>{{3, 3}, {3, 3}});
  CHECK_THROWS_AS(DensePairwise<double>(0, {}), ShapeError);
}

TEST_CASE("DenseCrf: learns where colours do not tell a pixel but its neighbours do") {
  Generator random(2);
  // The left half of an image is 0, the right half 1, under noise.
  const std::int64_t side = 12;
  Tensor<float> images = random.normal<float>({4, 1, side, side}, 0.0f, 0.8f);
  IndexTensor labels = empty_tensor<std::int64_t>({4, side, side});
  for (std::int64_t i = 0; i < 4 * side * side; ++i) {
    labels.data()[i] = i % side >= side / 2;
    images.data()[i] += static_cast<float>(labels.data()[i]);
  }
  DenseCrf<float, Conv2d<float>> crf(Conv2d<float>(1, 2, 1, random), 2,
                                     {.position_deviation = 1.5, .far_deviation = 5, .color_deviation = 1});
  const std::vector<Var<float>> all = parameters<float>(crf);
  CHECK(all.size() == 4);
  Adam<float> adam(all, {.rate = 0.05});
  float first = 0, last = 0;
  for (int i = 0; i < 40; ++i) {
    adam.zero_gradients();
    const Var<float> loss = crf.loss(Var<float>(images), Indices(labels));
    loss.backward();
    adam.step();
    (i == 0 ? first : last) = loss.item();
  }
  CHECK(last < 0.5f * first);
  CHECK(last < 0.35f);
}
