#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/pool.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/graph/program/program.hpp>

#include "autodiff/registry_examples.hpp"

namespace {

std::atomic<long> allocations{0};

}  // namespace

// Of this test program: counts what the containers of the standard library ask for.
void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes == 0 ? 1 : bytes);
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}

using namespace tapestry;

namespace {

/// Plain descent.
class Descent final : public ParameterUpdate<float> {
 public:
  explicit Descent(std::vector<Var<float>> parameters) : parameters_(std::move(parameters)) {}
  std::vector<Var<float>> parameters() const override { return parameters_; }
  void step() override {}
  bool in_pieces() const override { return true; }
  bool by_element(std::size_t) const override { return true; }
  void begin_step() override { ++steps; }
  bool begin(std::size_t i) override {
    parameters_[i].mutable_data();
    return true;
  }
  void update_elements(std::size_t i, const float* gradient, std::int64_t first, std::int64_t count) const override {
    change(i, gradient, first, count);
  }
  void end(std::size_t) override {}
  void update_rows(std::size_t i, const SparseRows<float>& gradient) override {
    const std::int64_t width = parameters_[i].extent(1);
    for (std::size_t r = 0; r < gradient.rows.size(); ++r)
      change(i, gradient.values.data() + static_cast<std::int64_t>(r) * width, gradient.rows.data()[r] * width, width);
  }
  int steps = 0;

 private:
  void change(std::size_t i, const float* gradient, std::int64_t first, std::int64_t count) const {
    float* const values = const_cast<float*>(parameters_[i].data()) + first;
    for (std::int64_t k = 0; k < count; ++k) values[k] -= 1e-4f * gradient[k];
  }

  std::vector<Var<float>> parameters_;
};

}  // namespace

TEST_CASE("program: runs without allocating memory") {
  const Var<float> w = Var<float>::filled({20, 32}, 0.1f, true), b = Var<float>::filled({32}, 0.2f, true);
  const Var<float> v = Var<float>::filled({32, 5}, -0.1f, true), c = Var<float>::filled({5}, 0.f, true);
  const Indices labels{0, 1, 2, 3};
  const auto f = [&](const Var<float>& x) {
    const Var<float> h = linear(x, w, b, Activation::relu);
    return cross_entropy(linear(h, v, c), labels) + mean(softmax(h * h + exp(-h), 1));
  };
  const Var<float> x = Var<float>::filled({4, 20}, 0.5f);
  Program<float> program = capture(f, x);
  const auto step = [&] {
    for (Var<float> parameter : {w, b, v, c}) parameter.zero_gradient();
    program.run(x);
    program.run_backward(x);
  };
  step();
  step();
  // Operations may take scratch memory from the pool, which has it.
  const long before = allocations;
  const MemoryStatistics pool = memory_statistics();
  for (int i = 0; i < 10; ++i) step();
  CHECK(allocations == before);
  CHECK(memory_statistics().system_calls == pool.system_calls);
  CHECK(memory_statistics().in_use == pool.in_use);
  CHECK(f(x).item() == doctest::Approx(program.output()()));
  const std::vector<Var<float>> counted(static_cast<std::size_t>(x.size()), x);
  CHECK(allocations > before);
}

TEST_CASE("program: a step of training allocates no memory") {
  const Var<float> w = Var<float>::filled({64, 80}, 0.1f, true), b = Var<float>::filled({80}, 0.2f, true);
  const Var<float> v = Var<float>::filled({80, 5}, -0.1f, true), x = Var<float>::filled({4, 64}, 0.5f);
  const Var<float> table = Var<float>::filled({1000, 64}, 0.1f, true);
  const Indices symbols{3, 999, 3, 0};
  Descent descent({w, b, v, table});
  Program<float> program = capture_training(
      [&](const Var<float>& in) {
        return mean(square(linear(linear(in + embedding(table, symbols), w, b, Activation::relu), v)));
      },
      descent, x);
  program.train(x);
  program.train(x);
  const long before = allocations;
  const MemoryStatistics pool = memory_statistics();
  const float loss = program.output()();
  for (int i = 0; i < 10; ++i) program.train(x);
  CHECK(allocations == before);
  CHECK(memory_statistics().system_calls == pool.system_calls);
  CHECK(memory_statistics().in_use == pool.in_use);
  CHECK(program.output()() < loss);
  CHECK(descent.steps == 12);
  CHECK(table.data()[999 * 64] != 0.1f);
  CHECK(table.data()[998 * 64] == 0.1f);

  const auto by_itself = [&] {
    for (Var<float> parameter : {w, b, v, table}) parameter.zero_gradient();
    program.run_backward(x);
  };
  by_itself();
  by_itself();
  const long trained = allocations;
  for (int i = 0; i < 10; ++i) by_itself();
  CHECK(allocations == trained);
  CHECK(table.sparse_gradient().has_value());
}

TEST_CASE("program: elementwise chains take nothing from the pool either") {
  const Var<float> w = Var<float>::filled({40000}, 0.1f, true);
  const auto f = [&](const Var<float>& x) { return sum(tanh(x * w) + exp(-w) * w); };
  const Var<float> x = Var<float>::filled({40000}, 0.5f);
  Program<float> program = capture(f, x);
  const auto step = [&] {
    Var<float>(w).zero_gradient();
    program.run_backward(x);
  };
  step();
  step();
  const std::uint64_t before = detail::thread_allocated_bytes();
  for (int i = 0; i < 10; ++i) step();
  CHECK(detail::thread_allocated_bytes() == before);
  f(x);
  CHECK(detail::thread_allocated_bytes() > before);
}

TEST_CASE("program: no operation of the library makes a run ask the system for memory") {
  using V = Var<double>;
  const int before_test = threads();
  set_threads(1);
  std::string names;
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.differentiable) continue;
    CAPTURE(op.name);
    std::vector<V> x;
    for (const Tensor<double>& value : testing::examples(op, 1)) x.emplace_back(value, true);
    Program<double> program =
        capture<double>([&](const std::vector<V>& in) { return std::vector<V>{sum(op.apply(in))}; }, x);
    const auto step = [&] {
      program.run(std::span<const V>(x));
      program.run_backward(std::span<const V>(x));
    };
    step();
    step();
    const long before = allocations;
    const MemoryStatistics pool = memory_statistics();
    for (int i = 0; i < 3; ++i) step();
    if (allocations != before) names += op.name + ' ';
    CHECK(memory_statistics().system_calls == pool.system_calls);
    CHECK(memory_statistics().in_use == pool.in_use);
  }
  set_threads(before_test);
  CHECK(names == "");
}
