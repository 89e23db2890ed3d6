#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "autodiff/registry_examples.hpp"

// The operations that the library promises are in the registry, where the other tests find them: with values and
// derivatives to second order, in float and double. Whoever takes one away, or its derivatives, fails here.

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using Names = std::vector<std::string>;

const RegisteredOperation* find(const std::string& name) {
  const auto& all = registry().operations();
  const auto at = std::find_if(all.begin(), all.end(), [&](const RegisteredOperation& op) { return op.name == name; });
  return at == all.end() ? nullptr : &*at;
}

// What is wrong with the entries of these names: empty where nothing is.
std::string faults(const Names& names, bool elementwise, bool differentiable) {
  std::string out;
  for (const std::string& name : names) {
    const RegisteredOperation* const op = find(name);
    if (op == nullptr)
      out += name + " is missing; ";
    else if (op->elementwise != elementwise)
      out += name + (elementwise ? " is not elementwise; " : " is elementwise; ");
    else if (op->differentiable != differentiable)
      out += name + (differentiable ? " has no derivatives; " : " has derivatives; ");
    else if (!op->apply || !op->apply_float)
      out += name + " is not there for both types; ";
  }
  return out;
}

}  // namespace

TEST_CASE("registry: elementwise operations are there, with broadcasting and derivatives") {
  CHECK(faults({"add",         "subtract",  "multiply", "divide", "negative", "pow",        "pow_number",
                "square",      "sqrt",      "rsqrt",    "exp",    "expm1",    "log",        "log1p",
                "log_sigmoid", "sigmoid",   "tanh",     "relu",   "elu",      "leaky_relu", "selu",
                "gelu",        "softplus",  "sin",      "cos",    "tan",      "asin",       "acos",
                "atan",        "sinh",      "cosh",     "abs",    "sign",     "floor",      "round",
                "clamp",       "minimum",   "maximum",  "erf",    "erfc",     "lgamma",     "digamma",
                "trigamma",    "polygamma", "logit",    "xlogy",  "atan2",    "logaddexp",  "reciprocal"},
               true, true) == "");
  CHECK(faults({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}, true, false) == "");
  CHECK(faults({"where", "masked_fill"}, false, true) == "");
}

TEST_CASE("registry: reductions and scans are there, with derivatives") {
  CHECK(faults({"sum", "mean", "prod", "max", "min", "variance", "stddev", "logsumexp", "norm", "norm_1",
                "norm_infinity", "cumsum", "cumprod", "logcumsumexp", "softmax", "log_softmax", "linear_recurrence"},
               false, true) == "");
  CHECK(faults({"argmax", "argmin", "argsort"}, false, false) == "");
}

TEST_CASE("registry: operations on shapes and by indices are there, with derivatives") {
  CHECK(faults({"reshape", "transpose", "permute", "swap_axes",   "broadcast_to", "sum_to", "concatenate",
                "stack",   "split",     "chunk",   "unbind",      "slice",        "select", "pad",
                "flip",    "roll",      "squeeze", "expand_dims", "tile",         "repeat"},
               false, true) == "");
  CHECK(faults({"gather", "take", "take_along_axis", "put_along_axis", "scatter_add", "scatter_add_along_axis",
                "segment_sum", "index_select", "embedding", "diagonal", "diag_embed", "trace", "triu", "tril", "sort",
                "top_k"},
               false, true) == "");
  CHECK(faults({"one_hot"}, false, false) == "");
}

TEST_CASE("registry: linear algebra is there, with derivatives") {
  CHECK(faults({"matmul",          "dot",           "outer",          "einsum",
                "linear",          "linear_relu",   "linear_sigmoid", "linear_tanh",
                "linear_softplus", "sparse_matmul", "cholesky",       "triangular_solve",
                "solve",           "inverse",       "logdet",         "slogdet",
                "logdet_spd",      "eigh_values",   "eigh_vectors",   "svd_u [2, 3, 3]",
                "svd_s [4, 2]",    "svd_vt [2, 4]", "qr_q [4, 2]",    "qr_r [2, 4]",
                "matrix_exp"},
               false, true) == "");
}

TEST_CASE("registry: what networks are made of is there, with derivatives") {
  CHECK(faults({"conv1d",
                "conv2d",
                "conv_transpose1d",
                "conv_transpose2d",
                "max_pool1d",
                "max_pool2d",
                "avg_pool1d",
                "avg_pool2d",
                "adaptive_max_pool1d",
                "adaptive_max_pool2d",
                "adaptive_avg_pool1d",
                "adaptive_avg_pool2d",
                "max_unpool1d",
                "max_unpool2d",
                "dropout",
                "layer_norm",
                "batch_norm",
                "batch_norm_with",
                "lstm",
                "gru"},
               false, true) == "");
  CHECK(faults({"cross_entropy", "cross_entropy_with_probabilities", "negative_log_likelihood",
                "binary_cross_entropy_with_logits", "squared_error", "absolute_error", "huber", "hinge",
                "margin_ranking", "multiclass_margin", "multiclass_hinge", "triplet", "kl_divergence"},
               false, true) == "");
}
