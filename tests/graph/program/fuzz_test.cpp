#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <doctest/doctest.h>

#include <tapestry/autodiff/random.hpp>

#include "fuzz/program_properties.hpp"

using namespace tapestry;

namespace {

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("program file: what the fuzzer found to be read out of bounds is refused") {
  const std::string bytes = bytes_of(TAPESTRY_TESTS_FOLDER "/fuzz/corpus/program_refused/root_of_root");
  REQUIRE(!bytes.empty());
  CHECK(fuzz::check_program(bytes) == fuzz::ProgramOutcome::refused);
}

TEST_CASE("program file: the fuzzer's programs run, and damaged in several places are refused or run") {
  Generator random(6);
  int count = 0, refused = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TAPESTRY_TESTS_FOLDER "/fuzz/corpus/program")) {
    CAPTURE(entry.path().string());
    const std::string good = bytes_of(entry.path());
    CHECK(fuzz::check_program(good) == fuzz::ProgramOutcome::ran);
    ++count;
    for (int i = 0; i < 100; ++i) {
      std::string bad = good;
      const std::int64_t edits = 1 + random.integer(4);
      for (std::int64_t k = 0; k < edits; ++k) {
        const auto at = static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(bad.size())));
        if (random.integer(2) == 0)
          bad[at] = static_cast<char>(random.integer(4));
        else
          bad.replace(at, 8, good, static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(good.size()))), 8);
      }
      if (fuzz::check_program(bad) == fuzz::ProgramOutcome::refused) ++refused;
    }
  }
  CHECK(count >= 4);
  CHECK(refused > 40 * count);
}
