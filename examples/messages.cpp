// A thousand steps of message passing along a chain, recorded and differentiated: the gradient of the log-partition
// with respect to the potentials is the marginals. Then the same with checkpoints, in a fraction of the memory.
#include <cmath>
#include <cstdio>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/random.hpp>

using namespace tapestry;
using Variable = Var<double>;
using Variables = std::vector<Variable>;

int main() {
  const std::int64_t steps = 1000, states = 64;
  Generator random(1);
  Variable unary(random.normal<double>({steps, states}), true);
  Variable weights(random.uniform<double>({states, states}, 0.5, 1.5), true);

  // The state is a message (normalised to sum 1) and the logarithm of what was divided out.
  const auto step = [&](std::int64_t t, const Variables& state) {
    const Variable message = matmul(state[0], weights) * exp(select(unary, 0, t));
    const Variable total = sum(message);
    return Variables{message / total, state[1] + log(total)};
  };
  const Variables start = {Variable::filled({states}, 1.0 / static_cast<double>(states)), Variable(0.0)};

  reset_peak_memory();
  auto before = memory_statistics().in_use;
  Variables state = start;
  for (std::int64_t t = 0; t < steps; ++t) state = step(t, state);
  state[1].backward();
  std::printf("log-partition %.6f, peak %5.0f kB\n", state[1].item(),
              static_cast<double>(memory_statistics().peak - before) / 1e3);

  // A chain's marginals sum to one at every step.
  const Tensor<double> marginals = unary.gradient();
  double worst = 0;
  for (std::int64_t t = 0; t < steps; ++t) {
    double sum = 0;
    for (std::int64_t k = 0; k < states; ++k) sum += marginals(t, k);
    worst = std::max(worst, std::abs(sum - 1));
  }
  std::printf("marginals sum to 1 within %.1e\n", worst);

  state.clear();
  unary.zero_gradient();
  reset_peak_memory();
  before = memory_statistics().in_use;
  state = checkpoint_steps<double>(step, start, steps);
  state[1].backward();
  std::printf("log-partition %.6f, peak %5.0f kB with checkpoints\n", state[1].item(),
              static_cast<double>(memory_statistics().peak - before) / 1e3);
  return worst < 1e-12 ? 0 : 1;
}
