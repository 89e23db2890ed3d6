#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/features/encoder.hpp>

#include <cstdlib>
#include <string>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

std::string attributes_of(const FeatureEncoder& encoder, const SparseSequences& data, std::size_t item) {
  std::string text;
  for (auto e = static_cast<std::size_t>(data.starts[item]); e < static_cast<std::size_t>(data.starts[item + 1]); ++e)
    text += (text.empty() ? "" : " ") + std::string(encoder.attributes[data.attributes[e]]);
  return text;
}

}  // namespace

TEST_CASE("FeatureEncoder: templates, sentence ends, both kinds of edge") {
  const TemporaryFolder folder;
  const auto corpus = read_columns(folder.write("c", "a X 1\nb Y 2\n\nc Z 1\n"));
  const auto templates = parse_templates("u:%x[0,0]\nv:%x[-1,0]/%x[0,1]\nw:%x[2,1]\n");
  FeatureEncoder encoder(templates);
  const auto data = encoder.learn(corpus);
  CHECK(data.offsets == std::vector<std::int64_t>{0, 2, 3});
  CHECK(data.labels == std::vector<std::int32_t>{0, 1, 0});
  CHECK(attributes_of(encoder, data, 0) == "u=a __BOS__");
  CHECK(attributes_of(encoder, data, 1) == "u=b v=a/Y __EOS__");
  CHECK(attributes_of(encoder, data, 2) == "u=c __BOS__ __EOS__");

  FeatureEncoder padded(templates, Edge::padding, false);
  const auto with_padding = padded.learn(corpus);
  CHECK(attributes_of(padded, with_padding, 0) == "u=a v=_B-1/X w=_B+1");
  CHECK(attributes_of(padded, with_padding, 1) == "u=b v=a/Y w=_B+2");

  FeatureEncoder wrong(parse_templates("u:%x[0,2]\n"));
  CHECK(contains(thrown<ShapeError>([&] { wrong.learn(corpus); }), "template u uses column 2"));
}

TEST_CASE("FeatureEncoder: what training never saw is counted and left out") {
  const TemporaryFolder folder;
  FeatureEncoder encoder(parse_templates("u:%x[0,0]\n"));
  encoder.learn(read_columns(folder.write("train", "a A\nb B\n")));
  const auto data = encoder.encode(read_columns(folder.write("test", "b A\nz C\n\na B\n")));
  CHECK(data.unknown_attributes == 1);
  CHECK(data.unknown_labels == 1);
  CHECK(data.labels == std::vector<std::int32_t>{0, Dictionary::unknown, 1});
  CHECK(attributes_of(encoder, data, 1) == "__EOS__");
}

TEST_CASE("FeatureEncoder: items bring attributes and values") {
  const TemporaryFolder folder;
  FeatureEncoder encoder;
  const auto data = encoder.learn(read_items(folder.write("i", "A\tx:2\ty\nB\ty\n\nA\n")));
  CHECK(data.offsets == std::vector<std::int64_t>{0, 2, 3});
  CHECK(data.attributes == std::vector<std::int32_t>{0, 1, 1});
  CHECK(data.values == std::vector<double>{2, 1, 1});
  const auto test = encoder.encode(read_items(folder.write("j", "A\tz:3\ty:4\n")));
  CHECK(test.unknown_attributes == 1);
  CHECK(test.values == std::vector<double>{4});
}

TEST_CASE("make_features: observed pairs, options") {
  const TemporaryFolder folder;
  FeatureEncoder encoder;
  const auto data = encoder.learn(read_items(folder.write("i", "A\tx\ty\nB\ty\nB\ty\n\nA\tx\n\nC\tz:0.5\n")));
  const auto features = make_features(data, 3, 3);
  CHECK(features.starts == std::vector<std::int64_t>{0, 1, 3, 4});
  CHECK(features.state_labels == std::vector<std::int32_t>{0, 0, 1, 2});
  CHECK(features.sources == std::vector<std::int32_t>{0, 1});
  CHECK(features.targets == std::vector<std::int32_t>{1, 1});
  CHECK(features.size() == 6);
  const auto frequent = make_features(data, 3, 3, {.minimum_count = 2});
  CHECK(frequent.starts == std::vector<std::int64_t>{0, 1, 2, 2});
  CHECK(frequent.state_labels == std::vector<std::int32_t>{0, 1});
  CHECK(frequent.transitions() == 0);
  const auto all = make_features(data, 3, 3, {.unobserved_states = true, .unobserved_transitions = true});
  CHECK(all.states() == 9);
  CHECK(all.transitions() == 9);
  CHECK_THROWS_AS(make_features(data, 2, 3), IndexError);
  CHECK_THROWS_AS(make_features(data, 3, 2), IndexError);
}

TEST_CASE("make_features: CoNLL-2000 has CRFsuite's 452,755 features") {
  const char* const root = std::getenv("TAPESTRY_DATA");
  if (!root) {
    MESSAGE("TAPESTRY_DATA is not set: not run");
    return;
  }
  FeatureEncoder encoder(chunking_templates());
  const auto data = encoder.learn(read_columns(std::filesystem::path(root) / "conll2000/train.txt.gz"));
  CHECK(encoder.labels.size() == 22);
  CHECK(make_features(data, encoder.attributes.size(), encoder.labels.size()).size() == 452755);
}
