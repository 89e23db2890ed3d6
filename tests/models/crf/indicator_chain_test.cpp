#include <tapestry/autodiff/check_gradients.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/crf/indicator_chain.hpp>

#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

/// Sequences of 0 to 4 items, 3 labels, 6 attributes with values.
SparseSequences draw(std::mt19937& random) {
  SparseSequences data;
  for (int sequence = 0; sequence < 9; ++sequence) {
    for (std::size_t item = 0; item < static_cast<std::size_t>(sequence % 5); ++item) {
      for (std::size_t entry = 0; entry < 1 + random() % 3; ++entry) {
        data.attributes.push_back(static_cast<std::int32_t>(random() % 6));
        data.values.push_back(0.5 * static_cast<double>(1 + random() % 4));
      }
      data.starts.push_back(static_cast<std::int64_t>(data.attributes.size()));
      data.labels.push_back(static_cast<std::int32_t>(random() % 3));
    }
    data.offsets.push_back(static_cast<std::int64_t>(data.labels.size()));
  }
  return data;
}

/// The score of labels y for one sequence, feature by feature.
double score(const SparseSequences& data, const IndicatorFeatures& f, const std::vector<double>& w,
             std::size_t sequence, const std::vector<std::int32_t>& y) {
  double total = 0;
  const auto first = static_cast<std::size_t>(data.offsets[sequence]);
  for (std::size_t t = 0; t < y.size(); ++t) {
    for (auto e = static_cast<std::size_t>(data.starts[first + t]);
         e < static_cast<std::size_t>(data.starts[first + t + 1]); ++e) {
      const auto a = static_cast<std::size_t>(data.attributes[e]);
      for (auto k = static_cast<std::size_t>(f.starts[a]); k < static_cast<std::size_t>(f.starts[a + 1]); ++k)
        if (f.state_labels[k] == y[t]) total += data.values[e] * w[k];
    }
    for (std::size_t k = 0; t > 0 && k < f.sources.size(); ++k)
      if (f.sources[k] == y[t - 1] && f.targets[k] == y[t]) total += w[f.state_labels.size() + k];
  }
  return total;
}

struct Problem {
  std::mt19937 random{21};
  SparseSequences data = draw(random);
  IndicatorFeatures features = make_features(data, 6, 3);
  std::vector<double> w;
  Problem() {
    std::normal_distribution<double> normal;
    for (std::int64_t i = 0; i < features.size(); ++i) w.push_back(normal(random));
  }
  template <class T>
  Var<T> weights() const {
    auto tensor = empty_tensor<T>({features.size()});
    std::copy(w.begin(), w.end(), tensor.data());
    return variable(std::move(tensor));
  }
};

}  // namespace

TEST_CASE("IndicatorChain: log-likelihood and best labels against enumeration") {
  const Problem p;
  const IndicatorChain<double> crf(p.data, p.features);
  double expected = 0;
  std::vector<std::int32_t> best_labels;
  for (std::size_t s = 0; s + 1 < p.data.offsets.size(); ++s) {
    const auto first = p.data.offsets[s], last = p.data.offsets[s + 1];
    const auto n = static_cast<std::size_t>(last - first);
    const std::vector<std::int32_t> truth(p.data.labels.begin() + first, p.data.labels.begin() + last);
    double z = 0, best = -std::numeric_limits<double>::infinity();
    std::vector<std::int32_t> argmax;
    for (int code = 0; code < static_cast<int>(std::lround(std::pow(3, n))); ++code) {
      std::vector<std::int32_t> y(n);
      for (std::size_t t = 0, c = static_cast<std::size_t>(code); t < n; ++t, c /= 3)
        y[t] = static_cast<std::int32_t>(c % 3);
      const double value = score(p.data, p.features, p.w, s, y);
      z += std::exp(value);
      if (value > best) best = value, argmax = y;
    }
    expected += score(p.data, p.features, p.w, s, truth) - std::log(z);
    best_labels.insert(best_labels.end(), argmax.begin(), argmax.end());
  }
  CHECK(crf.log_likelihood(p.weights<double>()).item() == doctest::Approx(expected).epsilon(1e-12));
  CHECK(crf.decode(p.weights<double>()) == best_labels);
  const IndicatorChain<float> single(p.data, p.features);
  CHECK(single.log_likelihood(p.weights<float>()).item() == doctest::Approx(expected).epsilon(1e-5));
  CHECK(single.decode(p.weights<float>()) == best_labels);
}

TEST_CASE("IndicatorChain: gradients to second order; zero weights give observed minus uniform counts") {
  const Problem p;
  const IndicatorChain<double> crf(p.data, p.features);
  const Function<double> f = [&](const auto& x) { return crf.log_likelihood(x[0]); };
  check_gradients(f, {p.weights<double>()});
  check_gradients(f, {p.weights<double>()}, {.order = 2, .forward_mode = false});

  Var<double> w = variable(Tensor<double>(xt::svector<std::size_t, 4>{p.w.size()}, 0.));
  crf.log_likelihood(w).backward();
  std::vector<double> expected(crf.observed().begin(), crf.observed().end());
  for (std::size_t item = 0; item < p.data.labels.size(); ++item)
    for (auto e = static_cast<std::size_t>(p.data.starts[item]); e < static_cast<std::size_t>(p.data.starts[item + 1]);
         ++e) {
      const auto a = static_cast<std::size_t>(p.data.attributes[e]);
      for (auto k = static_cast<std::size_t>(p.features.starts[a]);
           k < static_cast<std::size_t>(p.features.starts[a + 1]); ++k)
        expected[k] -= p.data.values[e] / 3;
    }
  for (std::int64_t k = 0; k < p.features.states(); ++k)
    CHECK(w.gradient()(k) == doctest::Approx(expected[static_cast<std::size_t>(k)]).epsilon(1e-12));
}

TEST_CASE("IndicatorChain: batches cover the data; the gradient adds to others and is the same on two threads") {
  const Problem p;
  const IndicatorChain<double> crf(p.data, p.features);
  Var<double> w = p.weights<double>();
  const auto chains = crf.potentials(w);
  std::vector<int> seen(static_cast<std::size_t>(p.data.sequences()), 0);
  for (std::size_t b = 0; b < chains.size(); ++b)
    for (std::size_t s = 0; s < crf.members(b).size(); ++s) {
      const auto sequence = static_cast<std::size_t>(crf.members(b)[s]);
      ++seen[sequence];
      CHECK((*chains[b].lengths)[static_cast<std::int64_t>(s)] ==
            p.data.offsets[sequence + 1] - p.data.offsets[sequence]);
    }
  CHECK(seen == std::vector<int>(seen.size(), 1));

  std::vector<double> gradients[2];
  for (const int count : {1, 2}) {
    set_threads(count);
    w.zero_gradient();
    // Recorded last, the square is the first to give w a gradient.
    const Var<double> likelihood = crf.log_likelihood(w);
    (likelihood - sum(w * w)).backward();
    gradients[count - 1].assign(w.gradient().begin(), w.gradient().end());
  }
  set_threads(1);
  CHECK(gradients[0] == gradients[1]);
  w.zero_gradient();
  crf.log_likelihood(w).backward();
  for (std::size_t k = 0; k < p.w.size(); ++k) CHECK(gradients[0][k] == doctest::Approx(w.gradient()(k) - 2 * p.w[k]));
}

TEST_CASE("IndicatorChain: every loss is the sum of those of each sequence alone, whatever its batch pads") {
  const Problem p;
  const auto features = std::make_shared<const IndicatorFeatures>(p.features);
  const IndicatorChain<double> all(p.data, features);
  for (const LossKind kind : {LossKind::likelihood, LossKind::pseudo_likelihood, LossKind::piecewise,
                              LossKind::univariate_log, LossKind::univariate_quadratic, LossKind::clique_log,
                              LossKind::clique_quadratic, LossKind::max_margin, LossKind::perceptron}) {
    INFO("loss " << static_cast<int>(kind));
    Var<double> w = p.weights<double>(), alone = p.weights<double>();
    const Var<double> loss = all.loss(w, {kind});
    loss.backward();
    Var<double> total(0.0);
    for (std::int64_t s = 0; s < p.data.sequences(); ++s) {
      const Var<double> own =
          IndicatorChain<double>(select(p.data, std::vector<std::int64_t>{s}), features).loss(alone, {kind});
      if (p.data.offsets[static_cast<std::size_t>(s)] == p.data.offsets[static_cast<std::size_t>(s) + 1])
        CHECK(own.item() == 0);
      total += own;
    }
    total.backward();
    CHECK(loss.item() > 0);
    CHECK(loss.item() == doctest::Approx(total.item()).epsilon(1e-12));
    for (std::size_t k = 0; k < p.w.size(); ++k)
      CHECK(w.gradient()(k) == doctest::Approx(alone.gradient()(k)).epsilon(1e-10).scale(1));
  }
  CHECK(all.loss(p.weights<double>()).item() == doctest::Approx(-all.log_likelihood(p.weights<double>()).item()));
  CHECK_THROWS_AS(select(p.data, std::vector<std::int64_t>{9}), IndexError);
}

TEST_CASE("IndicatorChain: max-margin and perceptron against enumeration") {
  const Problem p;
  const IndicatorChain<double> crf(p.data, p.features);
  double hinge = 0, perceptron = 0;
  for (std::size_t s = 0; s + 1 < p.data.offsets.size(); ++s) {
    const std::vector<std::int32_t> truth(p.data.labels.begin() + p.data.offsets[s],
                                          p.data.labels.begin() + p.data.offsets[s + 1]);
    const double own = score(p.data, p.features, p.w, s, truth);
    double best = own, best_with_cost = own;
    for (int code = 0; code < static_cast<int>(std::lround(std::pow(3, truth.size()))); ++code) {
      std::vector<std::int32_t> y(truth.size());
      double wrong = 0;
      for (std::size_t t = 0, c = static_cast<std::size_t>(code); t < y.size(); ++t, c /= 3) {
        y[t] = static_cast<std::int32_t>(c % 3);
        wrong += y[t] != truth[t];
      }
      const double value = score(p.data, p.features, p.w, s, y);
      best = std::max(best, value);
      best_with_cost = std::max(best_with_cost, value + 0.7 * wrong);
    }
    perceptron += best - own;
    hinge += best_with_cost - own;
  }
  CHECK(crf.loss(p.weights<double>(), {LossKind::perceptron}).item() == doctest::Approx(perceptron).epsilon(1e-12));
  CHECK(crf.loss(p.weights<double>(), {LossKind::max_margin, 0.7}).item() == doctest::Approx(hinge).epsilon(1e-12));
}

TEST_CASE("IndicatorChain: unknown labels can be decoded but not learned from; misuse") {
  Problem p;
  const auto labels = IndicatorChain<double>(p.data, p.features).decode(p.weights<double>());
  p.data.labels[2] = Dictionary::unknown;
  const IndicatorChain<double> crf(p.data, p.features);
  CHECK(crf.decode(p.weights<double>()) == labels);
  CHECK_THROWS_AS(crf.log_likelihood(p.weights<double>()), IndexError);
  CHECK_THROWS_AS(crf.loss(p.weights<double>(), {LossKind::piecewise}), IndexError);
  CHECK_THROWS_AS(crf.potentials(Var<double>::zeros({3})), ShapeError);
  const SparseSequences none;
  const IndicatorChain<double> empty(none, p.features);
  CHECK(empty.log_likelihood(p.weights<double>()).item() == 0);
  CHECK(empty.decode(p.weights<double>()).empty());
}
