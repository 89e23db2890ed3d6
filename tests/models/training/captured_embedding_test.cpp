#include <cmath>
#include <filesystem>
#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/program/saving.hpp>

#include "models/temporary_folder.hpp"
#include "models/training/optimizers/methods.hpp"

using namespace tapestry;

namespace {

using V = Var<double>;
using Groups = ParameterGroups<double>;

/// A table that is looked up in twice, with rows that occur in both and several times, and a matrix.
struct Model {
  V table, weight;
  Indices first{1, 4, 1, 7}, second{7, 2, 2, 0};

  Model() {
    Generator random(3);
    table = V(random.normal<double>({9, 5}), true), weight = V(random.normal<double>({5, 2}), true);
  }
  V operator()(const V& x) const {
    const V h = tanh(embedding(table, first) * x + square(embedding(table, second)));
    return mean(square(matmul(h, weight)));
  }
  void choose(int step) {
    first.assign({step, 4, (step + 3) % 9, 7});
    second.assign({7, (2 * step) % 9, 2, step});
  }
};

V example(std::uint64_t seed) {
  Generator random(seed);
  return V(random.normal<double>({4, 5}));
}

double difference(const V& a, const V& b) {
  double worst = 0;
  for (std::int64_t k = 0; k < a.size(); ++k) worst = std::fmax(worst, std::abs(a.data()[k] - b.data()[k]));
  return worst;
}

/// Steps on the tape, as a program with the updates, and as one beside the optimiser.
template <class Make>
void compare(const Make& make) {
  Model tape, inside, beside;
  const auto of = [&](Model& model) { return make(Groups().add({model.table, model.weight})); };
  const auto on_tape = of(tape), in_program = of(inside), after_program = of(beside);
  Program<double> training = capture_training(inside, *in_program, example(1));
  Program<double> program = capture(beside, example(1));
  for (int step = 0; step < 5; ++step) {
    CAPTURE(step);
    for (Model* model : {&tape, &inside, &beside}) model->choose(step);
    const V x = example(10 + static_cast<std::uint64_t>(step));
    on_tape->zero_gradients();
    tape(x).backward();
    on_tape->step();
    training.train(x);
    after_program->zero_gradients();
    program.run_backward(x);
    after_program->step();
    CHECK(difference(tape.table, inside.table) < 1e-12);
    CHECK(difference(tape.table, beside.table) < 1e-12);
    CHECK(difference(tape.weight, inside.weight) < 1e-12);
    CHECK(!inside.table.has_gradient());
  }
  CHECK(difference(tape.table, Model().table) > 1e-4);
}

}  // namespace

TEST_CASE("captured embedding: all methods touch the rows that they touch on the tape") {
  for (const auto& method : named_methods<double>()) {
    CAPTURE(method.name);
    compare(method.make);
  }
  compare([](const Groups& all) {
    const std::vector<V> p{all.members()[0].variable, all.members()[1].variable};
    Groups groups;
    groups.add({p[0]}, {.l1 = 0.05, .max_norm = 1.5, .unit_axis = 0}).add({p[1]}, {.weight_decay = 0.1});
    auto adam = std::make_unique<Adam<double>>(groups, AdamOptions{.rate = 0.05});
    adam->set_clipping({.value = 0.02});
    return adam;
  });
  compare([](const Groups& p) {
    auto sgd = std::make_unique<Sgd<double>>(p, SgdOptions{.rate = 0.5, .momentum = 0.9});
    sgd->set_clipping({.norm = 0.1});
    return sgd;
  });
}

TEST_CASE("captured embedding: gradients are by rows, of the rows of each run, and add up") {
  Model tape, model;
  Program<double> program = capture(model, example(1));
  CHECK(program.report().backward.values_bytes < 6 * 1024);
  for (int step = 0; step < 3; ++step) {
    tape.choose(step), model.choose(step);
    tape(example(5)).backward();
    program.run_backward(example(5));
  }
  model.choose(8);
  const auto rows = model.table.sparse_gradient();
  const auto expected = tape.table.sparse_gradient();
  REQUIRE(rows.has_value());
  CHECK(rows->rows == expected->rows);
  for (std::size_t i = 0; i < rows->values.size(); ++i)
    CHECK(rows->values.data()[i] == doctest::Approx(expected->values.data()[i]).epsilon(1e-12));

  // To an array, where there is one, and not to that of somebody else.
  const Tensor<double> before = model.table.gradient();
  V other = model.table;
  const auto held = other.gradient();
  model.choose(2);
  program.run_backward(example(5));
  CHECK(Tensor<double>(held) == before);
  CHECK(!model.table.sparse_gradient().has_value());
  tape.choose(2);
  tape(example(5)).backward();
  CHECK(difference(V(model.table.gradient()), V(tape.table.gradient())) < 1e-12);
}

TEST_CASE("captured embedding: a table that something else reads, too, has a whole gradient") {
  Model tape, model;
  const auto tied = [](const Model& m) {
    return [&m](const V& x) { return sum(exp(matmul(embedding(m.table, m.first) * x, transpose(m.table)) * 0.1)); };
  };
  Program<double> program = capture(tied(model), example(1));
  program.run_backward(example(2));
  CHECK(!model.table.sparse_gradient().has_value());
  tied(tape)(example(2)).backward();
  CHECK(difference(V(model.table.gradient()), V(tape.table.gradient())) < 1e-12);

  // Beside rows that the tape has left.
  Model both;
  Program<double> whole = capture(tied(both), example(1));
  both(example(3)).backward();
  REQUIRE(both.table.sparse_gradient().has_value());
  whole.run_backward(example(2));
  tape(example(3)).backward();
  CHECK(difference(V(both.table.gradient()), V(tape.table.gradient())) < 1e-12);
}

TEST_CASE("captured embedding: the optimiser may know the matrix and not the table, in a program from a file, too") {
  const TemporaryFolder folder;
  Model tape, model;
  save_program(capture(model, example(1)), folder.file("program"));
  Program<double> loaded = load_program<double>(folder.file("program"));
  V table, weight;
  for (const V& variable : loaded.variables()) (variable.extent(0) == 9 ? table : weight) = variable;
  Sgd<double> sgd(Groups().add({weight}), {.rate = 0.1});
  loaded.attach(sgd);
  loaded.train(example(2));
  tape(example(2)).backward();
  REQUIRE(table.sparse_gradient().has_value());
  CHECK(table.sparse_gradient()->rows == tape.table.sparse_gradient()->rows);
  CHECK(difference(V(table.gradient()), V(tape.table.gradient())) < 1e-12);
  CHECK(difference(weight, V(tape.weight.value() - 0.1 * tape.weight.gradient())) < 1e-12);

  Sgd<double> both(Groups().add({weight, table}), {.rate = 0.1});
  loaded.attach(both);
  const Tensor<double> start = table.value();
  loaded.train(example(3));
  CHECK(table.value()(3, 0) == start(3, 0));
  CHECK(table.value()(4, 0) != start(4, 0));
}
