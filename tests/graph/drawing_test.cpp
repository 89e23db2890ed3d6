#include <tapestry/graph/drawing.hpp>

#include <cstdlib>
#include <sstream>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/graph/unroll.hpp>
#include "models/temporary_folder.hpp"

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

TEST_CASE("draw: loops within loops, and what only steps that are not drawn read") {
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({2, 2}, 0.5, true), inputs(Tensor<double>(std::vector<std::size_t>{6, 3, 2}, 0.1), true);
  const auto step = [w](const V& at, const V& input) {
    const auto inner = [&](const V& z) { return tanh(matmul(z, w) + input); };
    return std::pair(unroll(inner, at, 4, {.scope = "inner"}).state, V(0.0));
  };
  const auto kept = scan(step, V::zeros({3, 2}), inputs, {.scope = "time"});
  const Drawing drawing = draw(tape);
  const std::string all = dot(drawing, false), few = dot(drawing, true);
  CHECK(count(all, "label=\"select") == 6);
  CHECK(count(all, "label=\"matmul") == 24);
  CHECK(count(few, "label=\"select") == 1);
  CHECK(count(few, "label=\"matmul") == 1);
  CHECK(count(few, "label=\"time[0] x 6\"") == 1);
  CHECK(count(few, "label=\"inner[0] x 4\"") == 1);
  CHECK(count(few, "shape=ellipse") == 3);  // w, the inputs, the state at the beginning
  // 24 multiplications, additions and tanh are one of each: seven lines into and between them, one back.
  CHECK(count(few, "->") == 7);
  CHECK(count(few, "style=dashed") == 1);
}

TEST_CASE("draw: what a step reads that another reads too is drawn") {
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({2}, 0.5, true);
  const std::vector<V> inputs = {V::ones({2}), V::ones({2}), V::ones({2})};
  const auto kept =
      scan([w](const V& at, const V& input) { return tanh(at * w + input); }, V::zeros({2}), inputs, {.scope = "time"});
  const V other = sum(inputs[1] * w);
  // The state, the first input, and the second, which is read outside; not the third.
  CHECK(count(dot(draw(tape), true), "label=\"constant") == 3);
}

TEST_CASE("draw: steps that differ in an operation, a shape or a scope within are drawn apart") {
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({2}, 0.5, true);
  const auto step = [w](std::int64_t t, const V& s) {
    const Scope inner(t == 1 ? "other" : "update");
    const V next = t == 2 ? exp(s * w) : tanh(s * w);
    return t == 3 ? concatenate({next, next}) : next;
  };
  const V four = unroll(step, w, 4, {.scope = "relax"}).state;
  const V single = unroll([](const V& s) { return tanh(s); }, w, 2, {.scope = "single"}).state;
  const V other = unroll([](const V& s) { return tanh(s); }, w, 1, {.scope = "lone"}).state;
  const V grown = unroll([](const V& s) { return concatenate({s, s}); }, w, 3, {.scope = "grow"}).state;
  const std::string few = dot(draw(tape), true);
  for (const char* scope : {"relax[0] x ", "relax[1] x ", "relax[2] x ", "relax[3] x ", "lone[0] x", "grow[0] x"})
    CHECK(count(few, scope) == 0);
  CHECK(count(few, "label=\"single[0] x 2\"") == 1);
  CHECK(count(few, "label=\"relax[2]\"") == 1);
  CHECK(count(few, "label=\"other\"") == 1);
}

TEST_CASE("draw: the table has a line for each node, with its columns") {
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({3}, 0.5, true);
  V y;
  {
    const Scope scope("layer");
    y = tanh(w * w);
  }
  std::ostringstream out;
  write_table(draw(tape), out);
  CHECK(out.str() ==
        "node    operation  shape  bytes       inputs and scope\n"
        "%0      leaf       [3]    24          \n"
        "%1      multiply   [3]    0           %0 %0 in layer\n"
        "%2      tanh       [3]    24          %1 in layer\n"
        "3 nodes, 48 bytes\n");
}

TEST_CASE("draw: Graphviz reads it, with as many nodes and edges") {
  if (std::system("dot -V >/dev/null 2>&1") != 0) {
    MESSAGE("dot is not installed: not run");
    return;
  }
  Tape tape;
  const UseTape use(tape);
  const V w = V::filled({2}, 0.5, true);
  V kept;
  {
    const Scope odd("a \"scope\" <b> {c} | \\d");
    kept = sum(unroll([w](const V& s) { return tanh(s * w); }, w, 5, {.scope = "relax"}).state);
  }
  const TemporaryFolder folder;
  for (const bool collapse : {false, true}) {
    write_dot(draw(tape), folder.file("tape.dot"), {.collapse_steps = collapse});
    const std::string command = "dot -Tplain '" + folder.file("tape.dot").string() + "' >'" +
                                folder.file("plain").string() + "' 2>'" + folder.file("errors").string() + "'";
    CHECK(std::system(command.c_str()) == 0);
    CHECK(folder.read("errors") == "");
    // w, and in each step that is drawn a product and a tanh; the sum. Edges: the product's two, with the first step's
    // of w to both factors drawn once; back to the next step, and to the sum.
    CHECK(count(folder.read("plain"), "\nnode ") == (collapse ? 4 : 12));
    CHECK(count(folder.read("plain"), "\nedge ") == (collapse ? 4 : 15));
  }
}

TEST_CASE("draw: names are escaped") {
  Drawing drawing;
  drawing.nodes.push_back({"say \"hi\" \\", Drawing::Kind::operation, {}, 0, "a\"b", {}});
  const std::string text = dot(drawing, true);
  CHECK(text.find("say \\\"hi\\\" \\\\") != std::string::npos);
  CHECK(text.find("label=\"a\\\"b\"") != std::string::npos);
}
