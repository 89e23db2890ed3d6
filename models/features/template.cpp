#include <tapestry/models/features/template.hpp>

#include <charconv>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

namespace tapestry {

FeatureTemplate parse_template(std::string_view text) {
  const auto error = [&](const char* what) { fail("parse_template", "'", text, "': ", what); };
  FeatureTemplate result;
  std::size_t at = text.find("%x");
  if (at == std::string_view::npos || at == 0) error("expected NAME:%x[row,column]/...");
  result.name = text.substr(0, at);
  while (result.name.ends_with(':')) result.name.pop_back();
  const char* const end = text.data() + text.size();
  for (;;) {
    if (text.substr(at, 3) != "%x[") error("expected %x[row,column]");
    FeatureTemplate::Cell cell{};
    const auto [comma, row_code] = std::from_chars(text.data() + at + 3, end, cell.offset);
    if (row_code != std::errc() || comma == end || *comma != ',') error("expected a row and a comma");
    const auto [bracket, column_code] = std::from_chars(comma + 1, end, cell.column);
    if (column_code != std::errc() || bracket == end || *bracket != ']' || cell.column < 0)
      error("expected a column and a bracket");
    result.cells.push_back(cell);
    at = static_cast<std::size_t>(bracket + 1 - text.data());
    if (at == text.size()) return result;
    if (text[at] != '/') error("expected / between cells");
    ++at;
  }
}

std::vector<FeatureTemplate> parse_templates(std::string_view text) {
  std::vector<FeatureTemplate> templates;
  LineScanner lines(text);
  for (std::string_view line; lines.next(line);) {
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#' || line.front() == 'B') continue;
    try {
      templates.push_back(parse_template(line));
    } catch (const Error& e) {
      fail("parse_templates", "line ", lines.number(), ": ", e.what());
    }
  }
  return templates;
}

std::vector<FeatureTemplate> chunking_templates() {
  std::vector<FeatureTemplate> templates;
  const auto add = [&](const char* column_name, int column, int first, int last) {
    FeatureTemplate result;
    for (int offset = first; offset <= last; ++offset) {
      result.name += (offset > first ? "|" : "") + std::string(column_name) + "[" + std::to_string(offset) + "]";
      result.cells.push_back({offset, column});
    }
    templates.push_back(std::move(result));
  };
  for (int offset = -2; offset <= 2; ++offset) add("w", 0, offset, offset);
  for (int offset = -1; offset <= 0; ++offset) add("w", 0, offset, offset + 1);
  for (int length = 1; length <= 3; ++length)
    for (int offset = -2; offset + length - 1 <= 2; ++offset) add("pos", 1, offset, offset + length - 1);
  return templates;
}

}  // namespace tapestry
