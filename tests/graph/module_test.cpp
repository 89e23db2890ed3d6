#include <tapestry/graph/module.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <sstream>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

using namespace tapestry;

namespace {

struct Affine {
  Var<float> weight, bias;
  Affine(std::int64_t in, std::int64_t out)
      : weight(Var<float>::filled({in, out}, 0.5f, true)), bias(Var<float>::filled({out}, 0.f, true)) {}
  void members(Members& m) { m("weight", weight)("bias", bias); }
};

struct Net {
  std::vector<Affine> layers{{3, 4}, {4, 2}};
  std::unique_ptr<Affine> head = std::make_unique<Affine>(2, 2);
  std::optional<Affine> none;
  Buffer<double> running{Tensor<double>{1.0, 2.0}};
  Mode mode;
  void members(Members& m) { m("layers", layers)("head", head)("none", none)("running", running)("mode", mode); }
};

struct Tied {
  Affine first{2, 2}, second{2, 2};
  Tied() { second.weight = first.weight; }
  void members(Members& m) { m("first", first)("second", second); }
};

struct Named {
  std::map<std::string, Affine> heads;
  std::shared_ptr<Affine> first = std::make_shared<Affine>(1, 2), second = first;
  Var<float> tied = first->bias;
  void members(Members& m) { m("heads", heads)("first", first)("tied", tied)("second", second); }
};

// A layer that draws, counts, and holds layers in every way there is.
struct Inner {
  Parameter<double> gain = Parameter<double>::filled({2}, 1.0, true);
  Buffer<double> seen{Tensor<double>{0.0}};
  Generator generator{4};
  Mode mode;
  void members(Members& m) { m("gain", gain)("seen", seen)("generator", generator)("mode", mode); }
};

struct Nested {
  std::vector<std::vector<Inner>> stages{std::vector<Inner>(2), std::vector<Inner>(1)};
  std::optional<std::vector<Inner>> some = std::vector<Inner>(1), none;
  std::array<std::optional<Inner>, 2> pair{Inner(), std::nullopt};
  std::map<std::string, std::vector<std::shared_ptr<Inner>>> named{{"heads", {std::make_shared<Inner>()}}};
  void members(Members& m) { m("stages", stages)("some", some)("none", none)("pair", pair)("named", named); }
};

struct Layer {
  virtual ~Layer() = default;
  Var<float> weight = Var<float>::filled({2}, 1.f, true);
  void members(Members& m) { m("weight", weight); }
};
struct Abstract {
  std::shared_ptr<Layer> layer = std::make_shared<Layer>();
  void members(Members& m) { m("layer", layer); }
};

}  // namespace

TEST_CASE("module: parameters have dotted names, in the order of members()") {
  const Net net;
  const auto named = named_parameters<float>(net);
  REQUIRE(named.size() == 6);
  CHECK(named[0].name == "layers.0.weight");
  CHECK(named[3].name == "layers.1.bias");
  CHECK(named[4].name == "head.weight");
  CHECK(parameter_count(net) == 12 + 4 + 8 + 2 + 4 + 2);
  CHECK(named_parameters<double>(net).empty());
}

TEST_CASE("module: tied weights count once and stay tied in a clone") {
  const Tied tied;
  CHECK(parameter_count(tied) == 4 + 2 + 2);
  Tied copy = clone(tied);
  CHECK(copy.first.weight.node() == copy.second.weight.node());
  CHECK(copy.first.weight.node() != tied.first.weight.node());
  copy.first.weight.mutable_value()(0, 0) = 9;
  CHECK(tied.first.weight.value()(0, 0) == 0.5f);
  const Tied same = tied;
  CHECK(same.first.weight.node() == tied.first.weight.node());
}

TEST_CASE("module: modes, freezing and gradients reach every member") {
  Net net;
  evaluate(net);
  CHECK_FALSE(net.mode.training);
  train(net);
  CHECK(net.mode.training);
  freeze(net, "layers.0");
  CHECK_FALSE(net.layers[0].weight.requires_grad());
  CHECK(net.layers[1].weight.requires_grad());
  unfreeze(net);
  CHECK(net.layers[0].weight.requires_grad());
  CHECK_THROWS_WITH_AS(freeze(net, "tail"), "freeze: 'tail' names no parameter, and no member that has any", Error);
  sum(square(net.head->weight)).backward();
  CHECK(net.head->weight.has_gradient());
  zero_gradients(net);
  CHECK_FALSE(net.head->weight.has_gradient());
}

TEST_CASE(
    "module: vectors of vectors, arrays, maps, optionals and pointers of modules, in everything that walks them") {
  Nested net;
  std::vector<std::string> names;
  for (const auto& named : named_parameters<double>(net)) names.push_back(named.name);
  CHECK(names == std::vector<std::string>{"stages.0.0.gain", "stages.0.1.gain", "stages.1.0.gain", "some.0.gain",
                                          "pair.0.gain", "named.heads.0.gain"});
  CHECK(parameter_count(net) == 12);
  evaluate(net);
  const auto training = [](const Nested& n) {
    const bool modes[] = {n.stages[0][0].mode.training, n.stages[0][1].mode.training,
                          n.stages[1][0].mode.training, n.some->front().mode.training,
                          n.pair[0]->mode.training,     n.named.at("heads")[0]->mode.training};
    return std::count(std::begin(modes), std::end(modes), true);
  };
  CHECK(training(net) == 0);

  net.stages[0][1].seen.value(0) = 5;
  net.stages[0][1].generator.normal();
  Nested copy = clone(net);
  CHECK(training(copy) == 0);
  train(copy);
  CHECK(training(copy) == 6);
  CHECK(training(net) == 0);
  CHECK(copy.stages[0][1].seen.value(0) == 5);
  CHECK(copy.stages[0][1].generator == net.stages[0][1].generator);
  copy.stages[0][1].seen.value(0) = 6;
  CHECK(net.stages[0][1].seen.value(0) == 5);
  for (std::size_t i = 0; i < 6; ++i) CHECK(parameters<double>(copy)[i].node() != parameters<double>(net)[i].node());
}

TEST_CASE("module: a member is frozen with all within it, and no other whose name begins the same") {
  struct Deep {
    std::vector<Affine> layers = [] {
      std::vector<Affine> all;
      for (int i = 0; i < 11; ++i) all.emplace_back(1, 1);
      return all;
    }();
    void members(Members& m) { m("layers", layers); }
  } deep;
  freeze(deep, "layers.1");
  CHECK_FALSE(deep.layers[1].weight.requires_grad());
  CHECK_FALSE(deep.layers[1].bias.requires_grad());
  CHECK(deep.layers[10].weight.requires_grad());
  freeze(deep, "layers.10.bias");
  CHECK_FALSE(deep.layers[10].bias.requires_grad());
  CHECK(deep.layers[10].weight.requires_grad());
  unfreeze(deep, "layers");
  CHECK(deep.layers[1].bias.requires_grad());
  CHECK_THROWS_AS(freeze(deep, "layer"), Error);
}

TEST_CASE("module: the summary names shapes, counts, frozen and shared parameters and buffers") {
  Tied tied;
  freeze(tied, "first.bias");
  std::ostringstream text;
  print_summary(tied, text);
  CHECK(text.str() ==
        "name           shape          count\n"
        "first.weight   [2, 2]             4\n"
        "first.bias     [2]                2  frozen\n"
        "second.weight  [2, 2]             0  shared with first.weight\n"
        "second.bias    [2]                2\n"
        "total                             8\n");
}

TEST_CASE("module: members of a map are named by their keys; a clone has objects of its own behind shared pointers") {
  Named named;
  named.heads.emplace("tags", Affine(2, 1));
  const Var<float> original = named.first->weight;
  CHECK(named_parameters<float>(named)[0].name == "heads.tags.weight");
  CHECK(parameter_count(named) == 3 + 4);
  Named copy = clone(named);
  CHECK(named.first->weight.node() == original.node());
  CHECK(copy.first.get() != named.first.get());
  CHECK(copy.first.get() == copy.second.get());
  CHECK(copy.tied.node() == copy.second->bias.node());
  CHECK(copy.first->weight.node() != original.node());
  CHECK(copy.heads.at("tags").weight.node() != named.heads.at("tags").weight.node());
  CHECK(parameter_count(copy) == 3 + 4);
  CHECK_THROWS_WITH_AS(clone(Abstract()), "clone: the object behind layer cannot be copied", GraphError);
}
