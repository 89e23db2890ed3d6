#include <limits>
#include <set>

#include <xtensor/xview.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

#include "autodiff/registry_examples.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using Vars = std::vector<Var<double>>;
constexpr double inf = std::numeric_limits<double>::infinity();

// Inputs of other shapes than the examples', with values in the domain.
Tensors of_shapes(const RegisteredOperation& op, const std::vector<Shape>& shapes) {
  Tensors out;
  for (std::size_t i = 0; i < shapes.size(); ++i) out.push_back(op.inputs[i].make(shapes[i], 3 + i));
  return out;
}

std::string names_of(const std::vector<Shape>& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += to_string(shape);
  return text;
}

// The shapes of the examples with one extent changed: wherever it occurs, in one input, or in one place.
std::vector<std::vector<Shape>> changed_extents(const RegisteredOperation& op, std::int64_t extent) {
  std::vector<Shape> shapes;
  for (const ExampleInput& input : op.inputs) shapes.push_back(input.shape);
  std::vector<std::vector<Shape>> out;
  const auto add = [&](auto which) {
    std::vector<Shape> changed = shapes;
    for (std::size_t i = 0; i < shapes.size(); ++i)
      for (int axis = 0; axis < shapes[i].rank(); ++axis)
        if (which(i, axis)) changed[i][axis] = extent;
    if (changed != shapes && std::find(out.begin(), out.end(), changed) == out.end()) out.push_back(changed);
  };
  add([](std::size_t, int) { return true; });
  for (std::size_t i = 0; i < shapes.size(); ++i)
    for (int axis = 0; axis < shapes[i].rank(); ++axis) {
      add([&](std::size_t j, int other) { return shapes[j][other] == shapes[i][axis]; });
      add([&](std::size_t j, int other) { return j == i && shapes[j][other] == shapes[i][axis]; });
      add([&](std::size_t j, int other) { return j == i && other == axis; });
    }
  return out;
}

// Value, gradients and float for inputs of odd shapes. @return false where the operation refuses them
bool check_shapes(const RegisteredOperation& op, const std::vector<Shape>& shapes) {
  const Tensors inputs = of_shapes(op, shapes);
  Var<double> y;
  try {
    y = op.apply(constants(inputs));
  } catch (const Error& e) {
    const std::string message = e.what();
    CHECK_MESSAGE(message.find(": ") != std::string::npos, op.name, " says ", message);
    return false;
  }
  std::vector<Var<float>> single;
  for (const Tensor<double>& input : inputs) single.emplace_back(Tensor<float>(xt::cast<float>(input)));
  CHECK_MESSAGE(op.apply_float(single).shape() == y.shape(), op.name);
  if (op.elementwise && op.reference) {
    const Tensor<double> right = expected(op, inputs);
    REQUIRE_MESSAGE(shape_of(right) == y.shape(), op.name);
    for (std::int64_t i = 0; i < y.size(); ++i)
      CHECK_MESSAGE(close(y.data()[i], right.data()[i], 1e-12), op.name, " of ", names_of(shapes));
  }
  bool finite = true;
  for (std::int64_t i = 0; i < y.size(); ++i) finite &= std::isfinite(y.data()[i]);
  if (op.differentiable && finite)
    CHECK_NOTHROW_MESSAGE(
        check_gradients(op.apply, constants(inputs),
                        {.order = 2, .directions = 1, .tolerance = 10 * op.gradient_tolerance, .name = op.name}),
        op.name, " of ", names_of(shapes));
  return true;
}

// @return the operations that refuse the extent everywhere
std::set<std::string> refusing(std::int64_t extent) {
  std::set<std::string> out;
  for (const RegisteredOperation& op : registry().operations()) {
    if (op.inputs.empty()) continue;
    CAPTURE(op.name);
    bool accepted = false;
    for (const std::vector<Shape>& shapes : changed_extents(op, extent)) accepted |= check_shapes(op, shapes);
    if (!accepted) out.insert(op.name);
  }
  return out;
}

// Whose labels, positions or lengths are made for the examples' shapes.
const std::set<std::string> fixed{"cross_entropy",           "cross_entropy_options", "gru_lengths_reverse",
                                  "lstm_lengths_reverse",    "max_unpool1d",          "max_unpool2d",
                                  "multiclass_hinge",        "multiclass_margin",     "multiclass_margin_squared",
                                  "negative_log_likelihood", "put_along_axis",        "scatter_add_along_axis",
                                  "sparse_matmul_vector"};

}  // namespace

TEST_CASE("registry: extents of zero are refused or right") {
  std::set<std::string> expected = fixed;
  // Means over all elements, and arguments that point at an element.
  expected.insert({"absolute_error", "batch_norm", "batch_norm_flat", "binary_cross_entropy_with_logits",
                   "broadcast_to", "hinge", "huber", "margin_ranking", "slice", "squared_error", "take_along_axis"});
  CHECK(refusing(0) == expected);
}

TEST_CASE("registry: extents of one are refused or right") {
  CHECK(refusing(1) == fixed);
}

TEST_CASE("registry: elementwise operations broadcast") {
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.elementwise) continue;
    std::vector<std::vector<Shape>> lists{{{}}, {{1}}, {{17}}, {{2, 0, 3}}, {{33, 5}}, {{2, 1, 3, 1, 2}}};
    if (op.inputs.size() == 2)
      lists = {{{}, {}},
               {{}, {3}},
               {{3}, {1, 1}},
               {{3, 1}, {1, 4}},
               {{4}, {2, 3, 4}},
               {{2, 3, 4}, {3, 1}},
               {{5, 1, 7}, {2, 1}},
               {{0, 3}, {3}},
               {{1, 0}, {4, 1}},
               {{2, 0}, {1}},
               {{19}, {19}},
               {{1, 33}, {3, 33}},
               {{2, 2}, {2, 1}},
               {{2, 1, 3}, {2, 4, 1}}};
    for (const std::vector<Shape>& shapes : lists)
      CHECK_MESSAGE(check_shapes(op, shapes), op.name, " refuses ", names_of(shapes));
    if (op.inputs.size() == 2) CHECK_THROWS_AS(op.apply(constants(of_shapes(op, {{3}, {4}}))), ShapeError);
  }
}

TEST_CASE("registry: strided and transposed inputs give what contiguous ones give") {
  for (const RegisteredOperation& op : registry().operations()) {
    const Tensors inputs = examples(op, 11);
    Vars straight, strided, turned, leaves;
    for (const Tensor<double>& input : inputs) {
      straight.emplace_back(input, true);
      // Every other element of an array with a layout of its own.
      const Shape shape = shape_of(input);
      xt::xarray<double, xt::layout_type::column_major> wide(
          xt::svector<std::size_t, 4>{2 * static_cast<std::size_t>(input.size()) + 1}, 0.5);
      auto every_other = xt::view(wide, xt::range(0, 2 * input.size(), 2));
      for (std::size_t i = 0; i < input.size(); ++i) every_other(i) = input.data()[i];
      xt::xarray<double, xt::layout_type::column_major> columns = input;
      strided.emplace_back(shape.rank() == 1 ? Var<double>(every_other, true) : Var<double>(columns, true));
      leaves.emplace_back(Tensor<double>(xt::transpose(input)), true);
      turned.push_back(transpose(leaves.back()));
    }
    const Var<double> y = op.apply(straight);
    CHECK_MESSAGE(op.apply(strided).tensor() == y.tensor(), op.name);
    CHECK_MESSAGE(op.apply(turned).tensor() == y.tensor(), op.name);
    if (!op.differentiable || !y.requires_grad()) continue;
    const Var<double> seed(uniform_example(y.shape(), -1, 1)(2));
    const auto g = grad(y, straight, seed), h = grad(op.apply(turned), leaves, seed);
    for (std::size_t i = 0; i < g.size(); ++i)
      CHECK_MESSAGE(Tensor<double>(xt::transpose(h[i].tensor())) == g[i].tensor(), op.name);
  }
}

TEST_CASE("registry: elementwise operations at infinities, zero and not a number; a zero gradient stays zero") {
  const double specials[] = {inf, -inf, std::numeric_limits<double>::quiet_NaN(), 0.0, 1.5, -2.5, 0.25};
  for (const RegisteredOperation& op : registry().operations()) {
    if (!op.elementwise) continue;
    Tensors inputs;
    std::vector<double> first, second;
    for (const double a : specials)
      for (const double b : specials) first.push_back(a), second.push_back(b);
    for (const auto& values : {first, second}) {
      if (inputs.size() == op.inputs.size()) break;
      Tensor<double> input = empty_tensor<double>({static_cast<std::int64_t>(values.size())});
      std::copy(values.begin(), values.end(), input.data());
      inputs.push_back(input);
    }
    Vars leaves;
    for (const Tensor<double>& input : inputs) leaves.emplace_back(input, true);
    const Var<double> y = op.apply(leaves);
    const Tensor<double> right = expected(op, inputs);
    for (std::size_t i = 0; i < right.size(); ++i)
      CHECK_MESSAGE(close(y.data()[i], right.data()[i], 1e-13), op.name, " of ", first[i], ", ", second[i], ": ",
                    y.data()[i], " instead of ", right.data()[i]);
    if (!op.differentiable) continue;
    for (const Var<double>& g : grad(y, leaves, Var<double>::zeros(y.shape())))
      for (std::int64_t i = 0; i < g.size(); ++i) CHECK_MESSAGE(g.data()[i] == 0, op.name, " of ", first[i]);
  }
}

TEST_CASE("registry: an infinite element goes where the reference has it") {
  // Those that move, choose, add up or compare elements; a product with zeros or a factorisation makes it NaN.
  const std::set<std::string> moving{"sum",
                                     "sum_axes",
                                     "sum_keep_dims",
                                     "mean",
                                     "sum_to",
                                     "max",
                                     "max_axes_apart",
                                     "min",
                                     "norm",
                                     "norm_1",
                                     "logsumexp",
                                     "norm_infinity",
                                     "softmax",
                                     "log_softmax",
                                     "cumsum",
                                     "logcumsumexp",
                                     "reshape",
                                     "tile",
                                     "broadcast_to",
                                     "squeeze",
                                     "expand_dims",
                                     "repeat",
                                     "concatenate",
                                     "stack",
                                     "roll",
                                     "slice",
                                     "select",
                                     "unbind",
                                     "pad",
                                     "flip",
                                     "transpose",
                                     "permute",
                                     "swap_axes",
                                     "diagonal",
                                     "diag_embed",
                                     "trace",
                                     "take",
                                     "index_select",
                                     "scatter_add",
                                     "segment_sum",
                                     "embedding",
                                     "take_along_axis",
                                     "put_along_axis",
                                     "scatter_add_along_axis",
                                     "where",
                                     "masked_fill",
                                     "triu",
                                     "tril",
                                     "sort",
                                     "top_k",
                                     "argmax",
                                     "argmin",
                                     "argsort",
                                     "batch_norm",
                                     "max_pool1d",
                                     "max_pool2d",
                                     "max_pool2d_options",
                                     "adaptive_max_pool1d",
                                     "adaptive_max_pool2d",
                                     "avg_pool1d",
                                     "avg_pool2d",
                                     "adaptive_avg_pool1d",
                                     "adaptive_avg_pool2d",
                                     "max_unpool1d",
                                     "max_unpool2d"};
  std::size_t walked = 0;
  for (const RegisteredOperation& op : registry().operations()) {
    if (!moving.contains(op.name)) continue;
    ++walked;
    for (std::size_t which = 0; which < op.inputs.size() && op.inputs[which].shape.elements() > 0; ++which)
      for (const double value : {inf, -inf})
        for (std::size_t seed = 1; seed < 4; ++seed) {
          Tensors inputs = examples(op, 20);
          inputs[which].data()[(seed * 7 + which) % inputs[which].size()] = value;
          const Tensor<double> y = op.apply(constants(inputs)).tensor(), right = op.reference(inputs);
          for (std::size_t i = 0; i < right.size(); ++i)
            CHECK_MESSAGE((std::isnan(right.data()[i]) || close(y.data()[i], right.data()[i], 1e-13)), op.name,
                          " with ", value, " in input ", which, ": ", y.data()[i], " instead of ", right.data()[i]);
        }
  }
  CHECK(walked == moving.size());
}
