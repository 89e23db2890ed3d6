#include <limits>

#include <tapestry/autodiff/autodiff.hpp>

#include "autodiff/refused.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;

}  // namespace

TEST_CASE("bad values: indices out of range") {
  check_messages({
      {"take: index 3 at position [1] is outside axis 0 of shape [3, 2]",
       [] {
         take(ones({3, 2}), IndexTensor{0, 3});
       }},
      {"take: index -1 at position [1] is outside axis 0 of shape [3, 2]",
       [] {
         take(ones({3, 2}), IndexTensor{0, -1});
       }},
      {"embedding: index 7 at position [1, 0] is outside axis 0 of shape [3, 2]",
       [] {
         embedding(ones({3, 2}), IndexTensor{{0, 1}, {7, 1}});
       }},
      {"scatter_add: index 5 at position [0] is outside axis 0 of shape [3, 2]",
       [] {
         scatter_add(ones({3, 2}), IndexTensor{5}, ones({1, 2}));
       }},
      {"segment_sum: index 2 at position [2] is outside axis 0 of shape [2]",
       [] {
         segment_sum(ones({3}), IndexTensor{0, 1, 2}, 2);
       }},
      {"gather: index 3 at position [1] is outside axis 1 of shape [2, 3]",
       [] {
         gather(ones({2, 3}), IndexTensor{0, 3}, 1);
       }},
      {"take_along_axis: index 3 at position [1, 0] is outside axis 1 of shape [2, 3]",
       [] {
         take_along_axis(ones({2, 3}), IndexTensor{{0, 1}, {3, 1}}, 1);
       }},
      {"one_hot: index 4 at position [1] is outside axis 1 of shape [2, 4]",
       [] {
         one_hot<double>(IndexTensor{0, 4}, 4);
       }},
      {"select: index 3 along axis 1 of shape [2, 3]",
       [] {
         select(ones({2, 3}), 1, 3);
       }},
      {"cross_entropy: label 4 at position 1 for scores of shape [2, 4]",
       [] {
         cross_entropy(ones({2, 4}), IndexTensor{1, 4});
       }},
      {"negative_log_likelihood: label -2 at position 0 for scores of shape [2, 4]",
       [] {
         negative_log_likelihood(ones({2, 4}), IndexTensor{-2, 1});
       }},
      {"max_unpool1d: index 9 at element 1 of indices [1, 1, 2] is outside a plane of 4 elements",
       [] {
         max_unpool1d(ones({1, 1, 2}), IndexTensor(xt::reshape_view(IndexTensor{0, 9}, {1, 1, 2})), 4);
       }},
  });
}

TEST_CASE("bad values: matrices and values outside a domain, anomalies") {
  const double inf = std::numeric_limits<double>::infinity();
  check_messages({
      {"cholesky: the matrix [2, 2] is not positive definite: its leading minor of order 2",
       [] {
         cholesky(V(Tensor<double>{{1, 2}, {2, 1}}));
       }},
      {"cholesky: matrix 1 (of 2, each [2, 2]) is not positive definite: its leading minor of order 1",
       [] {
         cholesky(stack({V(Tensor<double>{{1.0, 0.0}, {0.0, 1.0}}), V::zeros({2, 2})}));
       }},
      {"solve: the matrix [2, 2] is singular: after row exchanges its leading minor of order 2 is zero",
       [] {
         solve(V(Tensor<double>{{1, 2}, {2, 4}}), ones({2, 1}));
       }},
      {"inverse: the matrix [2, 2] is singular: after row exchanges its leading minor of order 2 is zero",
       [] {
         inverse(V(Tensor<double>{{1, 2}, {2, 4}}));
       }},
      {"clamp: the interval [2, 1] is empty", [] { clamp(ones({2}), 2, 1); }},
      {"triangular_solve: the matrix [2, 2] is singular: element 1 of its diagonal is zero",
       [] {
         triangular_solve(V(Tensor<double>{{1, 0}, {5, 0}}), ones({2, 5}));
       }},
      {"eigh: the matrix [2, 2] is not finite",
       [=] {
         eigh(V(Tensor<double>{{1, 0}, {inf, 0}}));
       }},
      {"clip_gradient_norm: a largest norm of -1", [] { clip_gradient_norm({ones({2})}, -1.0); }},
      {"clip_gradient_value: a limit of -1", [] { clip_gradient_value({ones({2})}, -1.0); }},
      {"polygamma: order -1 is not in 0 to 60", [] { polygamma(-1, ones({2})); }},
      {"dropout: the probability 1.5 is not within 0 and 1",
       [] {
         Generator g(1);
         dropout(ones({2}), 1.5, g);
       }},
      {"log: the result is not finite; inputs of shapes [2, 3] (in loss)",
       [=] {
         const DetectAnomaly on;
         const Scope scope("loss");
         log(V::zeros({2, 3}));
       }},
      {"multiply: the result is not finite; inputs of shapes [], [2]",
       [=] {
         const DetectAnomaly on;
         V(inf) * ones({2});
       }},
      {"sqrt: the gradient of input 0 of shape [2] is not finite",
       [] {
         const DetectAnomaly on;
         V x = V::filled({2}, 0.0, true);
         sum(sqrt(x)).backward();
       }},
      {"exp: the result is not finite; inputs of shapes [3]",
       [] {
         const DetectAnomaly on;
         Var<float> x = Var<float>::filled({3}, 100.f, true);
         exp(x);
       }},
  });
}
