#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/exact.hpp>
#include <tapestry/prob/io/uai.hpp>

using namespace tapestry;

TEST_CASE("published UAI references are met or the instance is refused") {
  const char* data = std::getenv("TAPESTRY_DATA");
  if (data == nullptr) {
    MESSAGE("TAPESTRY_DATA is not set");
    return;
  }
  CliqueTreeOptions options;
  options.memory_limit = 1.5e8;
  int solved = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(data) + "/uai")) {
    if (entry.path().extension() != ".PR") continue;
    const std::string path = entry.path().string().substr(0, entry.path().string().size() - 3);
    CAPTURE(path);
    const auto model = read_uai(path);
    const auto evidence = read_uai_evidence(path + ".evid", model.cardinalities).front();
    ExactMarginals result;
    try {
      result = exact_marginals(model, evidence, options);
    } catch (const NumericalError& error) {
      CHECK(std::string(error.what()).find("width") != std::string::npos);
      ++refused;
      continue;
    }
    ++solved;
    std::string header;
    double value = 0;
    std::ifstream(path + ".PR") >> header >> value;
    CHECK(result.log_partition / std::log(10.0) == doctest::Approx(value).epsilon(1e-5));

    std::ifstream mar(path + ".MAR");
    std::size_t variables = 0, states = 0;
    mar >> header >> variables;
    REQUIRE(variables == result.variables.size());
    double largest = 0;
    for (const auto& marginal : result.variables) {
      mar >> states;
      REQUIRE(states == marginal.size());
      for (const double p : marginal) {
        mar >> value;
        largest = std::max(largest, std::abs(p - value));
      }
    }
    REQUIRE(mar);
    CHECK(largest < 2e-6);

    const auto maximum = exact_maximum(model, evidence, options);
    CHECK(log_score(model, maximum.assignment) == doctest::Approx(maximum.log_value).epsilon(1e-12));
    std::ifstream map(path + ".MAP");
    if (!map) continue;
    std::vector<std::int64_t> reference(variables);
    map >> header >> variables;
    for (auto& state : reference) map >> state;
    REQUIRE(map);
    CHECK(maximum.log_value >= log_score(model, reference) - 1e-9);
  }
  CHECK(solved >= 15);
  CHECK(refused >= 1);
}
