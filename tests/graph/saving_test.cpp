#include <tapestry/graph/saving.hpp>

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

struct Layer {
  Var<float> weight, bias;
  Layer(std::int64_t in, std::int64_t out, float value)
      : weight(Var<float>::filled({in, out}, value, true)), bias(Var<float>::filled({out}, value, true)) {}
  void members(Members& m) { m("weight", weight)("bias", bias); }
};

struct Net {
  std::vector<Layer> layers;
  Var<float> tied;
  Buffer<double> mean;
  Buffer<std::int64_t> counts{IndexTensor{1, 2, 3}};
  Generator generator{5};
  explicit Net(float value) : layers{{2, 3, value}, {3, 1, value + 1}}, tied(layers[0].weight) {
    mean.value = Tensor<double>{value, 2.0};
  }
  void members(Members& m) {
    m("layers", layers)("tied", tied)("mean", mean)("counts", counts)("generator", generator);
  }
};

struct Other {
  Layer first{2, 4, 0.f};
  Var<double> mean = Var<double>::filled({2}, 0.0);
  void members(Members& m) { m("layers.0", first)("mean", mean)("extra", first.bias); }
};

struct Settings {
  double rate = 0.5;
  std::int64_t steps = 7;
  bool warm = true;
  std::string name = "a\nb";
  std::vector<double> history{1, 2, 3};
  Generator generator{9};
  void archive(Archive& a) {
    a("rate", rate)("steps", steps)("warm", warm)("name", name)("history", history)("generator", generator);
  }
};

}  // namespace

TEST_CASE("saving: a module comes back from safetensors and from .npz, tied weights once, generators left out") {
  const TemporaryFolder folder;
  const Net net(3);
  save(folder.file("net.safetensors"), net, {{"epoch", "4"}});
  export_npz(folder.file("net.npz"), net, {.compress = true});
  const NamedTensors contents = read_safetensors(folder.file("net.safetensors"));
  CHECK(contents.tensors.size() == 6);
  CHECK(contents.tensors.contains("layers.1.bias"));
  CHECK_FALSE(contents.tensors.contains("tied"));
  for (const bool npz : {false, true}) {
    Net copy(0);
    copy.counts.value.fill(0);
    if (npz)
      import_npz(folder.file("net.npz"), copy);
    else
      CHECK(load(folder.file("net.safetensors"), copy).at("epoch") == "4");
    CHECK(copy.layers[0].weight.tensor() == net.layers[0].weight.tensor());
    CHECK(copy.layers[1].bias.tensor() == net.layers[1].bias.tensor());
    CHECK(copy.mean.value == net.mean.value);
    CHECK(copy.counts.value == net.counts.value);
    CHECK(copy.tied.node() == copy.layers[0].weight.node());
  }
}

TEST_CASE("saving: all differences are listed at once and nothing is changed") {
  const TemporaryFolder folder;
  const auto path = folder.file("net.safetensors");
  save(path, Net(3));
  Other other;
  CHECK_THROWS_WITH_AS(load(path, other),
                       ("load: " + path.string() +
                        ": 5 differences:\n"
                        "  layers.0.weight: shape [2, 3] where [2, 4] is expected\n"
                        "  layers.0.bias: shape [3] where [4] is expected\n"
                        "  counts: unexpected\n"
                        "  layers.1.bias: unexpected\n"
                        "  layers.1.weight: unexpected")
                           .c_str(),
                       IoError);
  CHECK(other.mean.value()(0) == 0);
  Layer alone(2, 3, 0.f);
  struct Prefixed {
    Layer& layer;
    Var<double>& absent;
    void members(Members& m) { m("layers.0", layer)("absent", absent); }
  };
  Var<double> absent = Var<double>::filled({2}, 1.5);
  Prefixed part{alone, absent};
  CHECK_THROWS_WITH_AS(load(path, part, {.allow_unexpected = true}),
                       ("load: " + path.string() + ": 1 difference:\n  absent: missing").c_str(), IoError);
  load(path, part, {.allow_missing = true, .allow_unexpected = true});
  CHECK(alone.weight.value()(1, 2) == 3);
  CHECK(absent.value()(1) == 1.5);
}

TEST_CASE("saving: float and double convert on request only") {
  Archive from, to;
  Tensor<double> wide{0.1, 2.0};
  Tensor<float> narrow{0.f, 0.f};
  from("x", wide);
  to("x", narrow);
  CHECK_THROWS_WITH_AS(to.load(from.save(), "memory"),
                       "load: memory: 1 difference:\n  x: float64 where float32 is expected", IoError);
  to.load(from.save(), "memory", {.convert = true});
  CHECK(narrow(0) == 0.1f);
  from.load(to.save(), "memory", {.convert = true});
  CHECK(wide(0) == static_cast<double>(0.1f));
  Archive whole;
  std::int64_t steps = 3;
  double number = 3;
  whole("x", steps);
  Archive real;
  real("x", number);
  CHECK_THROWS_WITH_AS(real.load(whole.save(), "memory", {.convert = true}),
                       "load: memory: 1 difference:\n  x: int64 where float64 is expected", IoError);
}

TEST_CASE("saving: numbers, strings, lists and generators of any object, through a file") {
  const TemporaryFolder folder;
  Settings settings, back{0, 0, false, "", {}, Generator(0)};
  settings.generator.normal();
  settings.steps = -3;
  settings.rate = std::nextafter(0.1, 1);
  Archive state, other;
  state("settings", settings);
  other("settings", back);
  save(folder.file("state"), state);
  load(folder.file("state"), other);
  CHECK(back.rate == settings.rate);
  CHECK(back.steps == -3);
  CHECK(back.warm);
  CHECK(back.name == "a\nb");
  CHECK(back.history == settings.history);
  CHECK(back.generator == settings.generator);
  CHECK_THROWS_WITH_AS(state("settings", settings), "Archive: two values are named 'settings.rate'", Error);
  Net net(1);
  Archive with_generator;
  with_generator("net", net);
  CHECK(with_generator.save().tensors.contains("net.generator"));
}

TEST_CASE("saving: where the disk is full the old file stays, and nothing beside it") {
  const TemporaryFolder folder;
  const auto path = folder.file("net");
  save(path, Net(1));
  const std::string before = folder.read("net");
  struct Large {
    Var<float> weight = Var<float>::filled({100000}, 1.f, true);
    void members(Members& m) { m("weight", weight); }
  } large;
  // A limit on the size of files fails as a full disk does: in the middle of writing.
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{65536, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = thrown<IoError>([&] { save(path, large); });
  const std::string npz = thrown<IoError>([&] { export_npz(path, large); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  CHECK(contains(message, "write_safetensors: " + path.string() + " cannot be written (File too large)"));
  CHECK(contains(npz, "write_npz: " + path.string() + " cannot be written (File too large)"));
  CHECK(folder.read("net") == before);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("saving: broken archives are refused with the member's name") {
  const TemporaryFolder folder;
  export_npz(folder.file("net.npz"), Net(1));
  const std::string bytes = folder.read("net.npz");
  folder.write("cut.npz", bytes.substr(0, bytes.size() / 2));
  CHECK_THROWS_AS(read_npz(folder.file("cut.npz")), IoError);
  const auto renamed = [&](const std::string& from, const std::string& to) {
    std::string changed = bytes;
    for (std::size_t at; (at = changed.find(from)) != std::string::npos;) changed.replace(at, from.size(), to);
    folder.write("renamed.npz", changed);
    return thrown<IoError>([&] { read_npz(folder.file("renamed.npz")); });
  };
  CHECK(contains(renamed("layers.0.bias.npy", "layers.0.bias.txt"), "member 'layers.0.bias.txt' is no .npy file"));
  CHECK(contains(renamed("layers.0.bias.npy", "layers.1.bias.npy"), "member 'layers.1.bias' occurs twice"));
  std::string other = bytes;
  const std::size_t type = other.find("<f4");
  other.replace(type, 3, "<c8");
  folder.write("other.npz", other);
  const std::string message = thrown<IoError>([&] { read_npz(folder.file("other.npz")); });
  CHECK(contains(message, "other.npz, member 'layers.0.bias'"));
}
