#include <tapestry/autodiff/input_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {

InputFile::InputFile(std::string operation, const std::filesystem::path& path)
    : operation_(std::move(operation)), place_(path.string()) {
  // Opening a FIFO must not wait for a writer.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) fail<IoError>(operation_, place_, ": ", std::generic_category().message(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail<IoError>(operation_, place_, ": this is no regular file");
  }
  bytes_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

void InputFile::read(std::uint64_t offset, void* data, std::size_t bytes) const {
  auto* to = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got =
        ::pread(descriptor_, to, std::min<std::size_t>(bytes, std::size_t{1} << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail<IoError>(operation_, place_, ", offset ", offset, ": ", std::generic_category().message(errno));
    if (got == 0) fail<IoError>(operation_, place_, ", offset ", offset, ": the file ends ", bytes, " bytes too early");
    to += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
}

std::string InputFile::read(std::uint64_t offset, std::size_t bytes) const {
  std::string out(bytes, '\0');
  read(offset, out.data(), bytes);
  return out;
}

}  // namespace tapestry::detail
