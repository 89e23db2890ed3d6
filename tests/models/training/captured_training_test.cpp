#include <tapestry/graph/program/program.hpp>

#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/training/schedule.hpp>

#include "models/training/optimizers/methods.hpp"

using namespace tapestry;

namespace {

using V = Var<double>;
using Groups = ParameterGroups<double>;
using Make = std::function<std::unique_ptr<Optimizer<double>>(const Groups&)>;

/// Layers of all kinds: a linear one, a product of matrices, one whose weights are used twice, and a narrow one.
struct Network {
  V first, first_bias, second, shared, last, last_bias;

  explicit Network(std::uint64_t seed = 1) {
    Generator random(seed);
    const auto make = [&](const Shape& shape) { return V(random.normal<double>(shape) * 0.1, true); };
    first = make({64, 80}), first_bias = make({80}), second = make({80, 70}), shared = make({70, 70});
    last = make({70, 3}), last_bias = make({3});
  }
  std::vector<V> parameters() const { return {first, first_bias, second, shared, last, last_bias}; }
  V operator()(const V& x, const V& target) const {
    V h = linear(x, first, first_bias, Activation::tanh);
    h = exp(-square(matmul(h, second)));
    h = linear(h, shared, Activation::sigmoid);
    h = linear(h, shared, Activation::softplus);
    return mean(square(linear(h, last, last_bias) - target));
  }
};

struct Batch {
  V x, target;
  Batch(std::uint64_t seed, std::int64_t rows) {
    Generator random(seed);
    x = V(random.normal<double>({rows, 64})), target = V(random.normal<double>({rows, 3}));
  }
};

double difference(const std::vector<V>& a, const std::vector<V>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::int64_t k = 0; k < a[i].size(); ++k) {
      const double d = std::abs(a[i].data()[k] - b[i].data()[k]);
      worst = d > worst || std::isnan(d) ? d : worst;
    }
  return worst;
}

/// A network with its optimiser.
struct Side {
  Network network;
  std::unique_ptr<Optimizer<double>> optimizer;
  Program<double> program;

  explicit Side(const Make& make) : optimizer(make(Groups().add(network.parameters()))) {}
  void capture(const Batch& batch) { program = capture_training(network, *optimizer, batch.x, batch.target); }
  void on_tape(const Batch& batch) {
    optimizer->zero_gradients();
    network(batch.x, batch.target).backward();
    optimizer->step();
  }
  void in_program(const Batch& batch) { program.train(batch.x, batch.target); }
  /// By the program's gradients, with the optimiser outside of it.
  void in_two(const Batch& batch) {
    optimizer->zero_gradients();
    program.run_backward(batch.x, batch.target);
    optimizer->step();
  }
};

NamedTensors state(Optimizer<double>& optimizer) {
  Archive a;
  optimizer.archive(a);
  return a.save();
}

/// Some steps on the tape, and as programs in one and in two.
void compare(const Make& make, std::int64_t rows = 5, int steps = 4) {
  Side tape(make), program(make), two(make);
  program.capture(Batch(1, rows)), two.capture(Batch(1, rows));
  const RateSchedule rate = schedules::one_cycle(steps);
  const double base = tape.optimizer->rate();
  for (int i = 0; i < steps; ++i) {
    CAPTURE(i);
    const Batch batch(10 + static_cast<std::uint64_t>(i), rows);
    for (Side* side : {&tape, &program, &two}) side->optimizer->set_rate(base * rate(i));
    tape.on_tape(batch), program.in_program(batch), two.in_two(batch);
    CHECK(difference(program.network.parameters(), tape.network.parameters()) < 1e-10);
    CHECK(difference(program.network.parameters(), two.network.parameters()) == 0);
    CHECK(program.program.output()() == two.program.output()());
    CHECK(program.optimizer->steps() == i + 1);
  }
  CHECK(difference(program.network.parameters(), Network().parameters()) > 1e-4);
}

}  // namespace

TEST_CASE("captured training: all methods do what they do on the tape, with rates that change") {
  for (const auto& method : named_methods<double>()) {
    CAPTURE(method.name);
    compare(method.make);
  }
}

TEST_CASE("captured training: batches up to and beyond the largest of few rows") {
  for (const std::int64_t rows : {1, 2, 8, 16, 17}) {
    CAPTURE(rows);
    compare([](const Groups& p) { return std::make_unique<Adam<double>>(p); }, rows, 2);
    compare([](const Groups& p) { return std::make_unique<AmsGrad<double>>(p); }, rows, 2);
  }
}

TEST_CASE("captured training: decay, L1, limits on elements and norms, and groups") {
  compare([](const Groups& p) { return std::make_unique<AdamW<double>>(p, AdamWOptions{.weight_decay = 0.3}); });
  compare([](const Groups& p) {
    return std::make_unique<Sgd<double>>(p, SgdOptions{.rate = 0.1, .momentum = 0.5, .weight_decay = 0.2});
  });
  compare([](const Groups& all) {
    std::vector<V> p;
    for (const auto& member : all.members()) p.push_back(member.variable);
    Groups groups;
    groups.add({p[0], p[1]}, {.rate_factor = 3, .l1 = 0.05}).add({p[2]}, {.weight_decay = 0.1, .max_norm = 0.5});
    groups.add({p[3], p[4]}, {.rate_factor = 0.2}).add({p[5]});
    auto adam = std::make_unique<Adam<double>>(groups, AdamOptions{.rate = 0.01});
    adam->set_clipping({.value = 1e-3});
    return adam;
  });
}

TEST_CASE("captured training: a limit on the norm of all gradients is respected") {
  const Make clipped = [](const Groups& p) {
    auto sgd = std::make_unique<Sgd<double>>(p, SgdOptions{.rate = 0.1});
    sgd->set_clipping({.norm = 1e-2});
    return sgd;
  };
  compare(clipped);
  // It may be set between two steps.
  Side tape(clipped), program(clipped);
  program.capture(Batch(1, 4));
  for (const double norm : {0.0, 1e-3, 0.0}) {
    for (Side* side : {&tape, &program}) side->optimizer->set_clipping({.norm = norm});
    tape.on_tape(Batch(2, 4)), program.in_program(Batch(2, 4));
    CHECK(difference(program.network.parameters(), tape.network.parameters()) < 1e-12);
  }
}

TEST_CASE("captured training: many rows, which go the way of large products, give the tape's parameters") {
  compare([](const Groups& p) { return std::make_unique<Adam<double>>(p); }, 40, 2);
}

TEST_CASE("captured training: float") {
  Generator random(3);
  Var<float> w(random.normal<float>({100, 90}) * 0.1F, true), b = Var<float>::filled({90}, 0.0F, true);
  Var<float> w2(w.tensor(), true), b2(b.tensor(), true);
  const Var<float> x(random.normal<float>({8, 100}));
  Adam<float> adam({w, b}), adam2({w2, b2});
  Program<float> program = capture_training(
      [&](const Var<float>& v) { return mean(square(linear(v, w, b, Activation::relu) - 1.0F)); }, adam, x);
  for (int i = 0; i < 3; ++i) {
    program.train(x);
    adam2.zero_gradients();
    mean(square(linear(x, w2, b2, Activation::relu) - 1.0F)).backward();
    adam2.step();
  }
  for (std::int64_t i = 0; i < w.size(); ++i) REQUIRE(std::abs(w.data()[i] - w2.data()[i]) < 2e-5F);
  CHECK(program.output()() ==
        doctest::Approx(mean(square(linear(x, w2, b2, Activation::relu) - 1.0F)).item()).epsilon(0.1));
}

TEST_CASE("captured training: the gradients of matrices are never in memory") {
  Side side([](const Groups& p) { return std::make_unique<Adam<double>>(p); });
  side.capture(Batch(1, 8));
  const ProgramReport& report = side.program.report();
  // The shared weights have a sum, which is.
  CHECK(report.training.values_bytes + (64 * 80 + 80 * 70) * sizeof(double) <= report.backward.values_bytes);
  side.in_program(Batch(1, 8));
  for (const V& p : side.network.parameters()) CHECK_FALSE(p.has_gradient());
}

TEST_CASE("captured training: the state is the optimiser's, whoever makes the next step") {
  const Make make = [](const Groups& p) { return std::make_unique<NAdam<double>>(p); };
  Side tape(make), mixed(make), resumed(make);
  mixed.capture(Batch(1, 6));
  for (std::uint64_t i = 0; i < 6; ++i) {
    const Batch batch(i, 6);
    tape.on_tape(batch);
    i % 3 == 1 ? mixed.on_tape(batch) : mixed.in_program(batch);
  }
  CHECK(difference(mixed.network.parameters(), tape.network.parameters()) < 1e-10);
  CHECK(mixed.optimizer->steps() == 6);
  // As from a checkpoint.
  Archive a;
  resumed.optimizer->archive(a);
  a.load(state(*mixed.optimizer), "memory");
  for (std::size_t i = 0; i < 6; ++i) resumed.network.parameters()[i].assign(mixed.network.parameters()[i].tensor());
  resumed.capture(Batch(1, 6));
  mixed.in_program(Batch(9, 6)), resumed.in_program(Batch(9, 6));
  CHECK(difference(mixed.network.parameters(), resumed.network.parameters()) == 0);
}

TEST_CASE("captured training: what is frozen stays, what the optimiser does not know gets its gradient") {
  Network network, before;
  const Batch batch(4, 6);
  network.second.set_requires_grad(false);
  Sgd<double> sgd({network.first, network.first_bias, network.second, network.last}, {.rate = 0.1});
  V x(batch.x.tensor(), true);
  Program<double> program = capture_training(network, sgd, x, batch.target);
  network(x, batch.target).backward();
  const Tensor<double> dx = x.gradient(), shared = network.shared.gradient(), bias = network.last_bias.gradient();
  for (V p : network.parameters()) p.zero_gradient();
  // Frozen after the capture.
  network.first.set_requires_grad(false);
  program.train(x, batch.target);
  CHECK(difference({network.first, network.second}, {before.first, before.second}) == 0);
  CHECK(difference({network.first_bias}, {before.first_bias}) > 0);
  CHECK(difference({network.last}, {before.last}) > 0);
  CHECK(difference({V(Tensor<double>(network.shared.gradient()))}, {V(shared)}) < 1e-15);
  CHECK(difference({V(Tensor<double>(network.last_bias.gradient()))}, {V(bias)}) < 1e-15);
  CHECK(difference({V(Tensor<double>(program.gradient(0)))}, {V(dx)}) < 1e-15);
  // It was no part of what is computed.
  network.second.set_requires_grad(true);
  CHECK_THROWS_WITH_AS(program.train(x, batch.target),
                       "train: a parameter of shape [80, 70] was frozen when the program was captured, and is no "
                       "longer: capture it again",
                       GraphError);
}

TEST_CASE("captured training: a matrix that is read later on is updated after that") {
  // The gradient of w through the first product is there before the second one is read for that of v.
  Generator random(5);
  const auto run = [&](bool in_program) {
    Generator values(6);
    V w(values.normal<double>({64, 64}), true), v(values.normal<double>({8, 64}), true);
    const auto loss = [&](const V& x) {
      const V u = matmul(v, w.detach());
      return sum(matmul(u * x, w) * x);
    };
    const V x(values.normal<double>({8, 64}));
    Sgd<double> sgd({w, v}, {.rate = 0.01});
    if (in_program) {
      capture_training(loss, sgd, x).train(x);
    } else {
      loss(x).backward();
      sgd.step();
    }
    return std::vector<V>{w, v};
  };
  CHECK(difference(run(true), run(false)) < 1e-12);
}

TEST_CASE("captured training: the number of threads changes nothing") {
  const int before = threads();
  std::vector<V> results[2];
  for (const int count : {1, 2}) {
    set_threads(count);
    Generator random(7);
    V w(random.normal<double>({512, 300}) * 0.1, true), v(random.normal<double>({300, 200}) * 0.1, true);
    const V x(random.normal<double>({12, 512}));
    Adam<double> adam({w, v});
    Program<double> program = capture_training(
        [&](const V& in) { return mean(square(linear(linear(in, w, Activation::tanh), v, Activation::none))); }, adam,
        x);
    for (int i = 0; i < 3; ++i) program.train(x);
    results[count - 1] = {w, v};
  }
  set_threads(before);
  CHECK(difference(results[0], results[1]) == 0);
}

TEST_CASE("captured training: refusals") {
  V w = V::filled({3}, 1.0, true), other = V::filled({3}, 1.0, true);
  const V x = V::filled({3}, 2.0);
  Sgd<double> sgd({w}), stranger({other});
  CHECK_THROWS_WITH_AS(capture_training([&](const V& v) { return v * w; }, sgd, x),
                       "attach: output 0 has no gradient: it must have one element and depend on what requires one",
                       GraphError);
  CHECK_THROWS_WITH_AS(capture_training([&](const V& v) { return sum(v * w); }, stranger, x),
                       "attach: the program reads no parameter of the optimiser that requires a gradient", GraphError);
  Program<double> program = capture([&](const V& v) { return sum(v * w); }, x);
  CHECK_THROWS_WITH_AS(program.train(x), "train: no optimiser is attached to the program", GraphError);
  program.attach(sgd);
  CHECK_THROWS_AS(program.train(V::filled({4}, 2.0)), ShapeError);
  CHECK(sgd.steps() == 0);
  program.train(x);
  CHECK(w.data()[0] == doctest::Approx(1 - 0.01 * 2));
}
