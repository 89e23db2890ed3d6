#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace versus {

/// One training step of a workload on one of the two sides.
struct Side {
  std::function<void()> step;
  /// The loss, and the gradient of each parameter, of the step that was run last.
  std::function<std::vector<std::vector<float>>()> result;
  /// The same step with given random numbers, where `step` draws its own: for the comparison of the two sides.
  std::function<void()> comparable_step = nullptr;
};

struct Workload {
  std::string name;
  Side (*make)();
};
using Workloads = std::vector<Workload>;

/// Both sides build their inputs from these, so that they are the same: standard normal or uniform numbers, or labels
/// below n, fixed by a name.
std::vector<float> normals(const std::string& name, std::int64_t count, float scale = 1);
std::vector<float> uniforms(const std::string& name, std::int64_t count);
std::vector<std::int64_t> labels(const std::string& name, std::int64_t count, std::int64_t n);

/// Each family has the same names in the same order on both sides.
Workloads tapestry_operations();
Workloads tapestry_graphical_models();
Workloads tapestry_networks();
Workloads tapestry_generative_models();
Workloads libtorch_operations();
Workloads libtorch_graphical_models();
Workloads libtorch_networks();
Workloads libtorch_generative_models();

void set_tapestry_threads(int count);
void set_libtorch_threads(int count);

}  // namespace versus
