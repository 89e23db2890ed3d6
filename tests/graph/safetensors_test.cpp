#include <tapestry/graph/safetensors.hpp>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include <doctest/doctest.h>

#include "fuzz/safetensors_properties.hpp"

using namespace tapestry;

namespace {

/// A file put together from its parts.
std::string file(const std::string& header, const std::string& data) {
  std::string out(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(out.data(), &length, 8);
  return out + header + data;
}

std::string refusal(const std::string& bytes) {
  try {
    parse_safetensors(bytes);
  } catch (const IoError& error) {
    const std::string what = error.what(), start = "read_safetensors: bytes: ";
    REQUIRE(what.substr(0, start.size()) == start);
    return what.substr(start.size());
  }
  return "";
}

/// The refusal of a header with so many zero bytes of data.
std::string refusal(const std::string& header, std::size_t data) {
  return refusal(file(header, std::string(data, '\0')));
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

struct TemporaryFile {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("tapestry_safetensors_" + std::to_string(::getpid()));
  ~TemporaryFile() { std::filesystem::remove(path); }
};

NamedTensors example() {
  NamedTensors contents;
  contents.metadata = {{"format", "pt"}, {"note", "a \"quote\",\n\xc3\xa9"}};
  contents.tensors["w"] = Tensor<float>{{1, 2, 3}, {4, 5, -6}};
  contents.tensors["layer.bias"] = Tensor<double>{0.1, std::numeric_limits<double>::quiet_NaN(), -0.0};
  contents.tensors["steps"] = IndexTensor{std::numeric_limits<std::int64_t>::min(), 7};
  Tensor<float> scalar = empty_tensor<float>({});
  scalar() = 2.5f;
  contents.tensors["scalar"] = scalar;
  contents.tensors["none"] = empty_tensor<double>({3, 0});
  return contents;
}

}  // namespace

TEST_CASE("safetensors: bytes composed by hand from the format's description") {
  NamedTensors contents;
  contents.tensors["a"] = Tensor<float>{{1.0f, -2.0f}};
  contents.tensors["b"] = IndexTensor{258};
  contents.metadata["k"] = "v";
  const std::string expected = std::string("\x88\0\0\0\0\0\0\0", 8) +
                               R"({"__metadata__":{"k":"v"},"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                               R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}})" +
                               std::string(1, ' ') + std::string("\x02\x01\0\0\0\0\0\0", 8) +
                               std::string("\0\0\x80\x3f\0\0\0\xc0", 8);
  CHECK(format_safetensors(contents) == expected);
  CHECK(fuzz::same(parse_safetensors(expected), contents));
  CHECK(format_safetensors({}) == std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
}

TEST_CASE("safetensors: round trip in memory and through a file") {
  const NamedTensors contents = example();
  const std::string bytes = format_safetensors(contents);
  CHECK(fuzz::same(parse_safetensors(bytes), contents));
  CHECK(format_safetensors(parse_safetensors(bytes)) == bytes);
  const TemporaryFile temporary;
  write_safetensors(temporary.path, contents);
  CHECK(fuzz::same(read_safetensors(temporary.path), contents));
  std::ifstream in(temporary.path, std::ios::binary);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == bytes);
}

TEST_CASE("safetensors: what other writers do") {
  // Any order of the header, white space, escapes, data that are not aligned, names that look like paths.
  const std::string header = "{ \"x/\\u00e9\" : {\"data_offsets\":[2, 6], \"shape\" : [ ] , \"dtype\":\"F32\"},\n" +
                             entry("h", "BF16", "[1]", "[0,2]") + "," + entry("e", "F64", "[0]", "[2,2]") + "," +
                             entry("o", "F16", "[0,9]", "[6,6]") + ",\"__metadata__\":{}}\n\t ";
  const auto contents = parse_safetensors(file(header, std::string("\x80\x3f\0\0\0\x40", 6)));
  CHECK(contents.tensors.size() == 4);
  CHECK(std::get<Tensor<float>>(contents.tensors.at("x/\xc3\xa9"))() == 2);
  CHECK(std::get<Tensor<float>>(contents.tensors.at("h"))(0) == 1);
  CHECK(shape_of(std::get<Tensor<double>>(contents.tensors.at("e"))) == Shape{0});
  CHECK(shape_of(std::get<Tensor<float>>(contents.tensors.at("o"))) == Shape{0, 9});
}

TEST_CASE("safetensors: half precision is widened exactly") {
  const std::uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x8000, 0x03ff,
                                  0x0400, 0x7c00, 0xfc00, 0x7e01, 0x3555};
  const float expected[] = {1, -2, 65504, 0x1p-24f, -0.f, 0x3ffp-24f, 0x1p-14f, INFINITY, -INFINITY, NAN, 0x1.554p-2f};
  std::string data(reinterpret_cast<const char*>(halves), sizeof halves);
  const auto read = std::get<Tensor<float>>(
      parse_safetensors(file("{" + entry("x", "F16", "[11]", "[0,22]") + "}", data)).tensors.at("x"));
  for (std::size_t i = 0; i < 11; ++i) {
    if (std::isnan(expected[i]))
      CHECK(std::isnan(read(i)));
    else
      CHECK((read(i) == expected[i] && std::signbit(read(i)) == std::signbit(expected[i])));
  }
  // More than one block, and bfloat16: the upper half of a float.
  std::string many;
  for (int i = 0; i < 10000; ++i) {
    const float x = static_cast<float>(i % 256);
    many.append(reinterpret_cast<const char*>(&x) + 2, 2);
  }
  const auto wide = std::get<Tensor<float>>(
      parse_safetensors(file("{" + entry("x", "BF16", "[100,100]", "[0,20000]") + "}", many)).tensors.at("x"));
  for (std::size_t i = 0; i < 10000; ++i) REQUIRE(wide.data()[i] == static_cast<float>(i % 256));
}

TEST_CASE("safetensors: malformed headers are refused by name") {
  CHECK(refusal("1234567") == "7 bytes are too few for a header's length");
  CHECK(refusal(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10)) ==
        "a header of 9223372036854775807 bytes in a file of 10 bytes");
  CHECK(refusal(std::string("\3\0\0\0\0\0\0\0{}", 10)) == "a header of 3 bytes in a file of 10 bytes");
  CHECK(refusal("", 0) == "the header does not start with {, at byte 8");
  CHECK(refusal(" {}", 0) == "the header does not start with {, at byte 8");
  CHECK(refusal("\xef\xbb\xbf{}", 0) == "the header does not start with {, at byte 8");
  CHECK(refusal(std::string("{}\0 ", 4), 0) == "a zero in the header, at byte 10");
  CHECK(refusal("{}x", 0) == "no valid JSON in the header, at byte 10");
  CHECK(refusal("{", 0).find("no valid JSON") == 0);
  CHECK(refusal("{\"a\":}", 0) == "no valid JSON in the header, at byte 13");
  CHECK(refusal("{\"a\xff\":{}}", 0) == "no valid JSON in the header, at byte 11");
  CHECK(refusal("{\"a\\ud800\":{}}", 0).find("no valid JSON") == 0);
  CHECK(refusal("{" + entry("\xc0\x80", "F32", "[1]", "[0,4]") + "}", 4).find("no valid JSON") == 0);
  CHECK(refusal("{" + entry("a", "F32", "[01]", "[0,4]") + "}", 4).find("no valid JSON") == 0);
  CHECK(refusal("{\"a\":1}", 0) == "\"a\": unexpected a number");
  CHECK(refusal("{\"a\":null}", 0) == "\"a\": unexpected null");
  CHECK(refusal("{\"a\":[1]}", 0) == "\"a\": unexpected a list");
  CHECK(refusal("{\"a\":{}}", 0) == "\"a\": dtype, shape and data_offsets are needed");
  CHECK(refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4) == "\"a\": dtype, shape and data_offsets are needed");
  CHECK(refusal("{\"a\":{\"dtype\":4}}", 0) == "\"a\": unexpected a number in \"dtype\"");
  CHECK(refusal("{\"a\":{\"type\":\"F32\"}}", 0) == "\"a\": unexpected a string in \"type\"");
  CHECK(refusal("{\"a\":{\"x\":{}}}", 0) == "\"a\": unexpected an object in \"x\"");
  CHECK(refusal("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0) == "\"a\": dtype occurs twice");
  CHECK(refusal("{\"a\":{\"shape\":[],\"shape\":[]}}", 0) == "\"a\": shape occurs twice");
  CHECK(refusal("{\"a\":{\"shape\":[[1]]}}", 0) == "\"a\": unexpected a list in \"shape\"");
  CHECK(refusal("{\"__metadata__\":{\"a\":1}}", 0) == "\"__metadata__\": unexpected a number in \"a\"");
  CHECK(refusal("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0) == "\"__metadata__\": the key \"a\" occurs twice");
  CHECK(refusal("{\"__metadata__\":{},\"__metadata__\":{}}", 0) == "\"__metadata__\": the name occurs twice");
  const std::string a = entry("a", "F32", "[1]", "[0,4]");
  CHECK(refusal("{" + a + "," + a + "}", 4) == "\"a\": the name occurs twice");
  CHECK(refusal("{" + entry("\\n" + std::string(100, 'x'), "F32", "[1]", "[0,5]") + "}", 5)
            .find("tensor \"?" + std::string(63, 'x') + "...\": ") == 0);
}

TEST_CASE("safetensors: types, shapes and offsets that do not fit are refused") {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets,
                      std::size_t data) {
    const std::string what = refusal("{" + entry("a", dtype, shape, offsets) + "}", data), start = "tensor \"a\": ";
    return what.substr(0, start.size()) == start ? what.substr(start.size()) : what;
  };
  CHECK(one("F32", "[1]", "[0,4]", 4) == "");
  CHECK(one("I8", "[1]", "[0,1]", 1) == "dtype \"I8\" where F64, F32, F16, BF16 and I64 are read");
  CHECK(one("f32", "[1]", "[0,4]", 4).find("dtype \"f32\"") == 0);
  CHECK(one("F32", "[-1]", "[0,4]", 4) == "\"a\": unexpected a negative number in \"shape\"");
  CHECK(one("F32", "[1.0]", "[0,4]", 4) == "\"a\": unexpected a number that is no integer in \"shape\"");
  CHECK(one("F32", "[18446744073709551616]", "[0,4]", 4).find("no integer") != std::string::npos);
  CHECK(one("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]", 4) == "17 axes, more than 16");
  CHECK(one("F32", "[18446744073709551615]", "[0,4]", 4) == "the shape [18446744073709551615] overflows");
  CHECK(one("F32", "[4294967296,4294967296]", "[0,0]", 0) == "the shape [4294967296, 4294967296] overflows");
  CHECK(one("F32", "[0,4294967296,4294967296]", "[0,0]", 0) == "the shape [0, 4294967296, 4294967296] overflows");
  // Would wrap to 4 bytes if multiplied without care.
  CHECK(one("F32", "[4611686018427387905]", "[0,4]", 4) == "the shape [4611686018427387905] overflows");
  CHECK(one("F32", "[1]", "[4,0]", 4) == "data_offsets [4, 0] are no range");
  CHECK(one("F32", "[1]", "[0]", 4) == "data_offsets [0] are no range");
  CHECK(one("F32", "[1]", "[0,4,8]", 8) == "data_offsets [0, 4, 8] are no range");
  CHECK(one("F32", "[1]", "[0,4]", 3) == "data_offsets [0, 4] beyond the file's 3 bytes of data");
  CHECK(one("F32", "[1000000000000]", "[0,4000000000000]", 8) ==
        "data_offsets [0, 4000000000000] beyond the file's 8 bytes of data");
  CHECK(one("F32", "[1]", "[0,8]", 8) == "shape [1] of F32 takes 4 bytes, data_offsets [0, 8] hold 8");
  CHECK(one("F64", "[]", "[0,4]", 4) == "shape [] of F64 takes 8 bytes, data_offsets [0, 4] hold 4");
  CHECK(one("F32", "[1]", "[4,8]", 8) == "its data start at 4 where 0 comes next");
  CHECK(one("F32", "[1]", "[0,4]", 9) == "5 bytes after the last tensor's data");
  CHECK(refusal("{}", 1) == "1 bytes after the last tensor's data");
  const auto two = [](const std::string& first, const std::string& second, std::size_t data) {
    return refusal("{" + entry("a", "F32", "[1]", first) + "," + entry("b", "F32", "[1]", second) + "}", data);
  };
  CHECK(two("[4,8]", "[0,4]", 8) == "");
  CHECK(two("[0,4]", "[0,4]", 4) == "tensor \"b\": its data start at 0 where 4 is taken already");
  CHECK(two("[0,4]", "[2,6]", 6) == "tensor \"b\": its data start at 2 where 4 is taken already");
  CHECK(two("[0,4]", "[8,12]", 12) == "tensor \"b\": its data start at 8 where 4 comes next");
  CHECK(refusal("{" + entry("a", "F32", "[2]", "[0,8]") + "," + entry("z", "F32", "[0]", "[4,4]") + "}", 8) ==
        "tensor \"z\": its data start at 4 where 8 is taken already");
}

TEST_CASE("safetensors: a file cut anywhere is refused, and no large memory is taken") {
  const std::string bytes = format_safetensors(example());
  for (std::size_t n = 0; n < bytes.size(); ++n) REQUIRE_FALSE(fuzz::check_safetensors({bytes.data(), n}));
  CHECK(fuzz::check_safetensors(bytes));
}

TEST_CASE("safetensors: errors of files and names") {
  const TemporaryFile temporary;
  const std::string path = temporary.path.string();
  CHECK_THROWS_WITH_AS(read_safetensors(path), ("read_safetensors: " + path + ": No such file or directory").c_str(),
                       IoError);
  CHECK_THROWS_AS(read_safetensors(std::filesystem::temp_directory_path()), IoError);
  std::ofstream(path) << "short";
  CHECK_THROWS_WITH_AS(read_safetensors(path),
                       ("read_safetensors: " + path + ": 5 bytes are too few for a header's length").c_str(), IoError);
  NamedTensors wrong;
  wrong.tensors["\xff"] = IndexTensor{1};
  CHECK_THROWS_AS(write_safetensors(path, wrong), IoError);
  wrong.tensors.clear();
  wrong.tensors["__metadata__"] = IndexTensor{1};
  CHECK_THROWS_WITH_AS(write_safetensors(path, wrong), "write_safetensors: no tensor can be named __metadata__",
                       IoError);
  wrong.tensors.clear();
  wrong.metadata["k"] = "\xc3";
  CHECK_THROWS_AS(write_safetensors(path, wrong), IoError);
  std::ifstream in(path);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == "short");
  CHECK_THROWS_AS(write_safetensors(temporary.path / "absent" / "file", {}), IoError);
}

TEST_CASE("safetensors: mutated files are read or refused") {
  std::mt19937_64 random(7);
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::vector<std::filesystem::path> paths;
  for (const auto& item : std::filesystem::directory_iterator(TAPESTRY_TESTS_FOLDER "/fuzz/corpus/safetensors"))
    paths.push_back(item.path());
  std::sort(paths.begin(), paths.end());
  REQUIRE(paths.size() >= 4);
  std::vector<std::string> seeds{format_safetensors(example())};
  for (const auto& path : paths) {
    std::ifstream in(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    CHECK(fuzz::check_safetensors(seeds.back()));
  }
  const std::vector<std::string> pieces = {"0",     "4",
                                           "8",     "-1",
                                           "1e9",   "18446744073709551615",
                                           "[",     "]",
                                           "{",     "}",
                                           ",",     "\"",
                                           ":",     "\\u0000",
                                           "F32",   "BF16",
                                           "I64",   "F64",
                                           "null",  "1152921504606846976",
                                           "[0,0]", " ",
                                           "\"a\"", "16",
                                           "[]",    "\xff",
                                           "shape", "__metadata__"};
  int read = 0;
  constexpr int rounds = 10000;
  for (int round = 0; round < rounds; ++round) {
    std::string text = seeds[pick(seeds.size())];
    const bool keep_length = pick(4) != 0;
    for (std::size_t edits = 1 + pick(3); edits > 0; --edits) {
      const std::size_t at = std::min(text.size(), 8 + pick(text.size())),
                        span = std::min(text.size() - at, 1 + pick(4));
      switch (pick(6)) {
        case 0:
          text.erase(at, span);
          break;
        case 1:
          text.insert(at, pieces[pick(pieces.size())]);
          break;
        case 2:
          text.replace(at, span, pieces[pick(pieces.size())]);
          break;
        case 3:
          if (at < text.size()) text[at] = static_cast<char>('0' + pick(10));
          break;
        case 4:
          if (at < text.size()) text[at] = static_cast<char>(random());
          break;
        default:
          text[pick(8)] = static_cast<char>(random());
      }
    }
    // Most of the time, a length that leaves the mutation to the header's own checks.
    if (keep_length) {
      const std::size_t end = text.rfind('}');
      const std::uint64_t length = end == std::string::npos || end < 8 ? 0 : end - 7;
      std::memcpy(text.data(), &length, 8);
    }
    read += fuzz::check_safetensors(text);
  }
  CHECK(read > rounds / 100);
  CHECK(read < rounds);
}
