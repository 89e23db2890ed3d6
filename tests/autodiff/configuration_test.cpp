#include <tapestry/autodiff/configuration.hpp>

#include <cstdlib>
#include <sstream>
#include <string>

#include <doctest/doctest.h>
#include <tapestry/autodiff/threads.hpp>

using namespace tapestry;

TEST_CASE("configuration: every field is filled and printed") {
  const Configuration c = configuration();
  CHECK(c.version.find('.') != std::string::npos);
  CHECK((c.compiler.rfind("g++ ", 0) == 0 || c.compiler.rfind("clang ", 0) == 0));
  CHECK((c.instruction_set == "baseline" || c.instruction_set == "avx2" || c.instruction_set == "avx512"));
  CHECK(c.blas.rfind("OpenBLAS ", 0) == 0);
  CHECK_FALSE(c.blas_core.empty());
  CHECK(c.threads == threads());
  std::ostringstream out;
  out << c;
  for (const std::string& field : {c.version, c.compiler, c.instruction_set, c.blas, c.blas_core})
    CHECK(out.str().find(field) != std::string::npos);
}

TEST_CASE("configuration: a core that the user asks OpenBLAS for is left alone") {
  if (const char* asked = std::getenv("OPENBLAS_CORETYPE"); asked != nullptr) CHECK_FALSE(configuration().blas_tuned);
  if (const char* tune = std::getenv("TAPESTRY_TUNE_BLAS"); tune != nullptr && std::string(tune) == "0")
    CHECK_FALSE(configuration().blas_tuned);
}
