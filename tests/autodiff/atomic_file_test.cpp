#include <tapestry/autodiff/atomic_file.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>

using namespace tapestry;
using detail::AtomicFile;

namespace {

struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("tapestry_atomic_file_" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::ptrdiff_t files() const {
    return std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator());
  }
};

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("atomic file: appears on commit, replaces, leaves nothing else") {
  const Folder folder;
  const auto path = folder.path / "a";
  {
    AtomicFile file("save", path);
    file.write("one", 3);
    file.write(" two", 4);
    CHECK_FALSE(std::filesystem::exists(path));
    file.commit();
    CHECK(contents(path) == "one two");
  }
  {
    AtomicFile first("save", path), second("save", path);
    first.write("3", 1);
    second.write("4", 1);
    first.commit();
    second.commit();
  }
  CHECK(contents(path) == "4");
  CHECK(folder.files() == 1);
}

TEST_CASE("atomic file: what is not committed is gone, and the old contents stay") {
  const Folder folder;
  const auto path = folder.path / "a";
  std::ofstream(path) << "old";
  {
    AtomicFile file("save", path);
    file.write("new", 3);
  }
  CHECK(contents(path) == "old");
  CHECK(folder.files() == 1);
}

TEST_CASE("atomic file: errors name the operation and the path") {
  const Folder folder;
  const auto absent = folder.path / "absent" / "a";
  try {
    AtomicFile file("save", absent);
    FAIL("created in a folder that does not exist");
  } catch (const IoError& error) {
    CHECK(std::string(error.what()) == "save: " + absent.string() + " cannot be created (No such file or directory)");
  }
  std::filesystem::create_directories(folder.path / "taken" / "inside");
  {
    AtomicFile file("save", folder.path / "taken");
    CHECK_THROWS_AS(file.commit(), IoError);
  }
  CHECK(folder.files() == 1);
  // What is no file stays what it is.
  const auto pipe = folder.path / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(AtomicFile("save", pipe),
                       ("save: " + pipe.string() + " is not a regular file, and is not replaced by one").c_str(),
                       IoError);
  CHECK(std::filesystem::is_fifo(pipe));
}
