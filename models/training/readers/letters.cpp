#include <tapestry/models/training/readers/letters.hpp>

#include <charconv>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

namespace tapestry {

LetterWords read_letters(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  LineScanner lines(text);
  const auto error = [&](const auto&... parts) {
    fail<IoError>("read_letters", path.string(), ":", lines.number(), ": ", parts...);
  };
  LetterWords data;
  data.offsets.push_back(0);
  std::int64_t expected_id = -1, word = 0, fold = 0, position = 0;  // of the word being read; -1: between words
  for (std::string_view line; lines.next(line);) {
    if (line.empty()) continue;
    std::string_view rest = line;
    bool more = true;
    const auto field = [&](const char* name) {
      if (!more) error("the line ends before the ", name);
      const std::size_t tab = rest.find('\t');
      const std::string_view value = rest.substr(0, tab);
      more = tab != std::string_view::npos;
      rest.remove_prefix(more ? tab + 1 : rest.size());
      return value;
    };
    const auto number = [&](const char* name) {
      const std::string_view value = field(name);
      std::int64_t n = 0;
      const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), n);
      if (code != std::errc() || end != value.data() + value.size() || value.empty())
        error("the ", name, " '", value, "' is not a whole number");
      return n;
    };
    const std::int64_t id = number("id");
    const std::string_view letter = field("letter");
    if (letter.size() != 1 || letter[0] < 'a' || letter[0] > 'z')
      error("the letter '", letter, "' is not one of a to z");
    const std::int64_t next = number("next id");
    const std::int64_t this_word = number("word");
    const std::int64_t this_position = number("position");
    const std::int64_t this_fold = number("fold");
    if (expected_id >= 0) {
      if (id != expected_id) error("id ", id, " where the letter before announced ", expected_id);
      if (this_word != word || this_fold != fold) error("word or fold changes before the word's end");
      if (this_position != position + 1) error("position ", this_position, " follows ", position);
    }
    word = this_word;
    fold = this_fold;
    position = this_position;
    expected_id = next < 0 ? -1 : next;
    for (std::int64_t i = 0; i < LetterWords::height * LetterWords::width; ++i) {
      const std::string_view pixel = field("128th pixel");
      if (pixel != "0" && pixel != "1") error("pixel ", i + 1, " is '", pixel, "', not 0 or 1");
      data.pixels.push_back(pixel == "1");
    }
    if (more && rest.find_first_not_of(" \t") != std::string_view::npos) error("more than 128 pixels");
    data.labels.push_back(letter[0] - 'a');
    if (expected_id < 0) {
      data.offsets.push_back(static_cast<std::int64_t>(data.labels.size()));
      data.folds.push_back(fold);
    }
  }
  if (expected_id >= 0) error("the file ends inside a word");
  if (data.labels.empty()) fail<IoError>("read_letters", path.string(), ": no letter in the file");
  return data;
}

}  // namespace tapestry
