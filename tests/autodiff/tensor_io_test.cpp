#include <tapestry/autodiff/tensor_io.hpp>

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <xtensor/xnpy.hpp>

#include <zlib.h>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/pool.hpp>

using namespace tapestry;
namespace fs = std::filesystem;

namespace {

// In memory where the system has such a place: thousands of files are written.
struct Folder {
  Folder()
      : path((fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
             ("tapestry_io_" + std::to_string(::getpid()))) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path operator/(const char* name) const { return path / name; }
  fs::path path;
};

void write_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}
std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
Tensor<T> counting(const Shape& shape) {
  Tensor<T> tensor = empty_tensor<T>(shape);
  for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data()[i] = static_cast<T>(i) / 4 - T(3);
  return tensor;
}

template <class T>
bool same(const Tensor<T>& a, const Tensor<T>& b) {
  return shape_of(a) == shape_of(b) && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

std::string little(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

// A .npy file as NumPy writes it.
std::string npy(const std::string& dictionary, const std::string& data, int version = 1) {
  std::string text = dictionary;
  const std::size_t prefix = version == 1 ? 10 : 12;
  while ((prefix + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  return std::string("\x93NUMPY") + static_cast<char>(version) + '\0' + little(text.size(), version == 1 ? 2 : 4) +
         text + data;
}

const std::string three_floats = [] {
  const float values[] = {1.0f, -2.5f, 3.25f};
  return std::string(reinterpret_cast<const char*>(values), sizeof values);
}();

struct Member {
  std::string name, data;
  bool deflate = false;
  bool reserve_zip64 = false;  // as numpy.savez does
};

// A .zip archive as Python's zipfile writes it.
std::string zip(const std::vector<Member>& members) {
  std::string out, directory;
  for (const Member& member : members) {
    std::string packed = member.data;
    if (member.deflate) {
      z_stream stream{};
      REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
      packed.resize(deflateBound(&stream, member.data.size()) + 16);
      std::string input = member.data;
      stream.next_in = reinterpret_cast<Bytef*>(input.data());
      stream.avail_in = static_cast<uInt>(input.size());
      stream.next_out = reinterpret_cast<Bytef*>(packed.data());
      stream.avail_out = static_cast<uInt>(packed.size());
      REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
      packed.resize(stream.total_out);
      deflateEnd(&stream);
    }
    const auto checksum =
        crc32(0, reinterpret_cast<const Bytef*>(member.data.data()), static_cast<uInt>(member.data.size()));
    const std::string extra =
        member.reserve_zip64 ? little(1, 2) + little(16, 2) + little(member.data.size(), 8) + little(packed.size(), 8)
                             : "";
    const std::uint64_t big = 0xffffffff;
    const std::string common =
        little(0, 2) + little(member.deflate ? 8 : 0, 2) + little(0x5a21b3c4, 4) + little(checksum, 4);
    directory += "PK\x01\x02" + little(45, 2) + little(45, 2) + common + little(packed.size(), 4) +
                 little(member.data.size(), 4) + little(member.name.size(), 2) + little(0, 2) + little(0, 2) +
                 little(0, 2) + little(0, 2) + little(0x1800000, 4) + little(out.size(), 4) + member.name;
    out += "PK\x03\x04" + little(45, 2) + common + little(member.reserve_zip64 ? big : packed.size(), 4) +
           little(member.reserve_zip64 ? big : member.data.size(), 4) + little(member.name.size(), 2) +
           little(extra.size(), 2) + member.name + extra + packed;
  }
  return out + directory + "PK\x05\x06" + little(0, 4) + little(members.size(), 2) + little(members.size(), 2) +
         little(directory.size(), 4) + little(out.size(), 4) + little(0, 2);
}

const char* const float_vector = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";

}  // namespace

TEST_CASE_TEMPLATE("tensor_io: .npy and .npz files come back as they were", T, float, double, std::int64_t) {
  const Folder folder;
  std::map<std::string, Tensor<T>> all;
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{1}, Shape{7}, Shape{3, 0, 2}, Shape{2, 3, 4}, Shape{100, 300}}) {
    const Tensor<T> tensor = counting<T>(shape);
    save_npy(folder / "a.npy", tensor);
    CHECK(same(load_npy<T>(folder / "a.npy"), tensor));
    all.emplace("array of shape " + to_string(shape), tensor);
  }
  all.emplace("\xc3\xa4/b", counting<T>({5}));
  for (const bool compress : {false, true}) {
    save_npz(folder / "all.npz", all, {.compress = compress});
    const auto loaded = load_npz<T>(folder / "all.npz");
    REQUIRE(loaded.size() == all.size());
    for (const auto& [name, tensor] : all) CHECK(same(loaded.at(name), tensor));
    save_npz(folder / "none.npz", std::map<std::string, Tensor<T>>{}, {.compress = compress});
    CHECK(load_npz<T>(folder / "none.npz").empty());
  }
  CHECK(fs::file_size(folder / "all.npz") < 300 * 100 * sizeof(T) / 2);
}

TEST_CASE("tensor_io: .npy files are those of NumPy, byte by byte, and xtensor's") {
  const Folder folder;
  Tensor<float> tensor = Tensor<float>::from_shape({3});
  std::memcpy(tensor.data(), three_floats.data(), three_floats.size());
  save_npy(folder / "a.npy", tensor);
  CHECK(read_file(folder / "a.npy") == npy(float_vector, three_floats));
  CHECK(xt::load_npy<float>((folder / "a.npy").string()) == tensor);
  const xt::xarray<double> matrix{{1, 2, 3}, {4, 5, 6}};
  xt::dump_npy((folder / "b.npy").string(), matrix);
  CHECK(load_npy<double>(folder / "b.npy") == matrix);
  // Later format versions, and other spellings of the dictionary that Python reads the same.
  for (const std::string& bytes : {npy(float_vector, three_floats, 2), npy(float_vector, three_floats, 3),
                                   npy("{\"shape\":(3,),\"descr\":\"<f4\",\"fortran_order\":False}", three_floats),
                                   npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }", three_floats)}) {
    write_file(folder / "c.npy", bytes);
    CHECK(load_npy<float>(folder / "c.npy") == tensor);
  }
}

TEST_CASE("tensor_io: .npz files of NumPy, stored and deflated, with its zip64 fields") {
  const Folder folder;
  const std::string file = npy(float_vector, three_floats);
  for (int flags = 0; flags < 4; ++flags) {
    write_file(folder / "a.npz",
               zip({{"x.npy", file, (flags & 1) != 0, (flags & 2) != 0}, {"y.npy", file, (flags & 2) != 0}}));
    const auto loaded = load_npz<float>(folder / "a.npz");
    REQUIRE(loaded.size() == 2);
    for (const char* name : {"x", "y"}) CHECK(std::memcmp(loaded.at(name).data(), three_floats.data(), 12) == 0);
  }
}

TEST_CASE("tensor_io: what is wrong with a .npy file is said with its name and offset") {
  const Folder folder;
  const auto refused = [&](const std::string& bytes, const char* message) {
    write_file(folder / "bad.npy", bytes);
    reset_peak_memory();
    const auto before = memory_statistics().peak;
    CHECK_THROWS_WITH_AS(load_npy<float>(folder / "bad.npy"), doctest::Contains(message), IoError);
    CHECK_THROWS_WITH_AS(load_npy<float>(folder / "bad.npy"), doctest::Contains("load_npy: "), IoError);
    CHECK_THROWS_WITH_AS(load_npy<float>(folder / "bad.npy"), doctest::Contains("bad.npy, offset "), IoError);
    CHECK(memory_statistics().peak <= before + 4096);
  };
  const std::string good = npy(float_vector, three_floats);
  refused("", "offset 0: this is no .npy data");
  refused("hello, world", "offset 0: this is no .npy data");
  refused(good.substr(0, 9), "offset 9: the file ends within the header");
  refused(good.substr(0, 60), "offset 60: the file ends within the header of 118 bytes");
  refused(good.substr(0, 139), "offset 139: the file ends 1 bytes before the end of its array of shape [3]");
  refused(good + "x", "offset 140: 1 bytes follow the array of shape [3]");
  refused("\x93NUMPY\x07" + good.substr(7), "offset 6: unknown format version 7.0");
  refused(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", three_floats),
          "type '<f8' where '<f4' is read");
  refused(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (3,), }", three_floats),
          "type '>f4' where '<f4' is read");
  refused(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 1), }", three_floats), "Fortran order");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }", three_floats),
          "bytes before the end");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", ""), "is too large");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", ""),
          "extent is too large");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", three_floats), "extent is no number");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3), }", three_floats), "needs a comma");
  refused(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", three_floats), "no plain type");
  refused(npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }", three_floats), "neither True nor False");
  refused(npy("{'descr': '<f4', 'shape': (3,), }", three_floats), "is missing");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'shape': (3,), }", three_floats),
          "repeated key");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } + 1", three_floats), "follows the dictionary");
  refused("\x93NUMPY\x02" + std::string(1, '\0') + little(0xfffffff0u, 4) + "{",
          "offset 8: a header of 4294967280 bytes is too long");
  CHECK_THROWS_WITH_AS(load_npy<float>(folder / "absent.npy"), doctest::Contains("absent.npy: No such file"), IoError);
  CHECK_THROWS_WITH_AS(load_npy<float>(folder.path), doctest::Contains("no regular file"), IoError);
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(load_npy<float>(folder / "fifo"), doctest::Contains("no regular file"), IoError);
}

TEST_CASE("tensor_io: what is wrong with a .npz file is said with its name and offset") {
  const Folder folder;
  const auto refused = [&](const std::string& bytes, const char* message) {
    write_file(folder / "bad.npz", bytes);
    CHECK_THROWS_WITH_AS(load_npz<float>(folder / "bad.npz"), doctest::Contains(message), IoError);
    CHECK_THROWS_WITH_AS(load_npz<float>(folder / "bad.npz"), doctest::Contains("bad.npz, "), IoError);
  };
  const std::string file = npy(float_vector, three_floats);
  const std::string good = zip({{"x.npy", file}});
  const auto changed = [](std::string bytes, std::size_t at, const std::string& by) {
    return bytes.replace(at, by.size(), by);
  };
  const std::size_t directory = 30 + 5 + file.size(), end = good.size() - 22;
  refused("", "too short");
  refused(std::string(100, 'x'), "end record is missing");
  refused(changed(good, end + 10, little(0xffff, 2)), "zip64 archives are not supported");
  refused(changed(good, directory + 20, little(0xffffffff, 4)), "zip64 members are not supported");
  refused(changed(good, directory + 8, little(1, 2)), "encrypted");
  refused(changed(good, directory + 10, little(12, 2)), "compression method 12");
  refused(changed(good, directory + 24, little(1 << 30, 4)), "cannot have the size");
  refused(changed(good, 30 + 5 + 135, "?"), "checksum");
  refused(zip({{"x.npy", file}, {"x.npy", file}}), "occurs twice");
  refused(zip({{"x.txt", file}}), "is no .npy file");
  refused(zip({{"x.npy", file + "more"}}), "member 'x', offset 140: 4 bytes follow");
  refused(zip({{"x.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }", three_floats), true}}),
          "type '<f8'");
  // Two entries of the directory that share one member's data: a small file that unpacks to much.
  const std::string two = zip({{"x.npy", file}, {"x.npy", file}});
  refused(changed(two, two.size() - 22 - 51 + 42, little(0, 4)), "overlaps");
}

TEST_CASE("tensor_io: a file that is cut short anywhere is refused, and nothing worse") {
  const Folder folder;
  const std::string file = npy(float_vector, three_floats);
  for (std::size_t bytes = 0; bytes < file.size(); ++bytes) {
    write_file(folder / "cut", file.substr(0, bytes));
    CHECK_THROWS_AS(load_npy<float>(folder / "cut"), IoError);
  }
  for (const bool deflate : {false, true}) {
    const std::string archive = zip({{"x.npy", file, deflate}, {"y.npy", file, deflate, true}});
    for (std::size_t bytes = 0; bytes < archive.size(); ++bytes) {
      write_file(folder / "cut", archive.substr(0, bytes));
      CHECK_THROWS_AS(load_npz<float>(folder / "cut"), IoError);
    }
  }
}

TEST_CASE("tensor_io: damaged files give an IoError or an array, never anything else") {
  const Folder folder;
  std::mt19937 random(1);
  const std::string file = npy(float_vector, three_floats);
  const std::vector<std::string> originals{file, zip({{"x.npy", file}, {"y.npy", file}}),
                                           zip({{"x.npy", file, true}, {"y.npy", file, true, true}})};
  int accepted = 0, refused = 0;
  reset_peak_memory();
  const auto before = memory_statistics().peak;
  for (int round = 0; round < 4000; ++round) {
    const std::size_t which = static_cast<std::size_t>(round) % originals.size();
    std::string bytes = originals[which];
    for (unsigned change = 0; change <= random() % 3; ++change) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 5) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
          break;
        case 2:
          bytes.insert(at, std::string(random() % 5, static_cast<char>(random())));
          break;
        case 3:
          bytes.erase(at, random() % 5);
          break;
        default:
          for (std::size_t i = at; i < std::min(at + 4, bytes.size()); ++i) bytes[i] = random() % 2 ? '\xff' : '\0';
      }
    }
    write_file(folder / "damaged", bytes);
    try {
      if (which == 0)
        load_npy<float>(folder / "damaged");
      else
        load_npz<float>(folder / "damaged");
      ++accepted;
    } catch (const IoError&) {
      ++refused;
    }
  }
  CHECK(accepted > 0);
  CHECK(refused > 2000);
  CHECK(memory_statistics().peak <= before + (1 << 20));
}

TEST_CASE("tensor_io: a file that can't be written leaves the old one") {
  const Folder folder;
  save_npy(folder / "a.npy", counting<float>({4}));
  CHECK_THROWS_WITH_AS(save_npy(folder / "no_folder/a.npy", counting<float>({4})), doctest::Contains("save_npy"),
                       IoError);
  fs::create_directory(folder / "folder.npz");
  CHECK_THROWS_WITH_AS(save_npz<float>(folder / "folder.npz", {{"x", counting<float>({4})}}),
                       doctest::Contains("save_npz"), IoError);
  CHECK(same(load_npy<float>(folder / "a.npy"), counting<float>({4})));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder.path)) ++files;
  CHECK(files == 2);
}
