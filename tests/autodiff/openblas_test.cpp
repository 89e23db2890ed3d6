#include <tapestry/autodiff/openblas.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>
#include <tapestry/autodiff/blas.hpp>

using namespace tapestry;

TEST_CASE("openblas: the core is replaced only where that is right and wanted") {
  CHECK(detail::better_blas_core("Haswell", true, nullptr, nullptr) == "SkylakeX");
  CHECK(detail::better_blas_core("Zen", true, "1", nullptr) == "SkylakeX");
  CHECK(detail::better_blas_core("Haswell", false, nullptr, nullptr).empty());
  CHECK(detail::better_blas_core("Haswell", true, "0", nullptr).empty());
  CHECK(detail::better_blas_core("Haswell", true, nullptr, "Haswell").empty());
  CHECK(detail::better_blas_core("SkylakeX", true, nullptr, nullptr).empty());
  CHECK(detail::better_blas_core("Cooperlake", true, nullptr, nullptr).empty());
}

#if defined(__x86_64__)
TEST_CASE("openblas: a product is the same before and after the switch of a running library") {
  const std::string original = detail::blas_core();
  std::vector<std::string> cores{"Nehalem"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) cores.push_back("Haswell");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) cores.push_back("SkylakeX");
  const std::int64_t n = 100;  // too small for oneDNN
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> a(at(n * n)), b(at(n * n)), bound(at(n * n));
  for (float& x : a) x = normal(generator);
  for (float& x : b) x = normal(generator);
  std::vector<std::vector<float>> results;
  for (const std::string& core : cores) {
    REQUIRE(detail::switch_blas_core(core));
    CHECK(detail::blas_core() == core);
    results.emplace_back(at(n * n));
    detail::gemm(false, false, n, n, n, 1.0f, a.data(), n, b.data(), n, 0.0f, results.back().data(), n);
  }
  REQUIRE(detail::switch_blas_core(original));
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double exact = 0, size = 0;
      for (std::int64_t p = 0; p < n; ++p) {
        exact += static_cast<double>(a[at(i * n + p)]) * b[at(p * n + j)];
        size += std::abs(static_cast<double>(a[at(i * n + p)]) * b[at(p * n + j)]);
      }
      for (const auto& result : results)
        REQUIRE(std::abs(result[at(i * n + j)] - exact) <=
                0.5 * std::sqrt(n) * size * std::numeric_limits<float>::epsilon());
    }
}
#endif

TEST_CASE("openblas: the report names library and core") {
  const detail::BlasReport& report = detail::blas_report();
  CHECK(report.library.rfind("OpenBLAS ", 0) == 0);
  CHECK(report.core == detail::blas_core());
}
