// A structure of one's own: a skip-chain CRF (Sutton and McCallum 2004). The same word has the same label wherever it
// stands in a text, which edges between its places say; a chain does not know it.
#include <cstdio>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/crf/graph_crf.hpp>
#include <tapestry/models/layers/linear.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>
#include <tapestry/prob.hpp>

using namespace tapestry;

/// A text: noisy features of each word, which words are the same, and the labels.
struct Text {
  Var<float> features;  ///< [words, labels]
  IndexTensor same;     ///< [pairs, 2]
  Indices labels;
};

constexpr std::int64_t labels = 3, words = 14, vocabulary = 5;

// The model: any layer for the unary potentials, and edges wherever one wants them.
struct SkipChain {
  Linear<float> unary;
  Var<float> next, same;
  bool skips;
  SkipChain(bool with_skips, Generator& random)
      : unary(labels, labels, random),
        next(Var<float>::filled({labels, labels}, 0, true)),
        same(Var<float>::filled({labels, labels}, 0, true)),
        skips(with_skips) {}
  FactorGraph<float> graph(const Text& text) const {
    FactorGraph<float> graph;
    const auto items = graph.add_variables("words", {words}, labels);
    graph.add_unary("unary", items, unary.forward(text.features));
    graph.add_factors("next", chain_edges(graph.ids(items)), next);
    if (skips) graph.add_factors("same", text.same, same);
    return graph;
  }
  void members(Members& m) { m("unary", unary)("next", next)("same", same); }
};

namespace {

Text draw(Generator& random) {
  IndexTensor kinds = random.integers({vocabulary}, labels), texts = random.integers({words}, vocabulary);
  Tensor<float> features = random.normal<float>({words, labels}, 0.0f, 1.0f);
  IndexTensor truth = empty_tensor<std::int64_t>({words});
  std::vector<std::int64_t> pairs;
  for (std::int64_t i = 0; i < words; ++i) {
    truth(i) = kinds(texts(i));
    features(i, truth(i)) += 1.0f;
    for (std::int64_t k = i + 1; k < words; ++k)
      if (texts(i) == texts(k)) pairs.insert(pairs.end(), {i, k});
  }
  IndexTensor same = empty_tensor<std::int64_t>({static_cast<std::int64_t>(pairs.size() / 2), 2});
  std::copy(pairs.begin(), pairs.end(), same.data());
  return {Var<float>(features), same, Indices(truth)};
}

/// Trains on some texts; the share of wrong labels in others.
double error(bool skips, const std::vector<Text>& training, const std::vector<Text>& test) {
  Generator random(2);
  GraphCrf<float, SkipChain> crf(SkipChain(skips, random), BeliefPropagation{.iterations = 10, .damping = 0.5},
                                 {LossKind::univariate_log});
  Adam<float> adam(parameters<float>(crf), {.rate = 0.02});
  for (int epoch = 0; epoch < 3; ++epoch)
    for (const Text& text : training) {
      adam.zero_gradients();
      crf.loss(text, text.labels).backward();
      adam.step();
    }
  double wrong = 0;
  for (const Text& text : test) {
    const IndexTensor best = crf.decode(text);
    for (std::int64_t i = 0; i < words; ++i) wrong += best(i) != text.labels[i];
  }
  return wrong / static_cast<double>(words * std::ssize(test));
}

}  // namespace

int main() {
  Generator random(1);
  std::vector<Text> training, test;
  for (int i = 0; i < 100; ++i) training.push_back(draw(random));
  for (int i = 0; i < 100; ++i) test.push_back(draw(random));
  const double chain = error(false, training, test), skips = error(true, training, test);
  std::printf("wrong labels: chain %.1f %%, skip chain %.1f %%\n", 100 * chain, 100 * skips);
  return skips < 0.7 * chain ? 0 : 1;
}
