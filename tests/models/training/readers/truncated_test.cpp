#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/saving.hpp>
#include <tapestry/models/training/readers/columns.hpp>
#include <tapestry/models/training/readers/csv.hpp>
#include <tapestry/models/training/readers/idx.hpp>
#include <tapestry/models/training/readers/items.hpp>
#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

struct Reader {
  std::string name;
  std::function<void(const std::filesystem::path&)> read;
  std::string contents;
  bool text;  ///< of which a beginning may be whole
};

std::vector<Reader> readers(const TemporaryFolder& folder) {
  NamedTensors arrays;
  arrays.tensors["a"] = Tensor<float>{1.f, 2.f};
  arrays.tensors["b"] = IndexTensor{3};
  write_npz(folder.file("arrays.npz"), arrays);
  save_npy(folder.file("array.npy"), Tensor<double>{{1.0, 2.0}, {3.0, 4.0}});
  return {
      {"idx", [](const auto& path) { read_idx<float>(path); },
       std::string("\0\0\x08\x02\0\0\0\x02\0\0\0\x03"
                   "abcdef",
                   18),
       false},
      {"csv", [](const auto& path) { read_csv(path, {.header = true}); }, "a,\"b \"\"c\"\n1,\"\xc3\xa9\"\r\n3,4\n",
       true},
      {"numbers", [](const auto& path) { read_csv_numbers<double>(path); }, "1,2.5e3\n-3,4\n", true},
      {"columns", [](const auto& path) { read_columns(path, 2); }, "the DT\nc\xc3\xa9 NN\n\nx Y\n", true},
      {"items", [](const auto& path) { read_items(path); }, "B\ta\\:b:2\tc\nI\td:-1e3\n\nO\te\xc3\xa9\n", true},
      {"npz", [](const auto& path) { read_npz(path); }, folder.read("arrays.npz"), false},
      {"npy", [](const auto& path) { load_npy<double>(path); }, folder.read("array.npy"), false},
  };
}

}  // namespace

TEST_CASE("readers: a file that is cut anywhere is read or refused by its name") {
  const TemporaryFolder folder;
  for (const Reader& reader : readers(folder)) {
    INFO(reader.name);
    CHECK_NOTHROW(reader.read(folder.write("whole", reader.contents)));
    int refused = 0;
    for (std::size_t n = 0; n < reader.contents.size(); n += reader.contents.size() > 150 ? 5 : 1) {
      INFO(n);
      const auto path = folder.write("cut", reader.contents.substr(0, n));
      const std::string message = thrown<IoError>([&] { reader.read(path); });
      if (!reader.text || n == 0) CHECK(message != "");
      if (message != "") CHECK(contains(message, path.string()));
      refused += message != "";
    }
    CHECK(refused > 0);
  }
}

TEST_CASE("readers: a gzipped file that is cut anywhere is refused") {
  const TemporaryFolder folder;
  for (const Reader& reader : readers(folder)) {
    if (reader.name == "npz" || reader.name == "npy") continue;
    INFO(reader.name);
    const auto whole = folder.write_gz("whole.gz", reader.contents);
    CHECK_NOTHROW(reader.read(whole));
    const std::string packed = folder.read("whole.gz");
    for (std::size_t n = 0; n < packed.size(); ++n) {
      if (n == 1 && reader.text) continue;  // one byte alone is text
      INFO(n);
      const auto path = folder.write("cut.gz", packed.substr(0, n));
      CHECK(contains(thrown<IoError>([&] { reader.read(path); }), path.string()));
    }
  }
}
