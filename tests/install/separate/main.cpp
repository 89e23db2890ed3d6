#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include <tapestry/autodiff/configuration.hpp>
#include <tapestry/tapestry.hpp>

namespace {

using Variable = tapestry::Var<double>;
using Variables = std::vector<Variable>;

// An operation of one's own in full: a class, which a program's file can name.
class Cube final : public tapestry::Operation<double>, public tapestry::SavedOperation {
 public:
  void attributes(tapestry::Attributes&) override {}
  std::string_view name() const override { return "cube"; }
  tapestry::Shape shape(const Shapes& in, int) const override { return in[0]; }
  tapestry::Linearity linearity() const override { return tapestry::Linearity::elementwise; }
  void forward(tapestry::Forward<double>& c) override {
    const auto x = c.input(0);
    for (std::int64_t i = 0; i < x.size(); ++i) c.output()[i] = x[i] * x[i] * x[i];
  }
  void vjp(tapestry::Vjp<double>& c) override { c.add(0, c.gradient() * 3.0 * square(c.input(0))); }
};

// A layer of one's own: members, their names, and a forward().
struct Scale {
  tapestry::Parameter<double> factor{tapestry::Tensor<double>{2.0, 3.0, 4.0}, true};
  void members(tapestry::Members& m) { m("factor", factor); }
  Variable forward(const Variable& x) const { return x * factor; }
};

// A network of the library's layers and one's own, with a parameter that stays positive.
struct Network {
  tapestry::Linear<double> first;
  Scale scale;
  tapestry::Constrained<double> gain{tapestry::Tensor<double>{1.0, 1.0, 1.0}, tapestry::bijections::positive()};
  explicit Network(tapestry::Generator& generator) : first(2, 3, generator) {}
  void members(tapestry::Members& m) { m("first", first)("scale", scale)("gain", gain); }
  Variable forward(const Variable& x) const { return scale.forward(first.forward(x)) * gain.value(); }
};

// A structure of one's own with a unary layer of one's own: a ring whose neighbours want to agree.
struct Ring {
  Network unary;
  Variable agree{tapestry::Tensor<double>{0.5}, true};
  explicit Ring(tapestry::Generator& generator) : unary(generator) {}
  tapestry::FactorGraph<double> graph(const Variable& x) const {
    tapestry::FactorGraph<double> graph;
    const auto items = graph.add_variables("items", {x.extent(0)}, 3);
    graph.add_unary("unary", items, unary.forward(x));
    const auto ids = graph.ids(items);
    const auto weight = tapestry::reshape(agree, tapestry::Shape{});
    graph.add_potts("neighbours", tapestry::chain_edges(ids), weight);
    graph.add_potts("ends", tapestry::IndexTensor{{ids(0), ids(ids.size() - 1)}}, weight);
    return graph;
  }
  void members(tapestry::Members& m) { m("unary", unary)("agree", agree); }
};

void require(bool holds, const char* what) {
  if (!holds) throw tapestry::Error(what);
}

// What the library does with layers it does with one's own.
void check_own_layer() {
  tapestry::Generator generator(1);
  Network network(generator);
  const auto named = tapestry::named_parameters<double>(network);
  require(named.size() == 4 && named[2].name == "scale.factor" && named[3].name == "gain.unconstrained", "names");
  require(tapestry::parameter_count(network) == 6 + 3 + 3 + 3, "count");
  const Network before = tapestry::clone(network);
  tapestry::freeze(network, "first");

  const Variable x(generator.normal<double>({20, 2}));
  tapestry::Adam<double> adam(network, {.rate = 0.05});
  const auto all = tapestry::Dataset<Variable>::generate(4, [&](std::int64_t i) {
    return tapestry::slice(x, 0, {5 * i, 5 * i + 5});
  });
  tapestry::Loader<Variable> loader(all.shuffle(2));
  tapestry::Trainer<double> trainer(network, adam, {.epochs = 30});
  const auto result = trainer.run(
      loader, [&](const Variable& batch) { return tapestry::mean(tapestry::square(network.forward(batch) - 1.0)); });
  require(result.history.back().loss < result.history.front().loss, "training");
  require(network.first.weight.tensor() == before.first.weight.tensor(), "freezing");
  require(network.scale.factor.tensor() != before.scale.factor.tensor(), "cloning");

  tapestry::save("network.safetensors", network);
  Network other(generator);
  tapestry::load("network.safetensors", other);
  require(other.forward(x).tensor() == network.forward(x).tensor(), "saving");
}

// A structure of one's own learns through approximate inference, which is near the exact one.
void check_own_structure() {
  tapestry::Generator generator(3);
  tapestry::GraphCrf<double, Ring> crf(Ring(generator), tapestry::BeliefPropagation{.iterations = 30});
  const Variable x(generator.normal<double>({6, 2}));
  const tapestry::Indices labels(tapestry::IndexTensor{0, 0, 1, 1, 2, 2});
  tapestry::Adam<double> adam(tapestry::parameters<double>(crf), {.rate = 0.05});
  const double before = crf.loss(x, labels).item();
  for (int i = 0; i < 30; ++i) {
    adam.zero_gradients();
    crf.loss(x, labels).backward();
    adam.step();
  }
  const double after = crf.loss(x, labels).item();
  crf.method = tapestry::JunctionTree{};
  require(after < 0.5 * before, "structure");
  require(std::abs(crf.loss(x, labels).item() - after) < 0.2, "inference");
}

// A program trains one's own layer through one's own operation, and runs from a file.
void check_own_program() {
  tapestry::register_operation<Cube>("cube");
  tapestry::Generator generator(5);
  const Network network(generator);
  const auto loss = [&](const Variable& x) {
    return tapestry::mean(tapestry::square(tapestry::record(std::make_unique<Cube>(), network.forward(x)) - 1.0));
  };
  const Variable x(generator.normal<double>({4, 2}));
  tapestry::Adam<double> adam(network, {.rate = 0.02});
  const double before = loss(x).item();
  auto program = tapestry::capture_training(loss, adam, x);
  for (int i = 0; i < 50; ++i) program.train(x);
  require(loss(x).item() < 0.5 * before, "training in a program");
  tapestry::save_program(program, "own.program");
  auto loaded = tapestry::load_program<double>("own.program");
  loaded.run(x);
  require(std::abs(loaded.output()() - loss(x).item()) < 1e-12 * before, "a program from a file");
}

// Each way to write an operation passes the gradient check to second order.
void check_own_operations() {
  const Variables inputs = {Variable(tapestry::Tensor<double>{0.5, -1.0, 2.0})};
  const auto check = [&](const char* name, const tapestry::Function<double>& f) {
    tapestry::check_gradients(f, inputs, {.order = 2, .name = name});
  };
  const Scale scale;
  check("composed", [&](const Variables& x) { return scale.forward(x[0]) * x[0]; });
  check("elementwise",
        [](const Variables& x) { return tapestry::elementwise([](auto a) { return a * sigmoid(a); }, x[0]); });
  check("class", [](const Variables& x) { return tapestry::record(std::make_unique<Cube>(), x[0]); });
  const tapestry::CustomOperation<double> twice{
      .name = "twice",
      .forward = [](const tapestry::TensorViews<double>& x,
                    std::monostate&) { return std::vector<tapestry::Tensor<double>>{2.0 * x[0]}; },
      .vjp_in_operations = [](const Variables&, const Variables&,
                              const Variables& g) { return Variables{g[0] * 2.0}; }};
  check("custom", [&](const Variables& x) { return twice(x)[0]; });
}

}  // namespace

int main() {
  std::cout << tapestry::configuration();
  check_own_operations();
  check_own_layer();
  check_own_structure();
  check_own_program();
  Variable x(xt::xarray<double>({1.0, 2.0, 3.0}), true);
  tapestry::sum(x * tapestry::tanh(x)).backward();
  const auto gradient = x.gradient();
  for (int i = 0; i < 3; ++i) {
    const double at = i + 1.0, expected = std::tanh(at) + at * (1 - std::tanh(at) * std::tanh(at));
    if (std::abs(gradient(i) - expected) > 1e-14) {
      std::printf("the gradient at %g is %.17g, not %.17g\n", at, gradient(i), expected);
      return 1;
    }
  }
  std::puts("everything agrees");
}
