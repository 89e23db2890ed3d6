#include <tapestry/models/crf/chain_crf.hpp>

#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/layers/linear.hpp>

using namespace tapestry;

TEST_CASE("ChainCrf: the loss is that of all assignments counted one by one, and decodes to the best of them") {
  Generator random(3);
  ChainCrf<double, Linear<double>> crf(Linear<double>(4, 3, random), 3);
  for (Var<double>* v : {&crf.chain.transitions, &crf.chain.start, &crf.chain.end})
    *v = variable(random.normal<double>(v->shape()));
  const Var<double> x(random.normal<double>({2, 3, 4}));
  const Indices labels(IndexTensor{{0, 2, 1}, {1, 1, 0}}), lengths(IndexTensor{3, 2});
  const Var<double> scores = crf.network.forward(x);
  const auto score = [&](int s, const int* y, int length) {
    double sum = crf.chain.start.data()[y[0]] + crf.chain.end.data()[y[length - 1]];
    for (int t = 0; t < length; ++t) sum += scores.data()[(s * 3 + t) * 3 + y[t]];
    for (int t = 1; t < length; ++t) sum += crf.chain.transitions.data()[y[t - 1] * 3 + y[t]];
    return sum;
  };
  double expected = 0;
  const IndexTensor best = crf.decode(x, lengths);
  for (int s = 0; s < 2; ++s) {
    const int length = static_cast<int>(lengths[s]);
    double total = 0, highest = -1e9;
    int y[3] = {}, top[3] = {}, count = 1;
    for (int t = 0; t < length; ++t) count *= 3;
    for (int k = 0; k < count; ++k) {
      for (int t = 0, rest = k; t < length; ++t, rest /= 3) y[t] = rest % 3;
      const double value = score(s, y, length);
      total += std::exp(value);
      if (value > highest) {
        highest = value;
        std::copy_n(y, 3, top);
      }
    }
    for (int t = 0; t < 3; ++t) y[t] = static_cast<int>(labels[s * 3 + t]);
    expected += std::log(total) - score(s, y, length);
    for (int t = 0; t < 3; ++t)
      CHECK(best(static_cast<std::size_t>(s), static_cast<std::size_t>(t)) == (t < length ? top[t] : -1));
  }
  CHECK(crf.loss(x, labels, lengths).item() == doctest::Approx(expected / 5).epsilon(1e-12));
  CHECK(parameters<double>(crf).size() == 5);
  crf.loss(x, labels, lengths).backward();
  for (const Var<double>& p : parameters<double>(crf)) CHECK(p.has_gradient());
  // Any other loss, by one option: the hinge is nothing where the best labels are given and win by the cost.
  crf.structured = {LossKind::perceptron};
  CHECK(crf.loss(x, labels, lengths).item() > 0);
  IndexTensor best_labels = best;
  for (auto& y : best_labels) y = std::max<std::int64_t>(y, 0);
  CHECK(crf.loss(x, Indices(best_labels), lengths).item() == doctest::Approx(0));
}
