#include <tapestry/models/training/readers/csv.hpp>

#include <charconv>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

namespace tapestry {
namespace {

/// Splits a text into records. A field without quotes is a view of the text.
class CsvScanner {
 public:
  CsvScanner(std::string path, std::string_view text, const CsvOptions& options)
      : path_(std::move(path)), text_(text), options_(options) {}

  /// Calls field(column, view) for every field of the next record and returns their number; 0 at the end.
  template <class Field>
  std::int64_t record(Field&& field) {
    while (at_ < text_.size() && (text_[at_] == '\n' || (text_[at_] == '\r' && peek(1) == '\n'))) {
      at_ += text_[at_] == '\n' ? 1 : 2;
      ++next_line_;
    }
    if (at_ >= text_.size()) return 0;
    line_ = next_line_;
    for (std::int64_t column = 0;; ++column) {
      field(column, read_field(column));
      if (at_ < text_.size() && text_[at_] == options_.separator) {
        ++at_;
        continue;
      }
      if (at_ < text_.size()) {  // at the line's end
        at_ += text_[at_] == '\r' ? 2 : 1;
        ++next_line_;
      }
      return column + 1;
    }
  }

  template <class... Parts>
  [[noreturn]] void error(std::int64_t column, const Parts&... parts) const {
    fail<IoError>("read_csv", path_, ":", line_, ": field ", column + 1, ": ", parts...);
  }
  template <class... Parts>
  [[noreturn]] void record_error(const Parts&... parts) const {
    fail<IoError>("read_csv", path_, ":", line_, ": ", parts...);
  }

 private:
  char peek(std::size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool at_end_of_field() const {
    return at_ >= text_.size() || text_[at_] == options_.separator || text_[at_] == '\n' ||
           (text_[at_] == '\r' && (at_ + 1 == text_.size() || peek(1) == '\n'));
  }

  std::string_view read_field(std::int64_t column) {
    if (at_ >= text_.size() || text_[at_] != options_.quote) {
      const std::size_t start = at_;
      while (!at_end_of_field()) ++at_;
      const auto view = text_.substr(start, at_ - start);
      if (at_ + 1 == text_.size() && text_[at_] == '\r') ++at_;
      return view;
    }
    quoted_.clear();
    for (++at_;; ++at_) {
      if (at_ >= text_.size()) error(column, "a quote is never closed");
      if (text_[at_] == options_.quote) {
        if (peek(1) != options_.quote) break;
        ++at_;
      }
      next_line_ += text_[at_] == '\n';
      quoted_ += text_[at_];
    }
    ++at_;
    if (!at_end_of_field()) error(column, "text after a closing quote");
    if (at_ + 1 == text_.size() && text_[at_] == '\r') ++at_;
    return quoted_;
  }

  std::string path_;
  std::string_view text_;
  CsvOptions options_;
  std::size_t at_ = 0;
  std::int64_t line_ = 0;
  std::int64_t next_line_ = 1;
  std::string quoted_;
};

template <class T>
bool parse(std::string_view field, T& value) {
  while (!field.empty() && (field.front() == ' ' || field.front() == '\t')) field.remove_prefix(1);
  while (!field.empty() && (field.back() == ' ' || field.back() == '\t')) field.remove_suffix(1);
  if (field.starts_with('+')) {
    field.remove_prefix(1);
    if (field.starts_with('-')) return false;
  }
  const auto [end, code] = std::from_chars(field.data(), field.data() + field.size(), value);
  return code == std::errc() && end == field.data() + field.size() && !field.empty();
}

}  // namespace

CsvTable read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  const std::string text = read_text(path);
  CsvScanner scanner(path.string(), text, options);
  CsvTable table;
  std::vector<std::string> row;
  std::int64_t columns = -1;
  for (;;) {
    row.clear();
    const std::int64_t n = scanner.record([&](std::int64_t, std::string_view field) { row.emplace_back(field); });
    if (n == 0) break;
    if (columns < 0) {
      columns = n;
      if (options.header) {
        table.header = row;
        continue;
      }
    }
    if (n != columns) scanner.record_error(n, " fields where the first line has ", columns);
    table.rows.push_back(row);
  }
  if (columns < 0) fail<IoError>("read_csv", path.string(), ": empty file");
  return table;
}

template <class T>
Tensor<T> read_csv_numbers(const std::filesystem::path& path, const CsvOptions& options) {
  const std::string text = read_text(path);
  CsvScanner scanner(path.string(), text, options);
  std::vector<T> values;
  std::int64_t columns = -1, rows = 0;
  if (options.header) {
    columns = scanner.record([](std::int64_t, std::string_view) {});
    if (columns == 0) columns = -1;
  }
  for (;;) {
    const std::int64_t n = scanner.record([&](std::int64_t column, std::string_view field) {
      T value{};
      if (!parse(field, value)) scanner.error(column, "'", field, "' is not a number of the asked type");
      values.push_back(value);
    });
    if (n == 0) break;
    if (columns < 0) columns = n;
    if (n != columns) scanner.record_error(n, " fields where the first line has ", columns);
    ++rows;
  }
  if (columns < 0) fail<IoError>("read_csv", path.string(), ": empty file");
  auto tensor = empty_tensor<T>({rows, columns});
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

template Tensor<std::int64_t> read_csv_numbers(const std::filesystem::path&, const CsvOptions&);
template Tensor<float> read_csv_numbers(const std::filesystem::path&, const CsvOptions&);
template Tensor<double> read_csv_numbers(const std::filesystem::path&, const CsvOptions&);

}  // namespace tapestry
