#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/indexing_along.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/sorting.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/graph/program/description.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/saving.hpp>
#include <tapestry/graph/program/state.hpp>

using namespace tapestry;

namespace {

using V = Var<double>;

V scores(std::uint64_t seed, bool requires_grad = false) {
  return V(Generator(seed).normal<double>({4, 6}), requires_grad);
}

/// The sum of squares of the two best, and where they are; and where the smallest is, whose value nothing reads.
CapturedResults<double> best(const V& x) {
  const TopK<double> two = top_k(x, 2, 1);
  return {{sum(square(two.values))}, {two.indices, top_k(-x, 1, 1).indices}};
}

Program<double> from_bytes(std::string bytes, std::uint32_t version) {
  auto state = std::make_unique<Program<double>::State>();
  state->build(detail::read_description(std::move(bytes), detail::DType::float64, 1 << 20, version));
  return Program<double>(std::move(state));
}

void check_positions(Program<double>& program, const V& x) {
  CHECK(program.positions(0) == top_k(x, 2, 1).indices.tensor());
  CHECK(program.positions(1) == top_k(-x, 1, 1).indices.tensor());
}

/// Reads labels without looking whether they are classes.
class Unchecked final : public Operation<double>, public SavedOperation {
 public:
  explicit Unchecked(Indices labels) : labels_(std::move(labels)) {}
  explicit Unchecked(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(labels_); }
  std::string_view name() const override { return "test_unchecked"; }
  Shape shape(const detail::Shapes& in, int) const override { return in[0]; }
  void forward(Forward<double>& c) override {
    for (std::int64_t i = 0; i < c.output().size(); ++i)
      c.output()[i] = c.input(0)[i] + static_cast<double>(labels_.size());
  }
  void vjp(Vjp<double>& c) override { c.add(0, c.gradient()); }

 private:
  Indices labels_;
};

const bool unchecked_is_known = [] {
  register_operation<Unchecked>("test_unchecked");
  return true;
}();

}  // namespace

TEST_CASE("positions: a program finds them at each run, forward and backward") {
  Program<double> program = capture(best, scores(1, true));
  CHECK_THROWS_WITH_AS(program.positions(), "program: has not run yet", GraphError);
  program.run(scores(2));
  check_positions(program, scores(2));
  CHECK(program.output()() == best(scores(2)).variables[0].item());
  program.run_backward(scores(3));
  check_positions(program, scores(3));
  CHECK(program.positions(1) == IndexTensor(argmin(scores(3), 1, true)));
  CHECK(program.outputs() == 1);
  CHECK_THROWS_WITH_AS(program.positions(2), "program: finds 2 arrays of positions, no number 2", Error);
}

TEST_CASE("positions: operations of the program read those of the run") {
  // Elements of one input where the other has its best, and the loss of the class that the other finds.
  const auto f = [](const V& x, const V& y) {
    const TopK<double> top = top_k(x, 1, 1);
    return sum(take_along_axis(y, top.indices, 1)) + mean(take_along_axis(x * y, top_k(y, 2, 1).indices, 1)) +
           cross_entropy(reshape(y, {4, 1, 6}), top.indices);
  };
  Program<double> program = capture(f, scores(1, true), scores(2, true));
  const V x = scores(5, true), y = scores(6, true);
  program.run_backward(x, y);
  f(x, y).backward();
  CHECK(program.output()() == doctest::Approx(f(x, y).item()).epsilon(1e-14));
  for (std::size_t i = 0; i < 24; ++i) {
    CHECK(program.gradient(0).data()[i] == doctest::Approx(x.gradient().data()[i]).epsilon(1e-13));
    CHECK(program.gradient(1).data()[i] == doctest::Approx(y.gradient().data()[i]).epsilon(1e-13));
  }
}

TEST_CASE("positions: what reads them, or gives others than an operation finds, is refused") {
  const auto branch = [](const V& x) { return top_k(x, 1, 1).indices[0] > 2 ? x : -x; };
  CHECK_THROWS_WITH_AS(capture(branch, scores(1)), doctest::Contains("the function reads positions of shape [4, 1]"),
                       GraphError);
  const auto whole = [](const V& x) { return x * static_cast<double>(top_k(x, 1, 1).indices.tensor()(0, 0)); };
  CHECK_THROWS_WITH_AS(capture(whole, scores(1)), doctest::Contains("the function reads positions"), GraphError);
  const auto memory = [](const V& x) { return x * static_cast<double>(*top_k(x, 1, 1).indices.data()); };
  CHECK_THROWS_WITH_AS(capture(memory, scores(1)), doctest::Contains("the function reads positions"), GraphError);
  CHECK(branch(scores(1)).shape() == Shape{4, 6});
  const auto given = [](const V& x) { return CapturedResults<double>{{x * 2.0}, {Indices{1, 2}}}; };
  CHECK_THROWS_WITH_AS(capture(given, scores(1)),
                       "capture: positions 0 of shape [2] are not found by an operation of the function", GraphError);
  for (const auto& [name, f] :
       {std::pair<std::string, std::function<V(const V&)>>{"argmax", [](const V& x) { return x * double(argmax(x)); }},
        {"argmin", [](const V& x) { return x * double(argmin(x, 0)(0)); }},
        {"argsort", [](const V& x) { return x * double(argsort(x)(0, 0)); }}})
    CHECK_THROWS_WITH_AS(capture(f, scores(1)),
                         doctest::Contains((name + ": reads a variable of shape [4, 6], which a captured").c_str()),
                         GraphError);
}

TEST_CASE("positions: a saved classifier gives its labels; files of version 1 have none") {
  REQUIRE(unchecked_is_known);
  const auto path = std::filesystem::temp_directory_path() / "tapestry_positions_test.program";
  save_program(capture(best, scores(1, true)), path);
  Program<double> loaded = load_program<double>(path);
  std::filesystem::remove(path);
  loaded.run(scores(4));
  check_positions(loaded, scores(4));
  loaded.run_backward(scores(5));
  check_positions(loaded, scores(5));

  const Program<double> program = capture(best, scores(1, true));
  const std::string bytes = detail::describe(program.state().source);
  // The last three numbers: how many arrays, and which.
  std::int64_t numbers[3];
  std::memcpy(numbers, bytes.data() + bytes.size() - sizeof numbers, sizeof numbers);
  CHECK(numbers[0] == 2);
  std::string first = bytes.substr(0, bytes.size() - sizeof numbers);
  CHECK_THROWS_AS(from_bytes(bytes, 1), IoError);
  CHECK_THROWS_AS(from_bytes(first, 2), IoError);
  Program<double> old = from_bytes(first, 1);
  old.run(scores(4));
  CHECK(old.output()() == best(scores(4)).variables[0].item());
  CHECK_THROWS_AS(old.positions(), Error);
  // An array that no operation writes.
  numbers[0] = 1, numbers[1] = numbers[2] + 1, numbers[2] = 0;  // one, which is new and of rank 0
  std::string other =
      first + std::string(reinterpret_cast<const char*>(numbers), sizeof numbers) + std::string(8, '\0');
  CHECK_THROWS_AS(from_bytes(other, 2), IoError);

  const Program<double> careless =
      capture([](const V& x) { return record(std::make_unique<Unchecked>(top_k(x, 1, 1).indices), x); }, scores(1));
  CHECK_THROWS_WITH_AS(save_program(careless, path), doctest::Contains("are read by one that takes only those"),
                       GraphError);
}
