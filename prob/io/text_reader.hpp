#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {

/// The text of a file, unpacked where it is gzipped. @throws IoError
std::string read_text(std::string_view operation, const std::string& path);

/// Writes all or throws. @throws IoError
void write_text(std::string_view operation, const std::string& path, std::string_view text);

/// The shortest text that reads back as the same double.
void append_number(std::string& out, double value);

/// Walks over a text of numbers between white space, knowing the line for errors. Lines that begin with the letter c
/// are comments.
class TextReader {
 public:
  TextReader(std::string_view operation, std::string_view file, std::string_view text)
      : operation_(operation), file_(file), text_(text) {}

  /// Whether only white space and comments are left; moves behind them.
  bool at_end();
  /// The next run of other than white space outside comments, empty at the end.
  std::string_view word();
  /// @throws IoError unless the next word is an integer in [low, high]; `what` names it.
  std::int64_t integer(std::string_view what, std::int64_t low, std::int64_t high);
  /// A number of things each of which needs a word: beyond what the rest of the file can hold it is refused, so that
  /// nothing is allocated on the word of a lying header. @throws IoError
  std::int64_t count(std::string_view what);
  /// @throws IoError unless the next word is a finite number.
  double number(std::string_view what);

  std::int64_t line() const { return line_; }
  /// Words that may still follow.
  std::int64_t words_left() const { return static_cast<std::int64_t>((text_.size() - position_ + 1) / 2); }

  template <class... Parts>
  [[noreturn]] void error_at(std::int64_t line, const Parts&... parts) const {
    fail<IoError>(operation_, file_, ":", line, ": ", parts...);
  }
  template <class... Parts>
  [[noreturn]] void error(const Parts&... parts) const {
    error_at(line_, parts...);
  }

 private:
  std::string_view operation_;
  std::string_view file_;
  std::string_view text_;
  std::size_t position_ = 0;
  std::int64_t line_ = 1;
};

/// A finite double that makes up the whole word, rounded to nearest (to zero below the least one), or false.
bool parse_number(std::string_view word, double& value);
bool parse_integer(std::string_view word, std::int64_t& value);
/// At most 40 characters of a word, for messages.
std::string excerpt(std::string_view word);

}  // namespace tapestry::detail
