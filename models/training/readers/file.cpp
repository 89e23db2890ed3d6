#include <tapestry/models/training/readers/file.hpp>

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr std::size_t chunk = std::size_t{1} << 18;

/// Offset of the first byte that is not well-formed UTF-8 (Unicode, table 3-7) or NUL; npos when all is well.
std::size_t find_invalid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const std::size_t n = text.size();
  const auto continues = [&](std::size_t i) { return i < n && (p[i] & 0xC0) == 0x80; };
  std::size_t i = 0;
  while (i < n) {
    if (i + 8 <= n) {
      std::uint64_t word;
      std::memcpy(&word, p + i, 8);
      constexpr std::uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
      if (((word | (word - ones)) & high) == 0) {  // eight bytes from 1 to 127
        i += 8;
        continue;
      }
    }
    const unsigned char c = p[i];
    std::size_t length = 0;
    if (c >= 1 && c < 0x80) {
      length = 1;
    } else if (c >= 0xC2 && c < 0xE0) {
      length = 2;
    } else if (c >= 0xE0 && c < 0xF0) {
      if (i + 1 < n && !(c == 0xE0 && p[i + 1] < 0xA0) && !(c == 0xED && p[i + 1] > 0x9F)) length = 3;
    } else if (c >= 0xF0 && c < 0xF5) {
      if (i + 1 < n && !(c == 0xF0 && p[i + 1] < 0x90) && !(c == 0xF4 && p[i + 1] > 0x8F)) length = 4;
    }
    if (length == 0) return i;
    for (std::size_t k = 1; k < length; ++k)
      if (!continues(i + k)) return i;
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace

FileReader::FileReader(const std::filesystem::path& path) : path_(path.string()) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail<IoError>("read", path_, ": is a directory");
  errno = 0;
  gzFile file = gzopen(path_.c_str(), "rb");
  if (!file) fail<IoError>("read", path_, ": ", errno ? std::strerror(errno) : "out of memory");
  gzbuffer(file, 1 << 17);
  file_ = file;
}

FileReader::~FileReader() {
  if (file_) gzclose_r(static_cast<gzFile>(file_));
}

FileReader::FileReader(FileReader&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)), offset_(other.offset_) {}

FileReader& FileReader::operator=(FileReader&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(offset_, other.offset_);
  return *this;
}

std::size_t FileReader::read(void* out, std::size_t n) {
  const auto file = static_cast<gzFile>(file_);
  std::size_t done = 0;
  while (done < n) {
    const auto want = static_cast<unsigned>(std::min(n - done, std::size_t{1} << 30));
    const int got = gzread(file, static_cast<char*>(out) + done, want);
    if (got > 0) {
      done += static_cast<std::size_t>(got);
      offset_ += static_cast<std::uint64_t>(got);
    }
    if (got == static_cast<int>(want)) continue;
    int code = Z_OK;
    const char* message = gzerror(file, &code);
    if (code == Z_BUF_ERROR)
      fail<IoError>("read", path_, ": truncated gzip stream after ", offset_, " bytes of content");
    if (code == Z_ERRNO) fail<IoError>("read", path_, ": ", std::strerror(errno));
    if (code != Z_OK && code != Z_STREAM_END)
      fail<IoError>("read", path_, ": damaged gzip stream after ", offset_, " bytes of content (", message, ")");
    break;
  }
  return done;
}

std::string read_bytes(const std::filesystem::path& path) {
  FileReader file(path);
  std::string bytes;
  std::size_t size = 0;
  for (;;) {
    bytes.resize(std::max(size + chunk, bytes.size() < size + chunk ? size * 2 : 0));
    const std::size_t got = file.read(bytes.data() + size, bytes.size() - size);
    size += got;
    if (size < bytes.size()) break;
  }
  bytes.resize(size);
  return bytes;
}

std::string read_text(const std::filesystem::path& path) {
  std::string text = read_bytes(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  const std::size_t bad = find_invalid_utf8(text);
  if (bad != std::string::npos) {
    const std::string_view before = std::string_view(text).substr(0, bad);
    std::int64_t line = 1;
    for (const char c : before) line += c == '\n';
    const std::size_t start = before.rfind('\n');
    const std::size_t column = bad - (start == std::string_view::npos ? 0 : start + 1) + 1;
    constexpr char digits[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(text[bad]);
    fail<IoError>("read_text", path.string(), ":", line, ":", column, ": not UTF-8 text (byte 0x", digits[byte >> 4],
                  digits[byte & 15], ")");
  }
  return text;
}

}  // namespace tapestry
