#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/saving.hpp>
#include <tapestry/models/crf/lstm_tagger.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>

#include <cmath>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

constexpr const char* text =
    "The DT A\ncat NN B\nsat VBD C\n\nDogs NNS A\n\nThe DT A\nold JJ B\ncat NN B\n42 CD C\nsat VBD C\n";
const LstmTaggerOptions small{.word_dimension = 6, .feature_dimension = 3, .hidden = 5, .dropout = 0.2};

}  // namespace

TEST_CASE("LstmTagger: a padded batch is worth its sentences") {
  const TemporaryFolder folder;
  const ColumnCorpus corpus = read_columns(folder.write("train", text));
  Generator random(1);
  LstmTagger tagger(corpus, small, random);
  evaluate(tagger);
  tagger.crf.chain.transitions = variable(random.normal<float>({tagger.labels(), tagger.labels()}));
  const TokenNumbers data = tagger.encode(corpus);
  CHECK(data.sentences() == 3);
  CHECK(data.unknown_labels == 0);
  const std::int64_t all[] = {2, 0, 1};
  const TokenBatch together = tagger.batch(data, all);
  CHECK(together.features.size() == 6);
  double alone = 0;
  for (std::int64_t s = 0; s < 3; ++s) {
    const std::int64_t one[] = {s};
    const TokenBatch batch = tagger.batch(data, one);
    alone += static_cast<double>(tagger.loss(batch).item()) * static_cast<double>(batch.lengths[0]);
  }
  CHECK(static_cast<double>(tagger.loss(together).item()) == doctest::Approx(alone / 9).epsilon(1e-5));
  // Equal words have equal numbers, in whatever case; what training did not have is 0.
  CHECK(data.features[0][1] == data.features[0][6]);
  const TokenNumbers other = tagger.encode(read_columns(folder.write("other", "THE DT A\nbird NN B\n99 CD Z\n")));
  CHECK(other.features[0] == std::vector<std::int32_t>{data.features[0][0], 0, data.features[0][7]});
  CHECK(other.features[4][0] == 0);  // THE is of the shape A, which training has not
  CHECK(other.unknown_labels == 1);
  CHECK_THROWS_AS(tagger.encode(read_columns(folder.write("few", "the A\n"))), ShapeError);
  CHECK_THROWS_AS(LstmTagger(read_columns(folder.write("one", "the\n")), small, random), ShapeError);
}

TEST_CASE("LstmTagger: words that occur once become unknown now and then, others never") {
  const TemporaryFolder folder;
  const ColumnCorpus corpus = read_columns(folder.write("train", text));
  Generator random(1);
  const LstmTagger tagger(corpus, small, random);
  const TokenNumbers data = tagger.encode(corpus);
  const std::int64_t sentence[] = {2};
  int unknown[5] = {};
  for (int i = 0; i < 200; ++i) {
    const TokenBatch batch = tagger.batch(data, sentence, &random);
    for (std::int64_t t = 0; t < 5; ++t) unknown[t] += batch.features[0][t] == 0;
  }
  for (const int t : {0, 2, 4}) CHECK(unknown[t] == 0);
  for (const int t : {1, 3}) CHECK(std::abs(unknown[t] - 100) < 40);
}

TEST_CASE("LstmTagger: learns, and comes back from its file") {
  const TemporaryFolder folder;
  const ColumnCorpus corpus = read_columns(folder.write("train", text));
  Generator random(2);
  LstmTagger tagger(corpus, small, random);
  const TokenNumbers data = tagger.encode(corpus);
  const std::int64_t all[] = {0, 1, 2};
  Adam<float> adam(parameters<float>(tagger), {.rate = 0.03});
  for (int i = 0; i < 60; ++i) {
    adam.zero_gradients();
    tagger.loss(tagger.batch(data, all, &random)).backward();
    adam.step();
  }
  evaluate(tagger);
  const auto labels = tagger.tag(data);
  CHECK(labels == data.labels);
  tagger.save(folder.file("model"));
  const LstmTagger loaded = LstmTagger::load(folder.file("model"));
  CHECK(loaded.labels() == 3);
  CHECK(loaded.label(1) == "B");
  const TokenNumbers again = loaded.encode(corpus);
  CHECK(again.features == data.features);
  CHECK(loaded.loss(loaded.batch(again, all)).item() == tagger.loss(tagger.batch(data, all)).item());
  CHECK(loaded.tag(again) == labels);
  CHECK_THROWS_AS(LstmTagger::load(folder.write("text", "no model")), IoError);
  save(folder.file("weights"), tagger);
  CHECK_THROWS_WITH_AS(LstmTagger::load(folder.file("weights")), doctest::Contains("not an LSTM tagger"), IoError);
  const std::string bytes = folder.read("model");
  CHECK_THROWS_AS(LstmTagger::load(folder.write("short", bytes.substr(0, bytes.size() / 2))), IoError);
}
