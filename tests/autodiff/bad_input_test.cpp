#include <limits>
#include <set>

#include <tapestry/autodiff/autodiff.hpp>

#include "autodiff/refused.hpp"
#include "autodiff/registry_examples.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;

}  // namespace

TEST_CASE("bad input: shapes that do not fit") {
  check_messages({
      {"add: shapes do not broadcast: [2, 3] and [4, 3]",
       [] {
         ones({2, 3}) + ones({4, 3});
       }},
      {"matmul: inner dimensions differ: [128, 784] x [512, 10]",
       [] {
         matmul(ones({128, 784}), ones({512, 10}));
       }},
      {"matmul: leading axes do not broadcast: [2, 3, 4] x [5, 4, 2]",
       [] {
         matmul(ones({2, 3, 4}), ones({5, 4, 2}));
       }},
      {"matmul: an operand has no axis: [] x [4, 2]",
       [] {
         matmul(ones({}), ones({4, 2}));
       }},
      {"linear: inner dimensions differ: [3, 4] x [5, 2]",
       [] {
         linear(ones({3, 4}), ones({5, 2}), ones({2}));
       }},
      {"linear: a bias of shape [3] does not fit a weight [4, 2]",
       [] {
         linear(ones({3, 4}), ones({4, 2}), ones({3}));
       }},
      {"reshape: no extent makes [3, 4] fit beside 5 elements",
       [] {
         reshape(ones({3, 4}), {5, -1});
       }},
      {"reshape: a negative extent -2 for shape [3, 4]",
       [] {
         reshape(ones({3, 4}), {-2, -6});
       }},
      {"take_along_axis: indices of shape [1, 2] do not broadcast to [2, 3] beside axis 0",
       [] {
         take_along_axis(ones({2, 3}), IndexTensor{{0, 1}}, 0);
       }},
      {"reshape: more than one extent of -1 for shape [3, 4]",
       [] {
         reshape(ones({3, 4}), {-1, -1});
       }},
      {"reshape: shape [3, 4] has 12 elements, [13] has 13",
       [] {
         reshape(ones({3, 4}), {13});
       }},
      {"broadcast_to: shapes do not broadcast: [3, 4] and [3, 5]",
       [] {
         broadcast_to(ones({3, 4}), {3, 5});
       }},
      {"concatenate: input 1 of shape [3, 5] does not fit to [3, 4] along axis 0",
       [] {
         concatenate({ones({3, 4}), ones({3, 5})}, 0);
       }},
      {"stack: input 1 of shape [3, 5] does not fit to [3, 4] along axis 0",
       [] {
         stack({ones({3, 4}), ones({3, 5})});
       }},
      {"concatenate: of no tensors", [] { concatenate(Vars{}); }},
      {"split: extents add up to 5 along axis 1 of shape [3, 4]",
       [] {
         split(ones({3, 4}), {2, 3}, 1);
       }},
      {"where: shapes do not broadcast: [3] and [2]", [] { where(greater(ones({2}), V(0.5)), ones({3}), ones({2})); }},
      {"einsum: axis 'j' has an extent of 3 and in [4, 2] of 4 in \"ij,jk->ik\"",
       [] {
         einsum("ij,jk->ik", {ones({2, 3}), ones({4, 2})});
       }},
      {"einsum: 2 operands in the equation, 1 given in \"ij,jk->ik\"",
       [] {
         einsum("ij,jk->ik", {ones({2, 3})});
       }},
      {"einsum: the result's axis 'k' is not in an operand in \"ij->kj\"",
       [] {
         einsum("ij->kj", {ones({2, 3})});
       }},
      {"solve: [3, 3] does not fit a right side [4, 2]",
       [] {
         solve(ones({3, 3}), ones({4, 2}));
       }},
      {"inverse: the matrices are not square: [3, 2]",
       [] {
         inverse(ones({3, 2}));
       }},
      {"cholesky: the matrices are not square: [3, 2]",
       [] {
         cholesky(ones({3, 2}));
       }},
      {"conv2d: x [1, 3, 5, 5] has 3 channels, the weight [2, 4, 3, 3] takes 4",
       [] {
         conv2d(ones({1, 3, 5, 5}), ones({2, 4, 3, 3}));
       }},
      {"conv2d: the filter of weight [2, 3, 7, 3] is larger than the padded x [1, 3, 5, 5]",
       [] {
         conv2d(ones({1, 3, 5, 5}), ones({2, 3, 7, 3}));
       }},
      {"conv1d: x must be [batch, channels, width], not [3, 5]",
       [] {
         conv1d(ones({3, 5}), ones({2, 4, 3}));
       }},
      {"max_pool2d: a window of 3 is larger than the padded x [1, 2, 2, 2]",
       [] {
         max_pool2d(ones({1, 2, 2, 2}), {3, 3});
       }},
      {"layer_norm: weight [5] does not fit the last axes of x [3, 4]",
       [] {
         layer_norm(ones({3, 4}), ones({5}), ones({5}));
       }},
      {"batch_norm: weight [5] does not fit the channels of x [3, 4]",
       [] {
         batch_norm(ones({3, 4}), ones({5}), ones({4}));
       }},
      {"cross_entropy: labels of shape [2] for scores of shape [3, 4]",
       [] {
         cross_entropy(ones({3, 4}), IndexTensor{1, 2});
       }},
      {"squared_error: shapes do not broadcast: [3, 4] and [3, 5]",
       [] {
         squared_error(ones({3, 4}), ones({3, 5}));
       }},
      {"lstm: the hidden weight [20, 6] should be [20, 5]",
       [] {
         lstm(ones({2, 3, 4}), ones({3, 5}), ones({3, 5}), ones({20, 4}), ones({20, 6}), ones({20}));
       }},
      {"gru: the input weight [14, 4] should be [15, 4]",
       [] {
         gru(ones({2, 3, 4}), ones({3, 5}), ones({14, 4}), ones({15, 5}), ones({15}), ones({15}));
       }},
      {"with_gradient: value of shape [3], surrogate of shape [4]", [] { with_gradient(ones({3}), ones({4})); }},
      {"elementwise: shapes do not broadcast: [3] and [4]",
       [] { elementwise([](auto a, auto b) { return a * b; }, ones({3}), ones({4})); }},
      {"backward: needs a seed for a variable of shape [3]; only one element has a natural one",
       [] { ones({3}).backward(); }},
      {"backward: seed of shape [2] for a variable of shape [3]",
       [] {
         ones({3}).backward(Tensor<double>{1.0, 2.0});
       }},
      {"grad: needs a seed for a result of shape [3]", [] { grad(exp(ones({3})), {ones({3})}); }},
      {"assign: shape [2] to a variable of shape [3]",
       [] {
         V x = ones({3});
         x.assign(Tensor<double>{1.0, 2.0});
       }},
      {"item: a variable of shape [3] has not one element", [] { ones({3}).item(); }},
      {"shape: negative extent -1",
       [] {
         Shape{2, -1};
       }},
      {"hvp: vector of shape [1] for an input of shape [3]",
       [] { hvp<double>([](const Vars& x) { return sum(exp(x[0])); }, {ones({3})}, {ones({1})}); }},
      {"jvp: tangent of shape [2] for an input of shape [3]",
       [] { jvp<double>([](const Vars& x) { return exp(x[0]); }, {ones({3})}, {ones({2})}); }},
      {"per_sample_gradients: losses of shape [] instead of [B]",
       [] { per_sample_gradients(sum(ones({3})), {ones({3})}); }},
  });
}

TEST_CASE("bad input: axes, and reductions of nothing without an identity") {
  const double inf = std::numeric_limits<double>::infinity();
  check_messages({
      {"sum: axis 2 is outside shape [2, 3]",
       [] {
         sum(ones({2, 3}), {2});
       }},
      {"mean: axis -3 is outside shape [2, 3]",
       [] {
         mean(ones({2, 3}), {-3});
       }},
      {"sum: axis -2 of shape [2, 3] is listed twice",
       [] {
         sum(ones({2, 3}), {0, -2});
       }},
      {"softmax: axis 5 is outside shape [2, 3]",
       [] {
         softmax(ones({2, 3}), 5);
       }},
      {"cumsum: axis 2 is outside shape [2, 3]",
       [] {
         cumsum(ones({2, 3}), 2);
       }},
      {"permute: axis 0 of shape [2, 3] is listed twice",
       [] {
         permute(ones({2, 3}), {0, 0});
       }},
      {"permute: 1 axes for shape [2, 3]",
       [] {
         permute(ones({2, 3}), {0});
       }},
      {"swap_axes: axis 2 is outside shape [2, 3]",
       [] {
         swap_axes(ones({2, 3}), 0, 2);
       }},
      {"squeeze: axis 0 of shape [2, 3] is not 1",
       [] {
         squeeze(ones({2, 3}), {0});
       }},
      {"expand_dims: axis 4 is outside shape [2, 3] with 1 more",
       [] {
         expand_dims(ones({2, 3}), 4);
       }},
      {"flip: axis 2 is outside shape [2, 3]",
       [] {
         flip(ones({2, 3}), {2});
       }},
      {"take: axis 2 is outside shape [2, 3]",
       [] {
         take(ones({2, 3}), IndexTensor{0}, 2);
       }},
      {"sort: axis 2 is outside shape [2, 3]",
       [] {
         sort(ones({2, 3}), 2);
       }},
      {"extent: axis 2 is outside shape [2, 3]",
       [] {
         ones({2, 3}).extent(2);
       }},
      {"max: of no elements; shape [2, 0]",
       [] {
         max(ones({2, 0}), {1});
       }},
      {"min: of no elements; shape [0]", [] { min(ones({0})); }},
      {"argmax: of no elements; shape [2, 0]",
       [] {
         argmax(ones({2, 0}), 1);
       }},
      {"mean: of no elements; shape [0]", [] { mean(ones({0})); }},
      {"norm: the largest of no elements; shape [0]", [=] { norm(ones({0}), inf); }},
      {"gather: axis 2 is outside shape [2, 3]",
       [] {
         gather(ones({2, 3}), IndexTensor{0}, 2);
       }},
      {"stack: axis 3 is outside shape [2, 3] with 1 more",
       [] {
         stack({ones({2, 3})}, 3);
       }},
      {"expand_dims: 15 axes more than [2, 3] are more than 16",
       [] {
         expand_dims(ones({2, 3}), Axes(15, 0));
       }},
      {"top_k: 4 elements of axis -1 of shape [2, 3]",
       [] {
         top_k(ones({2, 3}), 4);
       }},
  });
}

TEST_CASE("bad input: every operation says its own name and shapes or positions where an input has another shape") {
  // By the functions that make their examples symmetric, from lists or of parts.
  const std::set<std::string> others{"CsrMatrix", "log_softmax", "matrix_parts", "stack", "transpose"};
  std::size_t refused = 0;
  for (const RegisteredOperation& op : registry().operations())
    for (std::size_t i = 0; i < op.inputs.size(); ++i) {
      const Shape right = op.inputs[i].shape;
      std::vector<Shape> shapes{Shape{}, Shape{7, 2, 3, 1, 5, 2}};
      for (int axis = 0; axis < right.rank(); ++axis) {
        shapes.insert(shapes.end(), 3, right);
        shapes.end()[-1][axis] = 19;
        shapes.end()[-2].erase(axis);
        shapes.end()[-3].insert(axis, 3);
      }
      for (const Shape& shape : shapes) {
        Vars inputs = constants(examples(op, 1));
        inputs[i] = V(op.inputs[i].make(shape, 2), true);
        std::string message;
        try {
          op.apply(inputs);
        } catch (const Error& e) {
          message = e.what();
        }
        CHECK(Tape::current().nodes() == 0);
        if (message.empty()) continue;
        ++refused;
        const std::string name = message.substr(0, message.find(": "));
        CHECK_MESSAGE((op.name.starts_with(name) || others.contains(name)), op.name, " says ", message);
        CHECK_MESSAGE(message.find_first_of("[0123456789", name.size()) != std::string::npos, op.name, " says ",
                      message);
      }
    }
  CHECK(refused > 800);
}
