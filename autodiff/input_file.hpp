#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace tapestry::detail {

/// A regular file that is read at given offsets.
class InputFile {
 public:
  /// `operation` is what errors start with. @throws IoError
  InputFile(std::string operation, const std::filesystem::path& path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t bytes() const noexcept { return bytes_; }
  /// The path, for messages.
  const std::string& place() const noexcept { return place_; }
  const std::string& operation() const noexcept { return operation_; }
  /// @throws IoError where the file does not have as many bytes there
  void read(std::uint64_t offset, void* data, std::size_t bytes) const;
  std::string read(std::uint64_t offset, std::size_t bytes) const;

 private:
  std::string operation_, place_;
  int descriptor_ = -1;
  std::uint64_t bytes_ = 0;
};

}  // namespace tapestry::detail
