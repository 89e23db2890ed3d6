#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/crf/chain_tagger.hpp>

#include <random>
#include <string>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

/// Sentences in which the word gives the label, except for x, whose label is that of the word before.
std::string corpus(unsigned seed, int sentences) {
  std::mt19937 random(seed);
  std::string text;
  for (int s = 0; s < sentences; ++s) {
    char label = 'A';
    for (std::size_t i = 0; i < 2 + random() % 6; ++i) {
      const bool same = i > 0 && random() % 3 == 0;
      if (!same) label = "ABC"[random() % 3];
      text += (same ? std::string("x") : std::string(1, static_cast<char>(label + 32)) + std::to_string(random() % 3)) +
              " " + label + "\n";
    }
    text += "\n";
  }
  return text;
}

double accuracy(const ChainTagger& tagger, const ColumnCorpus& test) {
  const auto data = tagger.encoder().encode(test);
  const auto labels = tagger.tag(data);
  double right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) right += labels[i] == data.labels[i];
  return right / static_cast<double>(labels.size());
}

}  // namespace

TEST_CASE("ChainTagger: learns what only the chain can know; comes back from its file") {
  const TemporaryFolder folder;
  const auto train = read_columns(folder.write("train", corpus(1, 200))),
             test = read_columns(folder.write("test", corpus(2, 100)));
  ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\nb:%x[-1,0]/%x[0,0]\n")));
  const auto result = tagger.train(train, {.c2 = 0.01});
  CHECK(result.iterations > 3);
  CHECK(accuracy(tagger, test) > 0.97);

  tagger.save(folder.file("model"));
  const auto loaded = ChainTagger::load(folder.file("model"));
  CHECK(loaded.weights() == tagger.weights());
  CHECK(loaded.features().starts == tagger.features().starts);
  CHECK(loaded.encoder().templates().size() == 2);
  const auto data = loaded.encoder().encode(test);
  CHECK(loaded.tag(data) == tagger.tag(data));
  CHECK(loaded.label(data.labels[0]) == test.cell(0, 1));
}

TEST_CASE("ChainTagger: by any smooth loss") {
  const TemporaryFolder folder;
  const auto train = read_columns(folder.write("train", corpus(1, 150))),
             test = read_columns(folder.write("test", corpus(2, 100)));
  const auto trained = [&](LossKind kind) {
    ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\nb:%x[-1,0]/%x[0,0]\n")));
    const auto result = tagger.train(train, {.loss = {kind}, .c2 = 0.01});
    CHECK(accuracy(tagger, test) > 0.97);
    return result.value;
  };
  // A step's label given its neighbours is easier than the whole.
  CHECK(trained(LossKind::pseudo_likelihood) < trained(LossKind::likelihood));
  trained(LossKind::univariate_log);
  ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\n")));
  CHECK_THROWS_WITH_AS(tagger.train(train, {.loss = {LossKind::max_margin}}), doctest::Contains("smooth"), Error);
}

TEST_CASE("ChainTagger: in batches, by any loss, those with corners among them; empty sentences and single tokens") {
  const TemporaryFolder folder;
  const auto train = read_columns(folder.write("train", corpus(1, 150) + "a0 A\n\n\n\nb1 B\n")),
             test = read_columns(folder.write("test", corpus(2, 100)));
  for (const BatchMethod method : {BatchMethod::adam, BatchMethod::sgd})
    for (const LossKind kind :
         {LossKind::likelihood, LossKind::pseudo_likelihood, LossKind::piecewise, LossKind::univariate_log,
          LossKind::clique_quadratic, LossKind::max_margin, LossKind::perceptron}) {
      INFO("method " << static_cast<int>(method) << ", loss " << static_cast<int>(kind));
      ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\nb:%x[-1,0]/%x[0,0]\n")));
      const auto result = tagger.train_in_batches(
          train,
          {.loss = {kind}, .c2 = 0.01, .method = method, .rate = method == BatchMethod::adam ? 0.1 : 1.0, .epochs = 6});
      CHECK(result.history.back().loss < 0.8 * result.history.front().loss);
      CHECK(accuracy(tagger, test) > 0.95);
    }
}

TEST_CASE("ChainTagger: batches come to L-BFGS' objective; an interrupted run goes on to the same weights") {
  const TemporaryFolder folder;
  const auto train = read_columns(folder.write("train", corpus(1, 60)));
  const auto make = [] { return ChainTagger(FeatureEncoder(parse_templates("w:%x[0,0]\n"))); };
  ChainTagger exact = make(), whole = make(), resumed = make();
  const double objective = exact.train(train, {.c2 = 0.5, .lbfgs = {.gradient_tolerance = 1e-9, .period = 0}}).value;
  ChainBatchTraining options{.c2 = 0.5, .rate = 0.05, .batch = 10, .epochs = 120};
  const auto done = whole.train_in_batches(train, options);
  CHECK(done.epochs == 120);
  for (std::size_t k = 0; k < exact.weights().size(); ++k)
    CHECK(whole.weights()[k] == doctest::Approx(exact.weights()[k]).epsilon(0.03).scale(1));
  CHECK(60 * done.history.back().loss == doctest::Approx(objective).epsilon(2e-3));

  options.checkpoint = folder.file("checkpoint");
  const auto part = resumed.train_in_batches(train, options, [](const EpochReport& r) { return r.epoch < 7; });
  CHECK(part.epochs == 7);
  CHECK(resumed.weights() != whole.weights());
  CHECK(resumed.train_in_batches(train, options).epochs == 120);
  CHECK(resumed.weights() == whole.weights());
  options.c2 = 1;
  CHECK_THROWS_AS(resumed.train_in_batches(train, options), Error);
  CHECK_THROWS_AS(resumed.train_in_batches(train, {.c2 = -1}), Error);
}

TEST_CASE("ChainTagger: training that is refused leaves it as it was") {
  const TemporaryFolder folder;
  const auto first = read_columns(folder.write("first", "a A\nb B\n\nb B\na A\n"));
  const auto second = read_columns(folder.write("second", "c C\nd D\n"));
  ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\n")));
  tagger.train(first, {.c2 = 0.01});
  const auto weights = tagger.weights();
  const auto attributes = tagger.encoder().attributes.size(), labels = tagger.encoder().labels.size();
  CHECK_THROWS_AS(tagger.train(second, {.loss = {LossKind::max_margin}}), Error);
  CHECK_THROWS_AS(tagger.train(second, {.lbfgs = {.memory = -1}}), Error);
  CHECK_THROWS_AS(tagger.train_in_batches(second, {.c2 = -1}), Error);
  CHECK_THROWS_AS(tagger.train_in_batches(second, {.epochs = -1}), Error);
  CHECK(tagger.encoder().attributes.size() == attributes);
  CHECK(tagger.encoder().labels.size() == labels);
  CHECK(tagger.weights() == weights);
  CHECK(tagger.tag(tagger.encoder().encode(first)) == std::vector<std::int32_t>{0, 1, 1, 0});
}

TEST_CASE("ChainTagger: L1 leaves most weights at zero; the same twice") {
  const TemporaryFolder folder;
  const auto train = read_columns(folder.write("train", corpus(1, 100)));
  std::vector<double> first;
  for (int run = 0; run < 2; ++run) {
    ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\nn:%x[1,0]\nb:%x[-1,0]/%x[0,0]\n")));
    tagger.train(train, {.c2 = 0, .c1 = 2});
    std::size_t zeros = 0;
    for (const double w : tagger.weights()) zeros += w == 0;
    CHECK(zeros > tagger.weights().size() / 2);
    CHECK(accuracy(tagger, train) > 0.95);
    if (run == 0) first = tagger.weights();
    CHECK(tagger.weights() == first);
  }
}

TEST_CASE("ChainTagger: files that are none, truncated at any byte or changed in any") {
  const TemporaryFolder folder;
  ChainTagger tagger(FeatureEncoder(parse_templates("w:%x[0,0]\n"), Edge::padding, false));
  tagger.train(read_columns(folder.write("train", "a A\nb B\n\nb A\n")));
  tagger.save(folder.file("model"));
  const std::string good = folder.read("model");
  CHECK(ChainTagger::load(folder.file("model")).encoder().edge() == Edge::padding);
  CHECK_FALSE(ChainTagger::load(folder.file("model")).encoder().mark_ends());
  CHECK(contains(thrown<IoError>([&] { ChainTagger::load(folder.write("other", "something else")); }),
                 "other: not a chain tagger"));
  for (std::size_t i = 0; i < good.size(); i += 3) {
    CHECK_THROWS_AS(ChainTagger::load(folder.write("cut", good.substr(0, i))), IoError);
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 4);
    CHECK_THROWS_AS(ChainTagger::load(folder.write("changed", changed)), IoError);
  }
  CHECK_THROWS_AS(ChainTagger::load(folder.file("absent")), IoError);
  CHECK_THROWS_AS(tagger.save(folder.file("no/model")), IoError);
}
