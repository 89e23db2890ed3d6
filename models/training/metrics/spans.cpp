#include <tapestry/models/training/metrics/spans.hpp>

#include <iomanip>
#include <ostream>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0. : static_cast<double>(part) / static_cast<double>(whole);
}

struct Tag {
  std::string_view place = "O";
  std::string_view type;
};

Tag split(std::string_view tag) {
  const std::size_t hyphen = tag.find('-');
  if (hyphen == std::string_view::npos) return {tag, {}};
  return {tag.substr(0, hyphen), tag.substr(hyphen + 1)};
}

bool inside(const Tag& tag) {
  return tag.place != "O" && tag.place != ".";
}

bool ends_between(const Tag& before, const Tag& after) {
  if (before.place == "B" || before.place == "I") {
    if (after.place == "B" || after.place == "O") return true;
  } else if (before.place == "E") {
    if (after.place == "E" || after.place == "I" || after.place == "O") return true;
  } else if (before.place == "[" || before.place == "]") {
    return true;
  }
  return inside(before) && before.type != after.type;
}

bool starts_between(const Tag& before, const Tag& after) {
  if (after.place == "B") {
    if (before.place == "B" || before.place == "I" || before.place == "O") return true;
  } else if (after.place == "I" || after.place == "E") {
    if (before.place == "O" || before.place == "E") return true;
  } else if (after.place == "[" || after.place == "]") {
    return true;
  }
  return inside(after) && before.type != after.type;
}

}  // namespace

double SpanScorer::Counts::precision() const {
  return ratio(hits, guesses);
}
double SpanScorer::Counts::recall() const {
  return ratio(hits, truths);
}
double SpanScorer::Counts::f1() const {
  return ratio(2 * hits, truths + guesses);
}

double SpanScorer::accuracy() const {
  return ratio(right_tags_, tokens_);
}

SpanScorer::Counts& SpanScorer::of(std::string_view type) {
  const auto found = by_type_.find(type);
  return found != by_type_.end() ? found->second : by_type_[std::string(type)];
}

void SpanScorer::add(std::span<const std::string_view> truth, std::span<const std::string_view> guess) {
  if (truth.size() != guess.size())
    fail<ShapeError>("SpanScorer::add", truth.size(), " true tags and ", guess.size(), " guesses");
  Tag last_truth, last_guess;
  bool matching = false;  // a true and a guessed span of one type started together and still run
  for (std::size_t i = 0; i <= truth.size(); ++i) {
    const bool at_end = i == truth.size();
    const Tag t = at_end ? Tag{} : split(truth[i]);
    const Tag g = at_end ? Tag{} : split(guess[i]);
    const bool truth_ends = ends_between(last_truth, t), guess_ends = ends_between(last_guess, g);
    if (matching) {
      if (truth_ends && guess_ends && last_truth.type == last_guess.type) {
        matching = false;
        ++total_.hits;
        ++of(last_truth.type).hits;
      } else if (truth_ends != guess_ends || t.type != g.type) {
        matching = false;
      }
    }
    const bool truth_starts = starts_between(last_truth, t), guess_starts = starts_between(last_guess, g);
    if (truth_starts && guess_starts && t.type == g.type) matching = true;
    if (truth_starts) {
      ++total_.truths;
      ++of(t.type).truths;
    }
    if (guess_starts) {
      ++total_.guesses;
      ++of(g.type).guesses;
    }
    if (!at_end) {
      right_tags_ += truth[i] == guess[i];
      ++tokens_;
    }
    last_truth = t;
    last_guess = g;
  }
}

std::ostream& operator<<(std::ostream& out, const SpanScorer& scorer) {
  const auto flags = out.flags();
  const auto precision = out.precision();
  const auto line = [&](const SpanScorer::Counts& c) {
    out << "precision: " << std::setw(6) << 100 * c.precision() << "%; recall: " << std::setw(6) << 100 * c.recall()
        << "%; FB1: " << std::setw(6) << 100 * c.f1();
  };
  const auto& total = scorer.total();
  out << std::fixed << std::setprecision(2);
  out << "processed " << scorer.tokens() << " tokens with " << total.truths << " phrases; found: " << total.guesses
      << " phrases; correct: " << total.hits << ".\n";
  out << "accuracy: " << std::setw(6) << 100 * scorer.accuracy() << "%; ";
  line(total);
  out << '\n';
  for (const auto& [type, counts] : scorer.by_type()) {
    out << std::setw(17) << type << ": ";
    line(counts);
    out << "  " << counts.guesses << '\n';
  }
  out.flags(flags);
  out.precision(precision);
  return out;
}

}  // namespace tapestry
