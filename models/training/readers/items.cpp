#include <tapestry/models/training/readers/items.hpp>

#include <charconv>
#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

namespace tapestry {
namespace {

/// The text with \: and \\ replaced; a view of `field` itself where there is nothing to replace.
std::string_view unescape(std::string_view field, std::deque<std::string>& storage) {
  if (field.find('\\') == std::string_view::npos) return field;
  std::string plain;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 1 < field.size() && (field[i + 1] == ':' || field[i + 1] == '\\')) ++i;
    plain += field[i];
  }
  return storage.emplace_back(std::move(plain));
}

/// Position of the first colon that no backslash escapes; npos when there is none.
std::size_t find_colon(std::string_view field) {
  for (std::size_t i = field.find_first_of(":\\"); i < field.size(); ++i) {
    if (field[i] == ':') return i;
    if (field[i] == '\\') ++i;
  }
  return std::string_view::npos;
}

}  // namespace

ItemCorpus read_items(const std::filesystem::path& path) {
  const auto storage = std::make_shared<ItemCorpus::Storage>();
  storage->text = read_text(path);
  ItemCorpus corpus;
  LineScanner lines(storage->text);
  const auto error = [&](const auto&... parts) {
    fail<IoError>("read_items", path.string(), ":", lines.number(), ": ", parts...);
  };
  std::int64_t item = 0;
  const auto end_sequence = [&] {
    if (item > corpus.offsets_.back()) corpus.offsets_.push_back(item);
  };
  for (std::string_view line; lines.next(line);) {
    if (line.empty()) {
      end_sequence();
      continue;
    }
    bool first = true;
    for (std::string_view rest = line; first || !rest.empty();) {
      const std::size_t tab = rest.find('\t');
      const std::string_view field = rest.substr(0, tab);
      rest.remove_prefix(tab == std::string_view::npos ? rest.size() : tab + 1);
      if (first) {
        if (field.empty()) error("the label is missing");
        corpus.labels_.push_back(unescape(field, storage->unescaped));
        first = false;
        continue;
      }
      if (field.empty()) continue;
      ItemCorpus::Attribute attribute;
      const std::size_t colon = find_colon(field);
      if (colon == 0) error("an attribute has no name");
      attribute.name = unescape(field.substr(0, colon), storage->unescaped);
      if (colon != std::string_view::npos) {
        const std::string_view number = field.substr(colon + 1);
        const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), attribute.value);
        if (code != std::errc() || end != number.data() + number.size() || number.empty() ||
            !std::isfinite(attribute.value))
          error("the value '", number, "' of attribute '", attribute.name, "' is not a finite number");
        corpus.has_values_ |= attribute.value != 1;
      }
      corpus.attributes_.push_back(attribute);
    }
    corpus.starts_.push_back(static_cast<std::int64_t>(corpus.attributes_.size()));
    ++item;
  }
  end_sequence();
  if (item == 0) fail<IoError>("read_items", path.string(), ": no item in the file");
  corpus.storage_ = storage;
  return corpus;
}

}  // namespace tapestry
