#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tapestry {

/// Reads a file from front to end, through gzip where its first bytes say so.
class FileReader {
 public:
  /// @throws IoError when the file cannot be opened.
  explicit FileReader(const std::filesystem::path& path);
  ~FileReader();
  FileReader(FileReader&& other) noexcept;
  FileReader& operator=(FileReader&& other) noexcept;

  /// Reads up to n bytes and returns how many there were; fewer only at the end of the file.
  /// @throws IoError on a read error, a damaged or a truncated gzip stream.
  std::size_t read(void* out, std::size_t n);
  /// Bytes read so far, counted after decompression.
  std::uint64_t offset() const noexcept { return offset_; }
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  void* file_ = nullptr;
  std::uint64_t offset_ = 0;
};

/// The whole (decompressed) contents of a file. @throws IoError
std::string read_bytes(const std::filesystem::path& path);

/// The contents of a UTF-8 text file without its byte-order mark.
/// @throws IoError naming line and column of the first byte that is no UTF-8 text (or NUL).
std::string read_text(const std::filesystem::path& path);

/// Walks over the lines of a text; LF and CR LF end a line, the last one may go without.
class LineScanner {
 public:
  explicit LineScanner(std::string_view text) : rest_(text) {}
  /// Sets the next line, without its end. False when there is none.
  bool next(std::string_view& line) {
    if (rest_.empty()) return false;
    const std::size_t end = rest_.find('\n');
    line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    ++number_;
    return true;
  }
  /// The number of the line last read, from 1.
  std::int64_t number() const noexcept { return number_; }

 private:
  std::string_view rest_;
  std::int64_t number_ = 0;
};

}  // namespace tapestry
