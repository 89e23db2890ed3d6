// Captured programs beside the tape: time of a step and peak memory of the same function, measured in turns. With one
// thread by its processor time, with two by the clock. "training" is the gradient, and where there is an optimiser its
// update, too: within the program (train), or after it (gradients).
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/graph/program/program.hpp>
#include <tapestry/models/training/optimizers/adam.hpp>

using namespace tapestry;
using V = Var<float>;

namespace {

struct Workload {
  std::string name;
  std::function<V()> loss;  // recorded on the tape
  Program<float> program;   // the same, captured
  std::vector<V> parameters;
  std::shared_ptr<Adam<float>> optimizer;  // of the parameters, on both sides; may be missing
};

// Of this thread where it is alone: others may use the machine.
double microseconds(const std::function<void()>& f, int times) {
  const auto now = [] {
    timespec t{};
    clock_gettime(threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
  };
  const double start = now();
  for (int i = 0; i < times; ++i) f();
  return (now() - start) / times;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double peak_bytes(const std::function<void()>& f) {
  reset_peak_memory();
  const auto before = memory_statistics().in_use;
  f();
  return static_cast<double>(memory_statistics().peak - before);
}

void measure(Workload& w) {
  const auto zero = [&] {
    for (V& parameter : w.parameters) parameter.zero_gradient();
  };
  const auto update = [&] {
    if (w.optimizer) w.optimizer->step();
    zero();
  };
  const auto forward_tape = [&] {
    const NoGradients off;
    w.loss();
  };
  const auto forward_program = [&] { w.program.run(); };
  const auto tape = [&] {
    w.loss().backward();
    update();
  };
  const auto gradients = [&] {
    w.program.run_backward();
    update();
  };
  const auto training = [&] { w.program.train(); };
  zero();
  std::vector<std::function<void()>> sides{forward_tape, forward_program, tape, gradients};
  if (w.optimizer) sides.push_back(training);
  std::vector<std::vector<double>> times(sides.size());
  const int repeats = std::max(1, static_cast<int>(3000 / (microseconds(tape, 3) + 1)));
  for (int round = 0; round < 41; ++round)
    for (std::size_t k = 0; k < sides.size(); ++k) times[k].push_back(microseconds(sides[k], repeats));
  const auto& report = w.program.report();
  // Programs hold their memory always; the gradients of parameters are counted on both sides.
  const double tape_forward = peak_bytes(forward_tape), tape_backward = peak_bytes([&] { w.loss().backward(); });
  zero();
  double gradient_bytes = 0;
  for (const V& parameter : w.parameters) gradient_bytes += static_cast<double>(parameter.size()) * sizeof(float);
  const auto line = [&](const char* what, double a, double b, double bytes_a, double bytes_b) {
    std::printf("%-26s %d %-9s %10.2f %10.2f %7.2fx %12.1f %12.1f", w.name.c_str(), threads(), what, a, b, a / b,
                bytes_a / 1e3, bytes_b / 1e3);
    // The pool's peak is exact to 64 KiB.
    if (bytes_a < 131072)
      std::printf(" %8s\n", "-");
    else
      std::printf(" %7.2fx\n", bytes_a / std::max(1.0, bytes_b));
  };
  const auto peak = [](const ProgramReport::Part& part) { return static_cast<double>(part.peak_bytes); };
  line("forward", median(times[0]), median(times[1]), tape_forward, peak(report.forward));
  line(w.optimizer ? "gradients" : "training", median(times[2]), median(times[3]), tape_backward,
       peak(report.backward) + gradient_bytes);
  if (w.optimizer) line("training", median(times[2]), median(times[4]), tape_backward, peak(report.training));
}

Workload make(std::string name, std::function<V()> loss, std::vector<V> parameters,
              std::shared_ptr<Adam<float>> optimizer = {}) {
  const MultiFunction<float> f = [&](const std::vector<V>&) { return std::vector<V>{loss()}; };
  Program<float> program = capture<float>(f, {});
  if (optimizer) program.attach(*optimizer);
  return {std::move(name), std::move(loss), std::move(program), std::move(parameters), std::move(optimizer)};
}

V normal(Generator& random, const Shape& shape, float scale) {
  return V(random.normal<float>(shape) * scale, true);
}

/// 784-512-512-10, cross-entropy, Adam.
Workload mlp(std::int64_t batch) {
  Generator random(1);
  const std::vector<std::int64_t> sizes{784, 512, 512, 10};
  std::vector<V> parameters;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    parameters.push_back(normal(random, {sizes[i], sizes[i + 1]}, 0.03F));
    parameters.push_back(V::zeros({sizes[i + 1]}).set_requires_grad(true));
  }
  const V x(random.uniform<float>({batch, 784}));
  IndexTensor labels = empty_tensor<std::int64_t>({batch});
  for (std::int64_t i = 0; i < batch; ++i) labels(i) = i % 10;
  const Indices y(labels);
  const auto loss = [=] {
    const V h = linear(x, parameters[0], parameters[1], Activation::relu);
    const V g = linear(h, parameters[2], parameters[3], Activation::relu);
    return cross_entropy(linear(g, parameters[4], parameters[5]), y);
  };
  const auto adam = std::make_shared<Adam<float>>(parameters, AdamOptions{.rate = 1e-3});
  return make("mlp_adam_b128, batch " + std::to_string(batch), loss, parameters, adam);
}

/// Mean field for a Potts-like grid, written in operations: 8 states of 32 x 32 variables, 10 iterations.
Workload mean_field() {
  constexpr std::int64_t side = 32, states = 8;
  Generator random(2);
  const V unary = normal(random, {states, side, side}, 1), weights = normal(random, {states, states}, 0.3F);
  const V targets(Tensor<float>(random.uniform<float>({states, side, side})));
  const auto loss = [=] {
    V q = softmax(unary, 0);
    for (int i = 0; i < 10; ++i) {
      const V up = pad(slice(q, 1, {.start = 1}), {{0, 0}, {0, 1}, {0, 0}});
      const V down = pad(slice(q, 1, {.stop = -1}), {{0, 0}, {1, 0}, {0, 0}});
      const V left = pad(slice(q, 2, {.start = 1}), {{0, 0}, {0, 0}, {0, 1}});
      const V right = pad(slice(q, 2, {.stop = -1}), {{0, 0}, {0, 0}, {1, 0}});
      const V neighbours = reshape(up + down + left + right, {states, side * side});
      q = softmax(unary + reshape(matmul(weights, neighbours), {states, side, side}), 0);
    }
    return sum(log(q) * targets);
  };
  return make("mean field 8x32x32, 10", loss, {unary, weights});
}

Workload scalars() {
  const V x = V::filled({1}, 0.5F, true);
  const auto loss = [=] {
    V y = x;
    for (int i = 0; i < 500; ++i) {
      y = y * x;
      y = y + x;
    }
    return y;
  };
  return make("scalar_ops_1000", loss, {x});
}

/// A chain of elementwise functions on a million elements.
Workload chain() {
  Generator random(3);
  const V x = normal(random, {1000000}, 1);
  return make("elementwise 1M", [=] { return sum(tanh(sigmoid(x) * x + exp(x))); }, {x});
}

}  // namespace

int main() {
  std::printf("%-26s %s %-9s %10s %10s %8s %12s %12s %8s\n", "", "threads", "", "tape us", "program us", "ratio",
              "tape kB", "program kB", "ratio");
  Workload (*const workloads[])() = {[] { return mlp(8); }, [] { return mlp(128); }, mean_field, scalars, chain};
  for (const auto make_workload : workloads)
    for (const int count : {1, 2}) {
      set_threads(count);
      Workload workload = make_workload();
      measure(workload);
    }
}
