#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/letters.hpp>

#include <cstdlib>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

std::string letter(const std::string& head, int ones, const std::string& tail = "") {
  std::string line = head;
  for (int i = 0; i < 128; ++i) line += i < ones ? "\t1" : "\t0";
  return line + tail + "\n";
}

}  // namespace

TEST_CASE("read_letters: words, labels, folds, pixels") {
  const TemporaryFolder folder;
  const auto data = read_letters(folder.write_gz(
      "l.gz", letter("1\to\t2\t1\t1\t0", 1) + letter("2\tz\t-1\t1\t2\t0", 128, "\t") + letter("9\ta\t-1\t7\t4\t3", 0)));
  CHECK(data.words() == 2);
  CHECK(data.labels == std::vector<std::int64_t>{14, 25, 0});
  CHECK(data.offsets == std::vector<std::int64_t>{0, 2, 3});
  CHECK(data.folds == std::vector<std::int64_t>{0, 3});
  REQUIRE(data.pixels.size() == 3 * 128);
  CHECK(data.pixels[0] == 1);
  CHECK(data.pixels[1] == 0);
  CHECK(data.pixels[255] == 1);
}

TEST_CASE("read_letters: errors name file and line") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& content) {
    return thrown<IoError>([&] { read_letters(folder.write("f", content)); });
  };
  const std::string first = letter("1\to\t2\t1\t1\t0", 1);
  CHECK(contains(message(""), "f: no letter"));
  CHECK(contains(message(first), "f:1: the file ends inside a word"));
  CHECK(contains(message(first + letter("3\tm\t-1\t1\t2\t0", 0)), "f:2: id 3 where the letter before announced 2"));
  CHECK(contains(message(first + letter("2\tm\t-1\t2\t2\t0", 0)), "f:2: word or fold changes"));
  CHECK(contains(message(first + letter("2\tm\t-1\t1\t3\t0", 0)), "f:2: position 3 follows 1"));
  CHECK(contains(message(letter("1\tO\t-1\t1\t1\t0", 1)), "f:1: the letter 'O'"));
  CHECK(contains(message(letter("x\to\t-1\t1\t1\t0", 1)), "f:1: the id 'x'"));
  CHECK(contains(message(letter("1\to\t-1\t1\t1\t0", 1, "\t0")), "more than 128 pixels"));
  CHECK(contains(message("1\to\t-1\t1\t1\t0\t0\t1\n"), "f:1: the line ends before the"));
  CHECK(contains(message("1\to\t-1\t1\t1\t0\t2\n"), "f:1: pixel 1 is '2'"));
}

TEST_CASE("read_letters: the words of the folds") {
  const char* const root = std::getenv("TAPESTRY_DATA");
  if (!root) {
    MESSAGE("TAPESTRY_DATA is not set: not run");
    return;
  }
  const auto data = read_letters(std::filesystem::path(root) / "ocr_letters/letter.fold0vs1.data.gz");
  CHECK(data.labels.size() == 52152);
  CHECK(data.words() == 6877);
  std::int64_t fold0 = 0;
  for (const auto fold : data.folds) fold0 += fold == 0;
  CHECK(fold0 == 626);
}
