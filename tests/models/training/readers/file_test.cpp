#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("read_bytes: plain and gzipped contents are the same, at sizes around the buffers") {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 262143u, 262144u, 262145u, 1000000u}) {
    std::string bytes(size, '\0');
    unsigned state = 7;
    for (char& c : bytes) c = static_cast<char>((state = state * 1664525u + 1013904223u) >> 24);
    if (size > 1) bytes[0] = 'x';
    CHECK(read_bytes(folder.write("plain", bytes)) == bytes);
    CHECK(read_bytes(folder.write_gz("packed.gz", bytes)) == bytes);
  }
}

TEST_CASE("FileReader: offset counts content bytes, reads stop at the end") {
  const TemporaryFolder folder;
  FileReader reader(folder.write_gz("x.gz", "hello"));
  char buffer[8];
  CHECK(reader.read(buffer, 2) == 2);
  CHECK(reader.offset() == 2);
  FileReader moved = std::move(reader);
  CHECK(moved.read(buffer, 8) == 3);
  CHECK(std::string(buffer, 3) == "llo");
  CHECK(moved.read(buffer, 8) == 0);
  CHECK(moved.offset() == 5);
}

TEST_CASE("FileReader: missing files, folders, truncated and damaged gzip are errors that name the file") {
  const TemporaryFolder folder;
  CHECK(contains(thrown<IoError>([&] { read_bytes(folder.file("absent")); }), "absent: No such file"));
  CHECK(contains(thrown<IoError>([&] { read_bytes(folder.path()); }), "is a directory"));
  std::string text;
  for (int i = 0; i < 20000; ++i) text += std::to_string(i * 7919 % 10007);
  folder.write_gz("whole.gz", text);
  const std::string packed = folder.read("whole.gz");
  for (const std::size_t size : {packed.size() - 1, packed.size() / 2, std::size_t{12}})
    CHECK(contains(thrown<IoError>([&] { read_bytes(folder.write("cut.gz", packed.substr(0, size))); }),
                   "cut.gz: truncated gzip stream"));
  std::string broken = packed;
  broken[packed.size() - 6] = static_cast<char>(broken[packed.size() - 6] ^ 1);
  CHECK(contains(thrown<IoError>([&] { read_bytes(folder.write("crc.gz", broken)); }), "crc.gz: damaged gzip stream"));
}

TEST_CASE("read_text: well-formed UTF-8 passes, anything else is reported with line and column") {
  const TemporaryFolder folder;
  const std::string good = "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBD\nplain ascii line that is long\n";
  CHECK(read_text(folder.write("good", good)) == good);
  CHECK(read_text(folder.write("bom", "\xEF\xBB\xBF" + good)) == good);
  const char* const bad[] = {"\x80",
                             "\xC0\xAF",
                             "\xE0\x80\x80",
                             "\xED\xA0\x80",
                             "\xF0\x80\x80\x80",
                             "\xF4\x90\x80\x80",
                             "\xF5\x80\x80\x80",
                             "\xE9 latin",
                             "\xE2\x82"};
  for (const char* sequence : bad)
    CHECK(contains(thrown<IoError>([&] { read_text(folder.write("bad", "0123456789\nab" + std::string(sequence))); }),
                   "bad:2:3: not UTF-8 text"));
  CHECK(contains(thrown<IoError>([&] { read_text(folder.write("nul", std::string("abcdefgh\0hij", 12))); }),
                 "nul:1:9: not UTF-8 text (byte 0x00)"));
}

TEST_CASE("LineScanner: line ends and numbers") {
  LineScanner lines("a\r\n\nb\rc\nlast");
  std::string_view line;
  std::string all;
  while (lines.next(line)) all += "[" + std::string(line) + "]";
  CHECK(all == "[a][][b\rc][last]");
  CHECK(lines.number() == 4);
  CHECK_FALSE(LineScanner("").next(line));
}
