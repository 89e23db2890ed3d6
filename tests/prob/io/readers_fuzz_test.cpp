#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "fuzz/properties.hpp"

namespace {

std::vector<std::string> corpus(const std::string& reader) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(TAPESTRY_TESTS_FOLDER "/fuzz/corpus/" + reader))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> texts;
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return texts;
}

std::string mutate(std::string text, std::mt19937_64& random) {
  const std::vector<std::string> pieces = {"0",        "-1",
                                           "1e999",    "nan",
                                           "inf",      "1000000000000",
                                           "{",        "}",
                                           "(",        ")",
                                           ";",        "|",
                                           ",",        "\"",
                                           "//",       "/*",
                                           "\n",       " ",
                                           "table",    "1",
                                           "2",        "MARKOV",
                                           "BAYES",    "default",
                                           "property", "9223372036854775807",
                                           "variable", "0.5"};
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (std::size_t edits = 1 + pick(3); edits > 0; --edits) {
    const std::size_t at = pick(text.size() + 1), span = std::min(text.size() - at, 1 + pick(8));
    switch (pick(6)) {
      case 0:
        text.erase(at, span);
        break;
      case 1:
        text.insert(at, pieces[pick(pieces.size())]);
        break;
      case 2:
        text.replace(at, span, pieces[pick(pieces.size())]);
        break;
      case 3:
        text.resize(at);
        break;
      case 4:
        text.insert(at, text.substr(pick(text.size() + 1), 1 + pick(30)));
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random());
    }
  }
  return text;
}

void fuzz_reader(const std::string& reader, bool (*check)(std::string_view), int rounds) {
  std::mt19937_64 random(7);
  const auto texts = corpus(reader);
  REQUIRE(texts.size() >= 2);
  for (const auto& text : texts) check(text);
  int models = 0;
  for (int i = 0; i < rounds; ++i)
    for (const auto& text : texts) models += check(mutate(text, random));
  const int total = rounds * static_cast<int>(texts.size());
  CHECK(models > total / 100);
  CHECK(models < total);
}

}  // namespace

TEST_CASE("mutated UAI models are read or refused with a line") {
  fuzz_reader("uai", fuzz::check_uai, 3000);
}
TEST_CASE("mutated UAI evidence is read or refused with a line") {
  fuzz_reader("evidence", fuzz::check_evidence, 3000);
}
TEST_CASE("mutated BIF networks are read or refused with a line") {
  fuzz_reader("bif", fuzz::check_bif, 3000);
}
TEST_CASE("results of any numbers read back the same") {
  fuzz_reader("results", fuzz::check_results, 3000);
}
