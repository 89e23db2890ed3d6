#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace versus {

/// One training step of a workload on one of the two sides.
struct Side {
  std::function<void()> step;
  /// The loss and all gradients of the step that was run last.
  std::function<std::vector<float>()> result;
};

/// Both sides build their inputs from these, so that they are the same: standard normal or uniform numbers, or labels
/// below n, fixed by a name.
std::vector<float> normals(const std::string& name, std::int64_t count, float scale = 1);
std::vector<float> uniforms(const std::string& name, std::int64_t count);
std::vector<std::int64_t> labels(const std::string& name, std::int64_t count, std::int64_t n);

/// The names in the order of the report.
std::vector<std::string> workloads();
Side tapestry_side(const std::string& workload);
Side libtorch_side(const std::string& workload);

void set_tapestry_threads(int count);
void set_libtorch_threads(int count);

}  // namespace versus
