#include <malloc.h>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>
#include <tapestry/autodiff/pool.hpp>

#include "ops/compare.hpp"

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using F = Var<float>;

F leaf(const Shape& shape, unsigned seed) {
  F x(normal_values<float>(shape, seed), true);
  x.mutable_value() = x.value() * 0.1f;
  return x;
}

// A network with an operation of every kind: convolution, pooling, normalisation, recurrence, dropout, lookup by rows,
// a lambda, a checkpoint and a loss.
struct Network {
  F filters = leaf({4, 1, 3, 3}, 1), scale = leaf({4}, 2), shift = leaf({4}, 3), weight = leaf({36, 8}, 4),
    bias = leaf({8}, 5), input_gates = leaf({32, 8}, 6), hidden_gates = leaf({32, 8}, 7), gate_bias = leaf({32}, 8),
    table = leaf({10, 8}, 9), inner = leaf({8, 8}, 10);
  std::vector<F> leaves() const {
    return {filters, scale, shift, weight, bias, input_gates, hidden_gates, gate_bias, table, inner};
  }

  F loss(const F& images, const Indices& words, const Indices& labels, Generator& generator) const {
    const F maps = max_pool2d(relu(conv2d(images, filters)), {2, 2});
    const F normal = batch_norm(maps, scale, shift).value;
    const F features = dropout(linear(reshape(normal, {-1, 36}), weight, bias, Activation::tanh), 0.2f, generator);
    const F steps = stack({features, embedding(table, words)});
    const F states = lstm(steps, F::zeros({6, 8}), F::zeros({6, 8}), input_gates, hidden_gates, gate_bias).hidden;
    const Function<float> f = [this](const std::vector<F>& x) { return softmax(matmul(x[0], inner), 1) + x[0]; };
    const F mixed = elementwise([](auto a, auto b) { return a * sigmoid(b); }, checkpoint(f, {states}), features);
    return cross_entropy(mixed, labels);
  }
};

}  // namespace

TEST_CASE("steady state: a training loop takes no memory from the system, and holds no more than before") {
  const Network network;
  const F images(normal_values<float>({6, 1, 8, 8}, 20));
  const Indices words(IndexTensor{1, 4, 4, 7, 0, 9}), labels(IndexTensor{0, 7, 3, 3, 1, 5});
  Generator generator(1);
  double first = 0, last = 0;
  std::size_t in_use = 0, calls = 0, heap = 0;
  for (int step = 0; step < 1000; ++step) {
    for (F leaf : network.leaves()) leaf.zero_gradient();
    const F loss = network.loss(images, words, labels, generator);
    loss.backward();
    clip_gradient_norm(network.leaves(), 1.f);
    for (F leaf : network.leaves()) {
      auto value = leaf.mutable_value();
      value -= 0.3f * leaf.gradient();
    }
    last = static_cast<double>(loss.item());
    if (step == 0) first = last;
    // What is mapped by malloc, which vectors and functions use.
    const auto system = mallinfo2();
    if (step == 200) in_use = memory_statistics().in_use, calls = memory_statistics().system_calls;
    if (step == 200) heap = system.arena + system.hblkhd;
    if (step > 200) {
      CHECK(memory_statistics().in_use == in_use);
      CHECK(memory_statistics().system_calls == calls);
      CHECK(system.arena + system.hblkhd == heap);
    }
  }
  CHECK(last < 0.5 * first);
}
