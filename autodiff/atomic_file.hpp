#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace tapestry::detail {

/// A file that appears whole or not at all: it is written beside its path under another name, and commit() puts it in
/// place. Whoever reads the path meanwhile, or after a crash at any moment, finds the old contents.
class AtomicFile {
 public:
  /// `operation` is what errors start with. @throws IoError
  AtomicFile(std::string operation, std::filesystem::path path);
  /// Removes what was not committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends. @throws IoError
  void write(const void* data, std::size_t bytes);
  /// Flushes to the disk and renames over the path. @throws IoError
  void commit();

 private:
  [[noreturn]] void fail_now(const char* what) const;

  std::string operation_;
  std::filesystem::path path_, beside_;
  int descriptor_ = -1;
};

}  // namespace tapestry::detail
