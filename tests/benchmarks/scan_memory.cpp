// Memory and time of a long scan: value and gradient of a recurrent network over 10,000 steps, with the gradient
// through all steps, the last 100, and checkpointed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/unroll.hpp>

using namespace tapestry;
using V = Var<float>;

int main(int argc, char** argv) {
  const std::int64_t steps = argc > 1 ? std::atoll(argv[1]) : 10000, batch = 8, states = 64;
  Generator random(1);
  const V w(random.normal<float>({states, states}) * 0.1F, true);
  const V inputs(random.normal<float>({steps, batch, states}));
  const auto step = [w](const V& h, const V& x) { return tanh(matmul(h, w) + x); };
  struct Way {
    const char* name;
    UnrollOptions options;
  };
  const Way ways[] = {{"full", {}},
                      {"truncated to 100", {.gradient = LoopGradient::truncated, .last = 100}},
                      {"checkpointed", {.gradient = LoopGradient::checkpointed}}};
  std::printf("%lld steps of a state of %lld x %lld floats\n", static_cast<long long>(steps),
              static_cast<long long>(batch), static_cast<long long>(states));
  std::printf("%-18s %10s %12s %12s\n", "gradient", "ms", "us per step", "peak MB");
  for (const Way& way : ways) {
    std::vector<double> times;
    double peak = 0;
    for (int run = 0; run < 4; ++run) {
      reset_peak_memory();
      const auto before = memory_statistics().in_use;
      const auto start = std::chrono::steady_clock::now();
      const V h = scan(step, V::zeros({batch, states}), inputs, way.options).state;
      grad(sum(square(h)), {w});
      times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      peak = static_cast<double>(memory_statistics().peak - before) / 1e6;
    }
    std::sort(times.begin(), times.end());
    const double median = (times[1] + times[2]) / 2;
    std::printf("%-18s %10.1f %12.2f %12.2f\n", way.name, median * 1e3, median / static_cast<double>(steps) * 1e6,
                peak);
  }
}
