#include <random>

#include "workload.hpp"

namespace versus {
namespace {

std::mt19937 generator(const std::string& name) {
  std::seed_seq seed(name.begin(), name.end());
  return std::mt19937(seed);
}

}  // namespace

std::vector<float> normals(const std::string& name, std::int64_t count, float scale) {
  auto random = generator(name);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) x = normal(random);
  return out;
}

std::vector<float> uniforms(const std::string& name, std::int64_t count) {
  auto random = generator(name);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) x = uniform(random);
  return out;
}

std::vector<std::int64_t> labels(const std::string& name, std::int64_t count, std::int64_t n) {
  auto random = generator(name);
  std::uniform_int_distribution<std::int64_t> uniform(0, n - 1);
  std::vector<std::int64_t> out(static_cast<std::size_t>(count));
  for (std::int64_t& x : out) x = uniform(random);
  return out;
}

}  // namespace versus
