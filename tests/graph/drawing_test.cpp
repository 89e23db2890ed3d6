#include <tapestry/graph/drawing.hpp>

#include <sstream>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/unroll.hpp>

using namespace tapestry;

namespace {

using V = Var<double>;

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

std::string dot(const Drawing& drawing, bool collapse) {
  std::ostringstream out;
  write_dot(drawing, out, {.collapse_steps = collapse});
  return out.str();
}

}  // namespace

TEST_CASE("draw: nodes, edges, shapes and bytes of a tape") {
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({3, 2}, 0.5, true), x = V::ones({4, 3});
  V y;
  {
    const Scope scope("layer");
    y = tanh(matmul(x, w));
  }
  const V z = sum(y);
  const Drawing drawing = draw(tape);
  REQUIRE(drawing.nodes.size() == 5);
  const auto& nodes = drawing.nodes;
  CHECK(nodes[0].name == "constant");
  CHECK(nodes[1].kind == Drawing::Kind::leaf);
  CHECK(nodes[2].name == "matmul");
  CHECK(nodes[2].inputs == std::vector<std::size_t>{0, 1});
  CHECK(nodes[2].scope == "layer");
  CHECK(nodes[3].name == "tanh");
  CHECK(nodes[3].shape == Shape{4, 2});
  CHECK(nodes[3].bytes == 64);
  CHECK(nodes[4].inputs == std::vector<std::size_t>{3});
  const std::string text = dot(drawing, true);
  CHECK(count(text, "->") == 4);
  CHECK(count(text, "subgraph cluster_") == 1);
  CHECK(count(text, "label=\"layer\"") == 1);
  CHECK(text.find("n3 [label=\"tanh\\n[4, 2]  64 B\"]") != std::string::npos);
  CHECK(count(text, "{") == count(text, "}"));
  std::ostringstream table;
  write_table(drawing, table);
  CHECK(table.str().find("tanh") != std::string::npos);
  CHECK(table.str().find("5 nodes, ") != std::string::npos);
}

TEST_CASE("draw: steps of a loop collapse into one; a step that differs stays") {
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({2}, 0.5, true);
  const auto step = [w](std::int64_t t, const V& s) {
    const Scope inner("update");
    const V next = tanh(s * w);
    return t == 4 ? next + 1.0 : next;
  };
  V result;
  {
    const Scope outer("model");
    result = unroll(step, w, 7, {.scope = "relax"}).state;
  }
  const Drawing drawing = draw(tape);
  const std::string all = dot(drawing, false), few = dot(drawing, true);
  CHECK(count(all, "label=\"tanh") == 7);
  CHECK(count(all, "label=\"relax[") == 7);
  CHECK(count(few, "label=\"tanh") == 2);
  CHECK(count(few, "label=\"relax[0] x 6\"") == 1);
  CHECK(count(few, "label=\"relax[4]\"") == 1);
  CHECK(count(few, "label=\"model\"") == 1);
  CHECK(count(few, "style=dashed") >= 1);
  CHECK(count(all, "style=dashed") == 0);
}

TEST_CASE("draw: names are escaped") {
  Drawing drawing;
  drawing.nodes.push_back({"say \"hi\" \\", Drawing::Kind::operation, {}, 0, "a\"b", {}});
  const std::string text = dot(drawing, true);
  CHECK(text.find("say \\\"hi\\\" \\\\") != std::string::npos);
  CHECK(text.find("label=\"a\\\"b\"") != std::string::npos);
}
