#include <tapestry/autodiff/atomic_file.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {

AtomicFile::AtomicFile(std::string operation, std::filesystem::path path)
    : operation_(std::move(operation)), path_(std::move(path)) {
  // A device or a pipe would be gone, and a file in its place.
  std::error_code none;
  const std::filesystem::file_status there = std::filesystem::status(path_, none);
  if (std::filesystem::exists(there) && !std::filesystem::is_regular_file(there) &&
      !std::filesystem::is_directory(there))
    fail<IoError>(operation_, path_.string(), " is not a regular file, and is not replaced by one");
  static std::atomic<unsigned> files{0};
  do {
    beside_ = path_;
    beside_ += "." + std::to_string(::getpid()) + "." + std::to_string(files++) + ".part";
    descriptor_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && (errno == EEXIST || errno == EINTR));
  if (descriptor_ < 0) fail_now("cannot be created");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(beside_.c_str());
}

void AtomicFile::fail_now(const char* what) const {
  const int error = errno;
  fail<IoError>(operation_, path_.string(), " ", what, " (", std::generic_category().message(error), ")");
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(descriptor_, from, std::min<std::size_t>(bytes, 1 << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_now("cannot be written");
    from += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_now("cannot be written to the disk");
  if (::rename(beside_.c_str(), path_.c_str()) != 0) fail_now("cannot be replaced");
  ::close(descriptor_);
  descriptor_ = -1;
  // The new name is in its folder's data; some file systems cannot flush a folder, and need not.
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  const int parent = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return;
  ::fsync(parent);
  ::close(parent);
}

}  // namespace tapestry::detail
