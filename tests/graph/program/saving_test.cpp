#include <tapestry/graph/program/saving.hpp>

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <tapestry/autodiff/custom.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/registry.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/tape.hpp>

using namespace tapestry;

namespace {

Var<double> values(const Shape& shape, std::uint64_t seed, bool requires_grad = false) {
  return Var<double>(uniform_example(shape, 0.2, 1.5)(seed), requires_grad);
}

/// A file that is gone afterwards.
class TemporaryFile {
 public:
  explicit TemporaryFile(const char* name) : path_(std::filesystem::temp_directory_path() / name) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::filesystem::path& path() const { return path_; }
  std::string read() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }

 private:
  std::filesystem::path path_;
};

/// y = factor x, with a factor that is no variable.
template <class T>
class Scaled final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  explicit Scaled(double factor) : factor_(factor) {}
  explicit Scaled(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(factor_); }
  std::string_view name() const override { return "test_scaled"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  void forward(Forward<T>& c) override {
    for (std::int64_t i = 0; i < c.output().size(); ++i) c.output()[i] = static_cast<T>(factor_) * c.input(0)[i];
  }
  void vjp(Vjp<T>& c) override { c.add(0, c.gradient() * static_cast<T>(factor_)); }

 private:
  double factor_ = 0;
};

// Every operation that can be saved.
std::vector<Var<double>> everything(const std::vector<Var<double>>& x, const Var<double>& weight,
                                    const Var<double>& bias) {
  const Indices labels{1, 0, 2};
  const Var<double> h = linear(x[0], weight, bias, Activation::tanh);
  const Var<double> scores = matmul(h, weight, {.transpose_b = true}) + linear(x[0], matmul(weight, transpose(weight)));
  const Var<double> parts =
      concatenate({slice(scores, 1, {.start = 1}), select(scores, 0, 1) * reshape(x[1], {3, 1})}, 1);
  const Var<double> stacked = stack({flip(h, {0}), pad(slice(h, 1, {.stop = -1}), {{0, 0}, {0, 1}})});
  const Var<double> spread =
      broadcast_to(sum(softmax(stacked, 2), {0}), {2, 3, 4}) * where(greater(h, Var<double>(0.9)), h, -h);
  Var<double> loss = cross_entropy(
      scores, labels, {.ignored_label = 0, .smoothing = 0.1, .class_weights = Tensor<double>{1, 2, 3, 4, 5}});
  loss = loss + cross_entropy_with_probabilities(log_softmax(scores), softmax(scores.detach()));
  loss = loss + mean(square(parts)) + mean(spread) + sum(diagonal(matmul(h, transpose(h)))) + sum_to(h, Shape{1, 1});
  return {reshape(loss, Shape{}), parts, record(std::make_unique<Scaled<double>>(3.0), spread)};
}

/// A file's bytes with the checksum that belongs to them.
std::string with_checksum(std::string bytes) {
  const std::uint64_t sum =
      ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()) + 32, static_cast<uInt>(bytes.size() - 32));
  std::copy_n(reinterpret_cast<const char*>(&sum), 8, bytes.begin() + 24);
  return bytes;
}

/// Has been made known once for all tests.
const bool scaled_is_known = [] {
  register_operation<Scaled<double>>("test_scaled");
  return true;
}();

void check_same(Program<double>& a, Program<double>& b, const std::vector<Var<double>>& x) {
  a.run_backward(std::span(x));
  b.run_backward(std::span(x));
  REQUIRE(a.outputs() == b.outputs());
  for (std::size_t k = 0; k < a.outputs(); ++k) CHECK(a.output(k) == b.output(k));
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(a.gradient(i) == b.gradient(i));
  const auto mine = a.variables(), theirs = b.variables();
  REQUIRE(mine.size() == theirs.size());
  for (std::size_t i = 0; i < mine.size(); ++i) CHECK(mine[i].gradient() == theirs[i].gradient());
}

}  // namespace

TEST_CASE("program file: a loaded program computes the same values and gradients, and trains") {
  REQUIRE(scaled_is_known);
  const TemporaryFile file("tapestry_program_test.program");
  const Var<double> weight = values({5, 4}, 1, true), bias = values({4}, 2, true);
  const std::vector<Var<double>> x{values({3, 5}, 3, true), values({3}, 4, true)};
  const auto f = [&](const std::vector<Var<double>>& in) { return everything(in, weight, bias); };
  Program<double> program = capture<double>(f, x);
  save_program(program, file.path());
  Program<double> loaded = load_program<double>(file.path());
  REQUIRE(loaded.variables().size() == 2);
  CHECK(loaded.variables()[0].value() == weight.value());
  const std::vector<Var<double>> again{values({3, 5}, 7, true), values({3}, 8, true)};
  check_same(program, loaded, again);
  const std::vector<Var<double>> right = f(again);
  for (std::size_t k = 0; k < 3; ++k)
    for (std::size_t i = 0; i < right[k].value().size(); ++i)
      CHECK(loaded.output(k).data()[i] == doctest::Approx(right[k].value().data()[i]).epsilon(1e-13));
  // Both learn alike.
  for (Program<double>* side : {&program, &loaded})
    for (Var<double>& v : side->variables()) {
      v.mutable_value() -= 0.1 * v.gradient();
      v.zero_gradient();
    }
  CHECK(loaded.variables()[0].value() != values({5, 4}, 1).value());
  check_same(program, loaded, again);
  // What was learned is saved, from a loaded program too.
  save_program(loaded, file.path());
  Program<double> third = load_program<double>(file.path());
  for (Var<double>& v : loaded.variables()) v.zero_gradient();
  check_same(loaded, third, again);
}

TEST_CASE("program file: operations that can't be saved are all named, and unknown ones refused") {
  const TemporaryFile file("tapestry_program_refused.program");
  const Var<double> x = values({3, 3}, 1);
  const auto custom = [](std::string name) {
    return CustomOperation<double>{std::move(name), [](const TensorViews<double>& in, std::monostate&) {
                                     return std::vector<Tensor<double>>{Tensor<double>(2.0 * in[0])};
                                   }};
  };
  Program<double> program =
      capture([&](const Var<double>& v) { return custom("twice")({custom("doubled")({v})[0]})[0]; }, x);
  CHECK_THROWS_WITH_AS(save_program(program, file.path()), doctest::Contains("can't be saved: doubled, twice"),
                       GraphError);
  CHECK_FALSE(std::filesystem::exists(file.path()));
  Program<double> own =
      capture([](const Var<double>& v) { return record(std::make_unique<Scaled<double>>(2.0), v); }, x);
  register_operation<Scaled<double>>("test_scaled_twice");
  CHECK_THROWS_AS(register_operation<Scaled<double>>("test_scaled_twice"), Error);
  save_program(own, file.path());
  std::string bytes = file.read();
  bytes.replace(bytes.find("test_scaled"), 11, "test_other_");
  file.write(with_checksum(std::move(bytes)));
  CHECK_THROWS_WITH_AS(load_program<double>(file.path()), doctest::Contains("test_other_ is not known"), IoError);
}

TEST_CASE("program file: another type, another version, and every kind of damage are refused") {
  const TemporaryFile file("tapestry_program_damaged.program");
  const Var<double> weight = values({5, 4}, 1, true);
  Program<double> program = capture(
      [&](const Var<double>& v) { return sum(softmax(linear(slice(v, 0, {.start = 1}), weight) * 2.0 + exp(weight))); },
      values({6, 5}, 2, true));
  save_program(program, file.path());
  const std::string good = file.read();
  CHECK_NOTHROW(load_program<double>(file.path()));
  CHECK_THROWS_WITH_AS(load_program<float>(file.path()), doctest::Contains("of 64 bit numbers, not 32"), IoError);
  std::string other = good;
  for (const char version : {0, 3}) {
    other[8] = version;
    file.write(other);
    CHECK_THROWS_WITH_AS(load_program<double>(file.path()),
                         doctest::Contains(("version " + std::to_string(version)).c_str()), IoError);
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{20}, std::size_t{32}, good.size() - 1}) {
    file.write(good.substr(0, length));
    CHECK_THROWS_AS(load_program<double>(file.path()), IoError);
  }
  // Any byte, with the checksum as it was: noticed. With a checksum that fits: refused, or a program that can run.
  Generator random(3);
  const IndexTensor places = random.integers({400}, 32, static_cast<std::int64_t>(good.size()));
  const IndexTensor bits = random.integers({400}, 0, 8);
  int refused = 0;
  for (std::int64_t i = 0; i < 400; ++i) {
    std::string bad = good;
    bad[static_cast<std::size_t>(places(i))] ^= static_cast<char>(1 << bits(i));
    file.write(bad);
    CHECK_THROWS_WITH_AS(load_program<double>(file.path()), doctest::Contains("checksum"), IoError);
    file.write(with_checksum(std::move(bad)));
    try {
      Program<double> odd = load_program<double>(file.path());
      std::vector<Var<double>> inputs;
      for (std::size_t k = 0; k < odd.inputs(); ++k) inputs.push_back(Var<double>::ones(odd.input_shape(k)));
      odd.run(std::span<const Var<double>>(inputs));
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 20);
}
