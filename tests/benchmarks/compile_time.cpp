#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

// What a program pays for `#include <tapestry/tapestry.hpp>` at -O0: processor time of the compiler, the least of five.

namespace {

double children_seconds() {
  rusage use{};
  getrusage(RUSAGE_CHILDREN, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

double compile_seconds(const std::string& source) {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "tapestry_compile_time.cpp";
  std::ofstream(file) << source;
  const std::string command =
      std::string(COMPILER) + " -std=c++20 -O0 -I" + INCLUDES + " -c -o /dev/null " + file.string();
  double least = 1e300;
  for (int i = 0; i < 5; ++i) {
    const double before = children_seconds();
    if (std::system(command.c_str()) != 0) std::exit(1);
    least = std::min(least, children_seconds() - before);
  }
  std::filesystem::remove(file);
  return least;
}

}  // namespace

int main() {
  for (const char* header : {"tapestry/tapestry.hpp", "tapestry/autodiff.hpp", "xtensor/xarray.hpp"})
    std::printf("#include <%s>: %.2f s\n", header, compile_seconds("#include <" + std::string(header) + ">\n"));
}
