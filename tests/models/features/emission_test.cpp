#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/features/emission.hpp>

#include <random>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

SparseSequences draw_data(std::mt19937& random, std::int32_t attributes, std::int32_t labels, bool with_values) {
  SparseSequences data;
  for (int sequence = 0; sequence < 20; ++sequence) {
    for (std::size_t item = 0; item < 1 + random() % 9; ++item) {
      for (std::size_t entry = 0; entry < random() % 12; ++entry) {
        const std::int32_t a = static_cast<std::int32_t>(random() % static_cast<unsigned>(attributes));
        data.attributes.push_back(random() % 3 ? a % 5 : a);
        if (with_values) data.values.push_back(static_cast<double>(random() % 16) / 8 - 1);
      }
      data.starts.push_back(static_cast<std::int64_t>(data.attributes.size()));
      data.labels.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(labels)));
    }
    data.offsets.push_back(static_cast<std::int64_t>(data.labels.size()));
  }
  return data;
}

}  // namespace

TEST_CASE_TEMPLATE("SparseEmission: scores and gradient against the definition", T, float, double) {
  std::mt19937 random(11);
  for (const std::int32_t labels : {1, 2, 7, 22, 24, 65}) {
    for (const bool with_values : {false, true}) {
      const auto data = draw_data(random, 60, labels, with_values);
      const auto features = make_features(data, 60, labels, {.minimum_count = with_values ? -100. : 0.});
      const SparseEmission<T> emission(data, features);
      REQUIRE(emission.weights() == features.states());
      const auto k = static_cast<std::size_t>(labels);
      const std::size_t items = data.labels.size();
      // Multiples of 1/8 are summed without rounding.
      std::vector<T> weights(features.state_labels.size()), g((items + 3) * k);
      for (T& w : weights) w = static_cast<T>(static_cast<int>(random() % 64) - 32) / 8;
      for (T& x : g) x = static_cast<T>(static_cast<int>(random() % 64) - 32) / 8;
      std::vector<std::int64_t> rows(items);
      for (std::size_t i = 0; i < items; ++i) rows[i] = static_cast<std::int64_t>((i * 7 + 2) % (items + 3));
      const bool distinct = (items + 3) % 7 != 0;
      if (!distinct)
        for (std::size_t i = 0; i < items; ++i) rows[i] = static_cast<std::int64_t>(i + 3);

      for (const std::int64_t* row :
           {static_cast<const std::int64_t*>(nullptr), static_cast<const std::int64_t*>(rows.data())}) {
        std::vector<T> expected((items + 3) * k, T(99)), expected_gradient(weights.size(), T(0));
        for (std::size_t i = 0; i < items; ++i) {
          const auto r = static_cast<std::size_t>(row ? row[i] : static_cast<std::int64_t>(i));
          for (std::size_t l = 0; l < k; ++l) expected[r * k + l] = 0;
          for (auto e = static_cast<std::size_t>(data.starts[i]); e < static_cast<std::size_t>(data.starts[i + 1]);
               ++e) {
            const auto a = static_cast<std::size_t>(data.attributes[e]);
            const T value = with_values ? static_cast<T>(data.values[e]) : T(1);
            for (auto f = static_cast<std::size_t>(features.starts[a]);
                 f < static_cast<std::size_t>(features.starts[a + 1]); ++f) {
              const auto l = static_cast<std::size_t>(features.state_labels[f]);
              expected[r * k + l] += value * weights[f];
              expected_gradient[f] += value * g[r * k + l];
            }
          }
        }
        std::vector<T> scores((items + 3) * k, T(99)), gradient(weights.size(), T(7));
        emission.scores(weights.data(), scores.data(), row);
        emission.gradient(g.data(), gradient.data(), row);
        CHECK(scores == expected);
        CHECK(gradient == expected_gradient);
        // In blocks, on two threads.
        std::vector<T> again((items + 3) * k, T(99)), gradient_again(weights.size(), T(7));
        const auto cut = static_cast<std::int64_t>(items / 3);
        using Block = typename SparseEmission<T>::template Block<T*>;
        using ConstBlock = typename SparseEmission<T>::template Block<const T*>;
        const Block blocks[] = {{0, cut, again.data()}, {cut, emission.items(), again.data()}};
        const ConstBlock g_blocks[] = {{0, cut, g.data()}, {cut, emission.items(), g.data()}};
        set_threads(2);
        emission.scores(weights.data(), std::span<const Block>(blocks), row);
        emission.gradient(std::span<const ConstBlock>(g_blocks), gradient_again.data(), row);
        set_threads(1);
        CHECK(again == expected);
        CHECK(gradient_again == expected_gradient);
      }
    }
  }
}

TEST_CASE("SparseEmission: no items, no attributes; an attribute too many is refused") {
  SparseSequences none;
  IndicatorFeatures features;
  features.labels = 3;
  const SparseEmission<double> empty(none, features);
  empty.scores(nullptr, nullptr);
  empty.gradient(nullptr, nullptr);
  SparseSequences data;
  data.offsets = {0, 1};
  data.starts = {0, 1};
  data.attributes = {0};
  data.labels = {0};
  CHECK_THROWS_AS(SparseEmission<double>(data, features), IndexError);
}

TEST_CASE_TEMPLATE("SparseEmission: the same bits at one and two threads", T, float, double) {
  std::mt19937 random(12);
  const auto data = draw_data(random, 60, 23, true);
  const SparseEmission<T> emission(data, make_features(data, 60, 23));
  std::uniform_real_distribution<T> uniform(-1, 1);
  std::vector<T> weights(static_cast<std::size_t>(emission.weights())), g(data.labels.size() * 23);
  for (T& w : weights) w = uniform(random);
  for (T& x : g) x = uniform(random);
  std::vector<T> scores[2], gradient[2];
  for (const int count : {1, 2}) {
    set_threads(count);
    scores[count - 1].resize(g.size());
    gradient[count - 1].resize(weights.size());
    emission.scores(weights.data(), scores[count - 1].data());
    emission.gradient(g.data(), gradient[count - 1].data());
  }
  set_threads(1);
  CHECK(scores[0] == scores[1]);
  CHECK(gradient[0] == gradient[1]);
}
