#include <algorithm>
#include <sstream>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/drawing.hpp>
#include <tapestry/graph/profile.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/graph/unroll.hpp>

using namespace tapestry;

namespace {

using V = Var<double>;
using Kind = Drawing::Kind;

struct Model {
  V w = V::filled({3, 3}, 0.1, true);
  V operator()(const V& x) const {
    const Scope scope("net");
    V h;
    {
      const Scope inner("layer");
      h = matmul(x, w);
    }
    return sum(tanh(h + 1.0));
  }
};

std::string dot(const Drawing& drawing) {
  std::ostringstream out;
  write_dot(drawing, out);
  return out.str();
}

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("draw: a program's inputs, variables, constants, steps and outputs, with shapes, bytes and scopes") {
  const Model model;
  const Program<double> program = capture(model, V::ones({4, 3}));
  const Drawing drawing = draw(program);
  REQUIRE(drawing.nodes.size() == 6);
  const auto check = [&](std::size_t i, const std::string& name, Kind kind, const Shape& shape, std::size_t bytes,
                         const std::string& scope, const std::vector<std::size_t>& inputs) {
    INFO(i);
    const Drawing::Node& node = drawing.nodes[i];
    CHECK(node.name == name);
    CHECK(node.kind == kind);
    CHECK(node.shape == shape);
    CHECK(node.bytes == bytes);
    CHECK(node.scope == scope);
    CHECK(node.inputs == inputs);
  };
  check(0, "input", Kind::leaf, {4, 3}, 96, "", {});
  check(1, "variable", Kind::leaf, {3, 3}, 72, "", {});
  check(2, "matmul", Kind::operation, {4, 3}, 96, "net/layer", {0, 1});
  check(3, "constant", Kind::constant, {}, 8, "", {});
  check(4, "fused add, tanh", Kind::operation, {4, 3}, 96, "net", {2, 3});
  check(5, "sum", Kind::output, {}, 8, "net", {4});
  const std::string text = dot(drawing);
  CHECK(count(text, "->") == 5);
  CHECK(count(text, "subgraph cluster_") == 2);
  CHECK(text.find("n5 [label=\"sum\\n[]  8 B\", fillcolor=\"#e2f3e4\", penwidth=2]") != std::string::npos);
}

TEST_CASE("draw: a program's gradients; steps of a loop are drawn once") {
  const Model model;
  const auto f = [&](const V& x) {
    return sum(unroll([&](const V& s) { return tanh(matmul(s, model.w)) + x; }, x, 8, {.scope = "relax"}).state);
  };
  const Program<double> program = capture(f, V::ones({4, 3}));
  const std::string forward = dot(draw(program)), backward = dot(draw(program, true));
  CHECK(count(forward, "label=\"matmul\\n") <= 3);
  CHECK(count(forward, "label=\"relax[") == count(forward, "label=\"matmul\\n"));
  CHECK(count(forward, " x 6\"") + count(forward, " x 7\"") + count(forward, " x 8\"") == 1);
  CHECK(count(forward, "(backward)") == 0);
  CHECK(count(backward, "label=\"matmul (backward)\\n") > 0);
  CHECK(count(backward, "label=\"matmul (backward)\\n") <= 3);
  const Drawing whole = draw(program, true);
  const auto outputs = std::count_if(whole.nodes.begin(), whole.nodes.end(),
                                     [](const Drawing::Node& node) { return node.kind == Kind::output; });
  CHECK(outputs >= 2);  // the value and w's gradient
  for (std::size_t i = 0; i < whole.nodes.size(); ++i)
    for (const std::size_t input : whole.nodes[i].inputs) CHECK(input < i);
  const Program<double> constant = capture([](const V& x) { return x * 2.0; }, V::ones({4}));
  CHECK_THROWS_WITH_AS(draw(constant, true), "draw: the program computes no gradients", GraphError);
}

TEST_CASE("profile: the steps of a program, by operation and scope") {
  const Model model;
  Program<double> program = capture(model, V::ones({4, 3}));
  const V x = V::ones({4, 3});
  const Profile measured = profile([&] {
    program.run(x);
    program.run(x);
  });
  const Drawing drawing = draw(program);
  const auto steps = std::count_if(drawing.nodes.begin(), drawing.nodes.end(), [](const Drawing::Node& node) {
    return node.kind == Kind::operation || node.kind == Kind::output;
  });
  CHECK(measured.events().size() == 2 * static_cast<std::size_t>(steps));
  for (const Profile::Row& row : measured.by_operation()) CHECK(row.calls == 2);
  const auto scopes = measured.by_scope();
  REQUIRE(scopes.size() == 2);
  for (const Profile::Row& row : scopes) CHECK(row.calls == (row.name == "net" ? 4 : 2));
  CHECK(measured.events()[0].operation == "matmul");
  CHECK(measured.events()[0].scope == "net/layer");
  CHECK(measured.events()[0].shape == Shape{4, 3});
  CHECK(measured.events()[1].operation == "fused add, tanh");
}
