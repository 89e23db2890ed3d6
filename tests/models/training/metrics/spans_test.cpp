#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/metrics/spans.hpp>

#include <random>
#include <set>
#include <sstream>
#include <tuple>
#include <vector>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    result.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

SpanScorer::Counts score(std::string_view truth, std::string_view guess) {
  SpanScorer scorer;
  scorer.add(words(truth), words(guess));
  return scorer.total();
}

void check(const SpanScorer::Counts& counts, std::int64_t truths, std::int64_t guesses, std::int64_t hits) {
  CHECK(counts.truths == truths);
  CHECK(counts.guesses == guesses);
  CHECK(counts.hits == hits);
}

}  // namespace

TEST_CASE("SpanScorer: spans in the notations of the shared tasks") {
  check(score("B-NP I-NP O B-VP", "B-NP I-NP O B-VP"), 2, 2, 2);
  check(score("B-NP B-NP", "B-NP I-NP"), 2, 1, 0);
  check(score("I-NP I-NP O I-VP", "I-NP I-NP O I-VP"), 2, 2, 2);        // IOB1
  check(score("I-NP B-NP I-NP", "I-NP I-NP I-NP"), 2, 1, 0);            // IOB1, neighbours of one type
  check(score("I-NP E-NP I-NP E-NP", "I-NP E-NP I-NP E-NP"), 2, 2, 2);  // IOE2
  check(score("E-NP E-NP", "E-NP E-NP"), 2, 2, 2);
  check(score("I-NP I-VP", "I-NP I-VP"), 2, 2, 2);  // the type changes without a B
  check(score("B-NP I-VP O", "B-NP O O"), 2, 1, 1);
  check(score("O I-NP O", "O B-NP O"), 1, 1, 1);  // I after O starts
  check(score("B-NP I-NP I-NP", "B-NP I-NP O"), 1, 1, 0);
  check(score("B-NP I-NP O", "O B-NP O"), 1, 1, 0);
  check(score("B-NP", "B-VP"), 1, 1, 0);
  check(score("B I O B", "B I O B"), 2, 2, 2);  // tags without types
  check(score("B-A-B I-A-B", "B-A-B I-A-B"), 1, 1, 1);
  check(score("[-NP ]-NP O [-VP", "[-NP ]-NP O ]-VP"), 3, 3, 3);  // brackets are spans of one token
  check(score("B-NP . I-NP", "B-NP . I-NP"), 2, 2, 2);            // a point is outside, as O is
  check(score("E-NP B-NP", "E-NP B-NP"), 1, 1, 1);                // conlleval lets a span go on from E to B
  check(score("", ""), 0, 0, 0);
}

TEST_CASE("SpanScorer: a sentence's end ends spans") {
  SpanScorer scorer;
  const auto tags = words("B-NP"), inside = words("I-NP");
  scorer.add(tags, tags);
  scorer.add(inside, inside);
  check(scorer.total(), 2, 2, 2);
}

TEST_CASE("SpanScorer: on IOB2 tags it counts equal (start, end, type) triples") {
  std::mt19937 random(5);
  const char* const types[] = {"NP", "VP", "PP"};
  SpanScorer scorer;
  std::int64_t truths = 0, guesses = 0, hits = 0, equal = 0, tokens = 0;
  for (int sentence = 0; sentence < 300; ++sentence) {
    const std::size_t n = random() % 12;
    using Span = std::tuple<std::size_t, std::size_t, unsigned>;
    const auto draw = [&](std::vector<std::string>& tags, std::set<Span>& spans) {
      tags.assign(n, "O");
      for (std::size_t i = 0; i < n;) {
        if (random() % 3 == 0) {
          ++i;
          continue;
        }
        const std::size_t end = std::min(n, i + 1 + random() % 3);
        const unsigned type = random() % 3;
        spans.insert({i, end, type});
        for (std::size_t at = i; at < end; ++at) tags[at] = std::string(at == i ? "B-" : "I-") + types[type];
        i = end;
      }
    };
    std::vector<std::string> truth, guess;
    std::set<Span> true_spans, guessed_spans;
    draw(truth, true_spans);
    draw(guess, guessed_spans);
    scorer.add(std::vector<std::string_view>(truth.begin(), truth.end()),
               std::vector<std::string_view>(guess.begin(), guess.end()));
    truths += static_cast<std::int64_t>(true_spans.size());
    guesses += static_cast<std::int64_t>(guessed_spans.size());
    for (const auto& span : guessed_spans) hits += static_cast<std::int64_t>(true_spans.count(span));
    for (std::size_t i = 0; i < n; ++i) equal += truth[i] == guess[i];
    tokens += static_cast<std::int64_t>(n);
  }
  REQUIRE(hits > 20);
  check(scorer.total(), truths, guesses, hits);
  CHECK(scorer.tokens() == tokens);
  CHECK(scorer.accuracy() == doctest::Approx(static_cast<double>(equal) / static_cast<double>(tokens)));
  SpanScorer::Counts sum;
  for (const auto& [type, counts] : scorer.by_type()) {
    sum.truths += counts.truths;
    sum.guesses += counts.guesses;
    sum.hits += counts.hits;
  }
  check(sum, truths, guesses, hits);
}

TEST_CASE("SpanScorer: the printed table, and misuse") {
  SpanScorer scorer;
  scorer.add(words("B-NP I-NP B-VP O"), words("B-NP I-NP O O"));
  std::ostringstream out;
  out << scorer;
  CHECK(out.str() ==
        "processed 4 tokens with 2 phrases; found: 1 phrases; correct: 1.\n"
        "accuracy:  75.00%; precision: 100.00%; recall:  50.00%; FB1:  66.67\n"
        "               NP: precision: 100.00%; recall: 100.00%; FB1: 100.00  1\n"
        "               VP: precision:   0.00%; recall:   0.00%; FB1:   0.00  0\n");
  CHECK_THROWS_AS(scorer.add(words("O"), words("O O")), ShapeError);
}
