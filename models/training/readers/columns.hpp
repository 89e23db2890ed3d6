#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tapestry {

/// A corpus in columns (CoNLL shared tasks): one token a line, its columns split by blanks or tabs, an empty line
/// after each sentence. Copies share the text.
class ColumnCorpus {
 public:
  std::int64_t sentences() const noexcept { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int64_t tokens() const noexcept { return offsets_.back(); }
  int columns() const noexcept { return columns_; }
  /// First token of a sentence; sentence_begin(sentences()) is tokens().
  std::int64_t sentence_begin(std::int64_t sentence) const noexcept {
    return offsets_[static_cast<std::size_t>(sentence)];
  }
  std::int64_t sentence_length(std::int64_t sentence) const noexcept {
    return sentence_begin(sentence + 1) - sentence_begin(sentence);
  }
  std::string_view cell(std::int64_t token, int column) const noexcept {
    return cells_[static_cast<std::size_t>(token * columns_ + column)];
  }
  const std::vector<std::int64_t>& offsets() const noexcept { return offsets_; }

 private:
  friend ColumnCorpus read_columns(const std::filesystem::path&, int);
  std::shared_ptr<const std::string> text_;
  std::vector<std::string_view> cells_;
  std::vector<std::int64_t> offsets_{0};
  int columns_ = 0;
};

/// Reads a corpus in columns, plain or gzipped. `columns` is how many each line must have; 0 takes the first line's.
/// @throws IoError with file and line: not UTF-8, a line with another number of columns, no token at all.
ColumnCorpus read_columns(const std::filesystem::path& path, int columns = 0);

}  // namespace tapestry
