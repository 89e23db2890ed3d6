#include <tapestry/prob/io/text_reader.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>

#include <zlib.h>

namespace tapestry::detail {
namespace {

constexpr std::size_t largest_text = std::size_t{1} << 32;

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

}  // namespace

std::string read_text(std::string_view operation, const std::string& path) {
  const auto close = [](gzFile file) { gzclose(file); };
  const std::unique_ptr<gzFile_s, decltype(close)> file(gzopen(path.c_str(), "rb"), close);
  if (!file) fail<IoError>(operation, path, ": cannot be opened");
  std::string text;
  std::string block(std::size_t{1} << 16, '\0');
  while (true) {
    const int n = gzread(file.get(), block.data(), static_cast<unsigned>(block.size()));
    if (n < 0) {
      int code = 0;
      const std::string reason = gzerror(file.get(), &code);
      fail<IoError>(operation, path, ": cannot be read at byte ", text.size(), ": ", reason);
    }
    if (n == 0) break;
    if (text.size() + static_cast<std::size_t>(n) > largest_text)
      fail<IoError>(operation, path, ": unpacks to more than ", largest_text, " bytes");
    text.append(block.data(), static_cast<std::size_t>(n));
  }
  int code = 0;
  gzerror(file.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END) fail<IoError>(operation, path, ": truncated after byte ", text.size());
  return text;
}

void write_text(std::string_view operation, const std::string& path, std::string_view text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) fail<IoError>(operation, path, ": cannot be opened for writing");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if ((std::fclose(file) != 0) || !written) fail<IoError>(operation, path, ": cannot be written");
}

void append_number(std::string& out, double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  out.append(buffer, end);
}

bool parse_number(std::string_view word, double& value) {
  if (!word.empty() && word.front() == '+') word.remove_prefix(1);
  if (word.empty()) return false;
  auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (code == std::errc::result_out_of_range) {
    // Too large, or nearer to zero than to any other double.
    long double wide = 0;
    code = std::from_chars(word.data(), word.data() + word.size(), wide).ec;
    value = static_cast<double>(wide);
  }
  return code == std::errc() && end == word.data() + word.size() && std::isfinite(value);
}

bool parse_integer(std::string_view word, std::int64_t& value) {
  if (word.empty()) return false;
  const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
  return code == std::errc() && end == word.data() + word.size();
}

std::string excerpt(std::string_view word) {
  std::string out;
  for (const char c : word.substr(0, 40)) out += c >= ' ' && c <= '~' ? c : '?';
  return word.size() > 40 ? out + "..." : out;
}

bool TextReader::at_end() {
  bool fresh = position_ == 0;  // whether a line begins
  for (; position_ < text_.size(); ++position_) {
    const char c = text_[position_];
    if (c == 'c' && fresh) {
      position_ = std::min(text_.find('\n', position_), text_.size());
      if (position_ == text_.size()) break;
    } else if (!is_space(c)) {
      break;
    }
    fresh = fresh || text_[position_] == '\n';
    line_ += text_[position_] == '\n';
  }
  return position_ == text_.size();
}

std::string_view TextReader::word() {
  if (at_end()) return {};
  const std::size_t start = position_;
  while (position_ < text_.size() && !is_space(text_[position_])) ++position_;
  return text_.substr(start, position_ - start);
}

std::int64_t TextReader::integer(std::string_view what, std::int64_t low, std::int64_t high) {
  const auto w = word();
  if (w.empty()) error("the file ends where ", what, " should be");
  std::int64_t value = 0;
  if (!parse_integer(w, value)) error(what, " should be an integer, not '", excerpt(w), "'");
  if (value < low || value > high) error(what, " is ", value, ", outside ", low, "..", high);
  return value;
}

std::int64_t TextReader::count(std::string_view what) {
  const std::int64_t value = integer(what, 0, INT64_MAX);
  if (value > words_left()) error(what, " is ", value, ", more than the rest of the file can hold");
  return value;
}

double TextReader::number(std::string_view what) {
  const auto w = word();
  if (w.empty()) error("the file ends where ", what, " should be");
  double value = 0;
  if (!parse_number(w, value)) error(what, " should be a finite number, not '", excerpt(w), "'");
  return value;
}

}  // namespace tapestry::detail
