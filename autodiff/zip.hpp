#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/input_file.hpp>

namespace tapestry::detail {

/// A member of a .zip archive.
struct ZipEntry {
  std::string name;
  std::uint16_t method = 0;  ///< 0 stored, 8 deflated
  std::uint32_t checksum = 0, compressed = 0, size = 0;
  std::uint64_t header_offset = 0, data_offset = 0;
};

/// Reads .zip archives (PKWARE's APPNOTE): stored and deflated members; no encryption, no zip64, one volume.
class ZipReader {
 public:
  /// Reads the directory and checks that the members lie in the file, one after the other. @throws IoError
  ZipReader(std::string operation, const std::filesystem::path& path);

  const std::vector<ZipEntry>& entries() const noexcept { return entries_; }
  /// The first `bytes` bytes of a member (fewer where it is shorter). @throws IoError
  std::string prefix(const ZipEntry& entry, std::uint64_t bytes) const;
  /// All of a member, in two parts that together have its size; checks its sum. @throws IoError
  void read(const ZipEntry& entry, std::span<char> head, std::span<char> rest) const;

 private:
  [[noreturn]] void wrong(std::uint64_t offset, const std::string& what) const;
  std::uint64_t find_directory();
  void locate(ZipEntry& entry) const;

  InputFile file_;
  std::vector<ZipEntry> entries_;
};

/// Writes one member after the other, and the directory at the end.
class ZipWriter {
 public:
  ZipWriter(std::string operation, const std::filesystem::path& path, bool compress);

  /// Adds a member that consists of head and rest. @throws IoError where it, or the archive, exceeds 4 GiB
  void add(const std::string& name, std::string_view head, std::string_view rest);
  /// @throws IoError
  void commit();

 private:
  void check_size(std::uint64_t bytes) const;

  std::string operation_, place_;
  bool compress_;
  AtomicFile file_;
  std::uint64_t written_ = 0;
  std::vector<ZipEntry> entries_;
};

}  // namespace tapestry::detail
