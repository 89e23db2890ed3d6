#include <tapestry/models/features/attribute_matrix.hpp>

#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/crf/graph_crf.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>
#include <tapestry/prob/graph_builders.hpp>
#include <tapestry/prob/inference/belief_propagation.hpp>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

/// Sentences of words that have one label each, of which a hint tells at about every other place.
std::string corpus(std::uint64_t seed, int sentences) {
  Generator random(seed);
  std::string text;
  for (int s = 0; s < sentences; ++s) {
    const std::int64_t kinds[] = {random.integer(3), random.integer(3)};
    for (std::int64_t i = 0; i < 6; ++i) {
      const std::int64_t word = random.integer(2);
      const char label = static_cast<char>('A' + kinds[word]);
      text += std::string("w") + static_cast<char>('0' + word) + ' ' + (random.integer(2) ? label : '-') + ' ' + label +
              '\n';
    }
    text += '\n';
  }
  return text;
}

/// A sentence: its words, for edges between equal ones, and its attributes.
struct Sentence {
  std::int64_t number, attributes;
  const ColumnCorpus* corpus;
  const SparseSequences* data;
};

struct SkipChain {
  Var<double> weights, same = Var<double>::filled({}, 0, true);
  bool skips;
  SkipChain(std::int64_t attributes, bool with_skips)
      : weights(Var<double>::filled({attributes, 3}, 0, true)), skips(with_skips) {}
  FactorGraph<double> graph(const Sentence& s) const {
    FactorGraph<double> graph;
    const std::int64_t first = s.corpus->sentence_begin(s.number), n = s.corpus->sentence_length(s.number);
    const auto words = graph.add_variables("words", {n}, 3);
    graph.add_unary("unary", words, matmul(attribute_matrix<double>(*s.data, s.number, s.attributes), weights));
    for (std::int64_t i = 0; skips && i < n; ++i)
      for (std::int64_t k = i + 1; k < n; ++k)
        if (s.corpus->cell(first + i, 0) == s.corpus->cell(first + k, 0))
          graph.add_potts("same " + std::to_string(i) + ' ' + std::to_string(k), IndexTensor{{i, k}}, same);
    return graph;
  }
  void members(Members& m) { m("weights", weights)("same", same); }
};

}  // namespace

TEST_CASE("attribute_matrix: a chain's unary potentials, with values and empty items") {
  SparseSequences data;
  data.offsets = {0, 0, 2, 3};
  data.starts = {0, 2, 2, 3};
  data.attributes = {1, 0, 1};
  data.values = {0.5, 2, 3};
  data.labels = {0, 1, 0};
  const Tensor<double> second = attribute_matrix<double>(data, 1, 3).to_dense().tensor();
  CHECK(second == Tensor<double>{{2, 0.5, 0}, {0, 0, 0}});
  CHECK(attribute_matrix<float>(data, 2, 2).to_dense().tensor() == Tensor<float>{{0, 3}});
  CHECK(attribute_matrix<double>(data, 0, 3).rows == 0);
  CHECK_THROWS_AS(attribute_matrix<double>(data, 3, 3), IndexError);
  CHECK_THROWS_AS(attribute_matrix<double>(data, 1, 1), IndexError);
  data.values.clear();
  CHECK(attribute_matrix<double>(data, 1, 2).to_dense().tensor() == Tensor<double>{{1, 1}, {0, 0}});
}

TEST_CASE("attribute_matrix: templates on a skip-chain, which knows what its words alone do not") {
  const TemporaryFolder folder;
  const auto train = read_columns(folder.write("train", corpus(1, 60))),
             test = read_columns(folder.write("test", corpus(2, 60)));
  FeatureEncoder encoder(parse_templates("hint:%x[0,1]\n"), Edge::none, false);
  const SparseSequences seen = encoder.learn(train), unseen = encoder.encode(test);
  const std::int64_t attributes = encoder.attributes.size();
  const auto error = [&](bool skips) {
    GraphCrf<double, SkipChain> crf(SkipChain(attributes, skips), BeliefPropagation{.iterations = 8},
                                    {LossKind::univariate_log});
    Adam<double> adam(parameters<double>(crf), {.rate = 0.1});
    for (std::int64_t s = 0; s < train.sentences(); ++s) {
      IndexTensor labels = empty_tensor<std::int64_t>({6});
      std::copy_n(seen.labels.begin() + seen.offsets[static_cast<std::size_t>(s)], 6, labels.data());
      adam.zero_gradients();
      crf.loss(Sentence{s, attributes, &train, &seen}, Indices(labels)).backward();
      adam.step();
    }
    int wrong = 0;
    for (std::int64_t s = 0; s < test.sentences(); ++s) {
      const IndexTensor best = crf.decode(Sentence{s, attributes, &test, &unseen});
      for (std::int64_t i = 0; i < 6; ++i)
        wrong += best(i) != unseen.labels[static_cast<std::size_t>(unseen.offsets[static_cast<std::size_t>(s)] + i)];
    }
    return wrong / (6.0 * static_cast<double>(test.sentences()));
  };
  const double alone = error(false), joined = error(true);
  CHECK(alone > 0.25);
  CHECK(joined < 0.15);
}
