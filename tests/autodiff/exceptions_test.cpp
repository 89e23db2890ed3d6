#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/autodiff/pool.hpp>

// Whatever is thrown, wherever: nothing is changed, nothing is left behind, and the next step gives the same bits.

using namespace tapestry;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A user's operation y = 2 x that throws where it is told to.
enum class Fails { never, shape, forward, backward, vjp, jvp };
class Doubling final : public Operation<double> {
 public:
  explicit Doubling(Fails where, int* times = nullptr) : where_(where), times_(times) {}
  std::string_view name() const override { return "doubling"; }
  Shape shape(const Shapes& in, int) const override {
    at(Fails::shape);
    return in[0];
  }
  void forward(Forward<double>& c) override {
    at(Fails::forward);
    for (std::int64_t i = 0; i < c.output().size(); ++i) c.output()[i] = 2 * c.input(0)[i];
  }
  void backward(Backward<double>& c) override {
    const Target<double> to = c.target(0);
    at(Fails::backward);
    for (std::int64_t i = 0; i < to.size(); ++i) to.data[i] = 2 * c.gradient()[i] + (to.accumulate ? to.data[i] : 0.0);
  }
  void vjp(Vjp<double>& c) override {
    const V g = c.gradient() * 2.0;
    at(Fails::vjp);
    c.add(0, g);
  }
  Vars jvp(Jvp<double>& c) override {
    const V t = c.tangent(0) * 2.0;
    at(Fails::jvp);
    return {t};
  }

 private:
  void at(Fails here) const {
    if (where_ != here || (times_ != nullptr && (*times_)-- <= 0)) return;
    throw Broken("broken");
  }
  Fails where_;
  int* times_;
};

V doubling(const V& x, Fails where, int* times = nullptr) {
  return record(std::make_unique<Doubling>(where, times), x);
}

V ramp(const Shape& shape, bool requires_grad = false) {
  Tensor<double> x = empty_tensor<double>(shape);
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = std::sin(1.0 + static_cast<double>(i));
  return V(std::move(x), requires_grad);
}

// The leaves that both the step and what fails use.
struct Model {
  V w = ramp({4, 4}, true), table = ramp({6, 4}, true), gates = ramp({16, 4}, true), bias = ramp({16}, true);
  Vars leaves() const { return {w, table, gates, bias}; }

  // One result of several outputs, one by rows, one checkpointed.
  V loss() const {
    const V x = take(table, IndexTensor{1, 3, 1, 5});
    const auto y = lstm(reshape(x, {2, 2, 4}), V::zeros({2, 4}), V::zeros({2, 4}), gates, gates, bias);
    const Function<double> f = [](const Vars& v) { return tanh(matmul(v[0], v[1])); };
    return sum(checkpoint(f, {reshape(y.output, {4, 4}), w})) + sum(square(y.cell)) + logsumexp(matmul(x, w), {0, 1});
  }
};

// Loss and gradients of a step.
Tensor<double> step(const Model& model) {
  V y = model.loss();
  y.backward();
  Vars all{reshape(y, {1})};
  for (V leaf : model.leaves()) {
    all.push_back(V(Tensor<double>(leaf.gradient())));
    all.back() = reshape(all.back(), {-1});
    leaf.zero_gradient();
  }
  return concatenate(all).tensor();
}

Tensor<double> step_elsewhere() {
  Tensor<double> out;
  std::thread([&] { out = step(Model()); }).join();
  return out;
}

struct Failure {
  std::string name;
  std::function<void(const Model&)> run;
};

const std::vector<Failure>& failures() {
  const auto in_middle = [](const Model& m, Fails where) {
    // What depends on the failing operation, what it depends on, and what lies beside it.
    const V x = exp(m.w * 0.1), y = doubling(x, where);
    return sum(square(y) + matmul(x, m.w)) + m.loss();
  };
  static const std::vector<Failure> all{
      {"shapes of an expression", [](const Model& m) { sum(matmul(exp(m.w), m.table)).backward(); }},
      {"an axis", [](const Model& m) { sum(exp(m.w), {2}); }},
      {"an index, found in forward",
       [](const Model& m) {
         take(exp(m.table), IndexTensor{0, 6});
       }},
      {"a length, found in forward",
       [](const Model& m) {
         const V x = exp(V::ones({2, 1, 4}));
         lstm(x, V::zeros({1, 4}), V::zeros({1, 4}), m.gates, m.gates, m.bias, {.lengths = IndexTensor{3}});
       }},
      {"a matrix, found in forward", [](const Model& m) { cholesky(-matmul(m.w, m.w, {.transpose_b = true})); }},
      {"a user's shape rule", [=](const Model& m) { in_middle(m, Fails::shape); }},
      {"a user's forward", [=](const Model& m) { in_middle(m, Fails::forward); }},
      {"a user's backward", [=](const Model& m) { in_middle(m, Fails::backward).backward(); }},
      {"a user's backward in grad()", [=](const Model& m) { grad(in_middle(m, Fails::backward), m.leaves()); }},
      {"a user's rule in operations",
       [=](const Model& m) { grad(in_middle(m, Fails::vjp), m.leaves(), {.create_graph = true}); }},
      {"a user's rule in a second derivative",
       [=](const Model& m) {
         const Vars g = grad(in_middle(m, Fails::never), m.leaves(), {.create_graph = true});
         (sum(doubling(g[0], Fails::backward)) + sum(square(g[1]))).backward();
       }},
      {"a user's rule in forward mode",
       [=](const Model& m) {
         jvp<double>([&](const Vars& x) { return doubling(exp(x[0]), Fails::jvp); }, {m.w}, {m.w});
       }},
      {"a function in forward mode",
       [](const Model& m) {
         jvp<double>([](const Vars& x) { return exp(x[0]) + take(x[0], IndexTensor{7}); }, {m.w}, {m.w});
       }},
      {"a Hessian's function",
       [](const Model& m) { hessian<double>([](const V& x) { return sum(doubling(exp(x), Fails::vjp)); }, m.bias); }},
      {"per-sample gradients",
       [](const Model& m) { per_sample_gradients(sum(doubling(exp(m.w), Fails::backward), {1}), {m.w}); }},
      {"a custom operation's forward",
       [](const Model& m) {
         CustomOperation<double> f{
             .name = "custom",
             .forward = [](const TensorViews<double>&, std::monostate&) -> std::vector<Tensor<double>> {
               throw Broken("custom");
             }};
         f({exp(m.w)});
       }},
      {"a custom operation's gradient",
       [](const Model& m) {
         CustomOperation<double> f{
             .name = "custom",
             .forward = [](const TensorViews<double>& x,
                           std::monostate&) { return std::vector<Tensor<double>>{x[0] * 2.0}; },
             .vjp = [](const TensorViews<double>&, const TensorViews<double>&, const TensorViews<double>&,
                       const std::monostate&) -> std::vector<Tensor<double>> { throw Broken("custom"); }};
         (sum(f({exp(m.w)})[0]) + sum(exp(m.w))).backward();
       }},
      {"a checkpointed function",
       [](const Model& m) {
         const Function<double> f = [](const Vars& x) { return doubling(exp(x[0]), Fails::forward); };
         checkpoint(f, {m.w});
       }},
      {"a checkpointed function when it is computed again",
       [](const Model& m) {
         const auto runs = std::make_shared<int>(0);
         const Function<double> f = [runs](const Vars& x) {
           return doubling(exp(x[0]), ++*runs == 2 ? Fails::forward : Fails::never);
         };
         (sum(checkpoint(f, {m.w})) + sum(exp(m.w))).backward();
       }},
      {"a checkpointed function's backward",
       [](const Model& m) {
         const Function<double> f = [](const Vars& x) { return square(doubling(exp(x[0]), Fails::backward)); };
         (sum(checkpoint(f, {m.w})) + sum(exp(m.w))).backward();
       }},
      {"an anomaly in forward",
       [](const Model& m) {
         const DetectAnomaly on;
         const Scope scope("layer");
         sum(log(m.w * 0.0 - 1.0)).backward();
       }},
      {"an anomaly in backward",
       [](const Model& m) {
         const DetectAnomaly on;
         const Scope scope("layer");
         (sum(sqrt(m.w * 0.0)) + m.loss()).backward();
       }},
      {"an anomaly in backward, recorded",
       [](const Model& m) {
         const DetectAnomaly on;
         grad(sum(sqrt(m.w * 0.0)), {m.w}, {.create_graph = true});
       }},
      {"a user's operation with anomaly detection on",
       [=](const Model& m) {
         const DetectAnomaly on;
         in_middle(m, Fails::backward).backward();
       }},
      {"a gradient check",
       [](const Model& m) { check_gradients([](const Vars& x) { return x[0].detach() + x[0] * 0.5; }, {m.w}); }},
      {"a scope without gradients",
       [](const Model& m) {
         const NoGradients off;
         doubling(m.w, Fails::forward);
       }},
      {"another tape",
       [](const Model& m) {
         Tape tape;
         const UseTape use(tape);
         doubling(exp(m.w), Fails::forward);
       }},
      {"a freed graph",
       [](const Model& m) {
         const V y = sum(exp(m.w));
         y.backward();
         for (V leaf : m.leaves()) leaf.zero_gradient();
         (sum(exp(m.table)) + y).backward();
       }},
      {"a value changed in place",
       [](const Model& m) {
         V x(m.w.tensor());
         const V y = sum(exp(m.w) * x) + sum(exp(m.table));
         x.mutable_value()(0, 0) = 1;
         y.backward();
       }},
      {"elements that no memory holds",
       [](const Model& m) {
         sum(broadcast_to(exp(m.bias), {std::int64_t{1} << 55, 16}));
       }},
  };
  return all;
}

}  // namespace

TEST_CASE("exceptions: nothing changes or stays behind, and the next step gives the bits of a fresh tape") {
  const Tensor<double> right = step_elsewhere();
  const Model model;
  CHECK(step(model) == right);
  // Operations that have no state are made at their first use, and stay.
  for (const Failure& failure : failures()) CHECK_THROWS(failure.run(model));
  for (const Failure& failure : failures()) {
    CAPTURE(failure.name);
    const std::size_t nodes = Tape::current().nodes(), bytes = memory_statistics().in_use;
    CHECK_THROWS(failure.run(model));
    CHECK(Tape::current().nodes() == nodes);
    CHECK(memory_statistics().in_use == bytes);
    CHECK(gradients_enabled());
    CHECK_FALSE(detail::anomaly_detection());
    CHECK(detail::scope_name(detail::current_scope()).empty());
    for (const V& leaf : model.leaves()) CHECK_FALSE(leaf.has_gradient());
    CHECK(step(model) == right);
  }
}

TEST_CASE("exceptions: the same in a thread that has done nothing else, one failure after the other") {
  const Tensor<double> right = step_elsewhere();
  std::thread([&] {
    const Model model;
    for (const Failure& failure : failures()) {
      bool thrown = false;
      try {
        failure.run(model);
      } catch (const std::exception&) {
        thrown = true;
      }
      CHECK(thrown);
    }
    CHECK(Tape::current().nodes() == 0);
    CHECK(step(model) == right);
  }).join();
}

TEST_CASE("exceptions: a backward pass that failed and keeps its graph can be repeated, to the same bits") {
  for (const Fails where : {Fails::backward, Fails::vjp}) {
    const Model model;
    int times = 0;
    const auto loss = [&] { return sum(square(doubling(exp(model.w), where, &times))) * model.loss(); };
    const GradOptions options{.create_graph = where == Fails::vjp, .retain_graph = true};
    const Vars right = grad(loss(), model.leaves(), options);
    const V y = loss();
    for (int attempt = 0; attempt < 2; ++attempt) {
      times = 1;
      CHECK_THROWS_AS(grad(y, model.leaves(), options), Broken);
      const Vars again = grad(y, model.leaves(), options);
      for (std::size_t i = 0; i < right.size(); ++i) CHECK(again[i].tensor() == right[i].tensor());
    }
  }
}
