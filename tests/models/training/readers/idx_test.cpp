#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/idx.hpp>

#include <cstdlib>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) text += static_cast<char>(value);
  return text;
}

std::string message(const TemporaryFolder& folder, const std::string& content) {
  return thrown<IoError>([&] { read_idx<std::uint8_t>(folder.write("f", content)); });
}

}  // namespace

TEST_CASE("read_idx: every element type, plain and gzipped") {
  const TemporaryFolder folder;
  const std::string small = bytes({0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 1, 2, 253, 254, 255});
  for (const auto& path : {folder.write("a", small), folder.write_gz("a.gz", small)}) {
    const auto u = read_idx<std::uint8_t>(path);
    CHECK(shape_of(u) == Shape{2, 3});
    CHECK(u(1, 2) == 255);
    CHECK(read_idx<float>(path)(1, 0) == 253.f);
    CHECK(read_idx<std::int64_t>(path)(0, 2) == 2);
  }
  CHECK(read_idx<double>(folder.write("s8", bytes({0, 0, 9, 1, 0, 0, 0, 1, 255})))(0) == -1);
  CHECK(read_idx<double>(folder.write("s16", bytes({0, 0, 11, 1, 0, 0, 0, 1, 255, 254})))(0) == -2);
  CHECK(read_idx<std::int64_t>(folder.write("s32", bytes({0, 0, 12, 1, 0, 0, 0, 1, 128, 0, 0, 1})))(0) == -2147483647);
  CHECK(read_idx<double>(folder.write("f32", bytes({0, 0, 13, 1, 0, 0, 0, 1, 0x3F, 0xC0, 0, 0})))(0) == 1.5);
  CHECK(read_idx<double>(folder.write("f64", bytes({0, 0, 14, 1, 0, 0, 0, 1, 0xBF, 0xF8, 0, 0, 0, 0, 0, 0})))(0) ==
        -1.5);
  CHECK(shape_of(read_idx<float>(folder.write("none", bytes({0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 3})))) == Shape{0, 3});
}

TEST_CASE("read_idx: what is wrong with a file is told with its offset") {
  const TemporaryFolder folder;
  CHECK(contains(message(folder, ""), "f: empty file"));
  CHECK(contains(message(folder, bytes({0, 0, 8})), "offset 3: ends inside the magic"));
  CHECK(contains(message(folder, bytes({1, 2, 8, 1, 0, 0, 0, 0})), "offset 0: not an IDX file"));
  CHECK(contains(message(folder, bytes({0, 0, 7, 1, 0, 0, 0, 0})), "offset 2: unknown element type 7"));
  CHECK(contains(message(folder, bytes({0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0})), "offset 2: elements of type 13"));
  CHECK(contains(message(folder, bytes({0, 0, 8, 0})), "offset 3: rank 0"));
  CHECK(contains(message(folder, bytes({0, 0, 8, 200, 0, 0, 0, 1})), "offset 3: rank 200"));
  CHECK(contains(message(folder, bytes({0, 0, 8, 2, 0, 0, 0, 1, 0})), "offset 9: ends inside the extents"));
  CHECK(contains(message(folder, bytes({0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3})), "offset 11: truncated: [4] needs 4 bytes"));
  CHECK(contains(message(folder, bytes({0, 0, 8, 1, 0, 0, 0, 2, 1, 2, 3})), "offset 10: more data"));
  std::string huge = bytes({0, 0, 8, 3});
  for (int i = 0; i < 12; ++i) huge += '\xFF';
  CHECK(contains(message(folder, huge), "extents overflow"));
  std::string large = bytes({0, 0, 8, 1, 255, 255, 255, 255});
  CHECK(contains(message(folder, large), "truncated"));
  folder.write_gz("whole.gz", bytes({0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3, 4}));
  const std::string packed = folder.read("whole.gz");
  CHECK(contains(message(folder, packed.substr(0, packed.size() - 9)), "f: truncated gzip stream after"));
  folder.write_gz("short.gz", bytes({0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3}));
  CHECK(contains(message(folder, folder.read("short.gz")), "f: offset 11: truncated: [4] needs 4 bytes"));
}

TEST_CASE("read_idx: MNIST") {
  const char* const data = std::getenv("TAPESTRY_DATA");
  if (!data) {
    MESSAGE("TAPESTRY_DATA is not set: not run");
    return;
  }
  const auto images = read_idx<std::uint8_t>(std::filesystem::path(data) / "mnist/t10k-images-idx3-ubyte.gz");
  const auto labels = read_idx<std::int64_t>(std::filesystem::path(data) / "mnist/t10k-labels-idx1-ubyte.gz");
  CHECK(shape_of(images) == Shape{10000, 28, 28});
  CHECK(shape_of(labels) == Shape{10000});
  CHECK(labels(0) == 7);
}
