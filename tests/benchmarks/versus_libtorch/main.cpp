// Tapestry against libtorch on the same training steps: first that loss and gradients agree, then the two in turn.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <unistd.h>

#include <tapestry/autodiff/atomic_file.hpp>

#include "workload.hpp"

namespace {

using versus::Side;

double seconds_of(const std::function<void()>& step, int repetitions) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repetitions; ++i) step();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repetitions;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Largest difference over the largest value, of the loss and of all gradients.
double disagreement(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return INFINITY;
  double largest = 0, difference = 0;
  for (std::size_t i = 1; i < a.size(); ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(b[i])));
    difference = std::max(difference, static_cast<double>(std::abs(a[i] - b[i])));
  }
  const double loss = std::abs(a[0] - b[0]) / std::max(1e-30, static_cast<double>(std::abs(b[0])));
  const double gradients = largest > 0 ? difference / largest : difference;
  return std::isfinite(loss + gradients) ? std::max(loss, gradients) : INFINITY;
}

struct Row {
  std::string name;
  int threads;
  double tapestry_us, libtorch_us;
};

Row measure(const std::string& name, int threads, Side& ours, Side& theirs, double budget) {
  for (int i = 0; i < 3; ++i) ours.step(), theirs.step();
  // Steps far below a millisecond are timed in groups.
  const int group = std::max(1, static_cast<int>(2e-4 / seconds_of(ours.step, 3)));
  std::vector<double> a, b;
  const auto start = std::chrono::steady_clock::now();
  while (a.size() < 7 || (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < budget &&
                          a.size() < 2000)) {
    a.push_back(seconds_of(ours.step, group));
    b.push_back(seconds_of(theirs.step, 1));
  }
  return {name, threads, median(a) * 1e6, median(b) * 1e6};
}

void write_json(const std::string& path, const std::vector<Row>& rows) {
  std::string text = "[\n";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    char line[256];
    std::snprintf(
        line, sizeof line,
        "  {\"name\": \"%s\", \"threads\": %d, \"tapestry_us\": %.2f, \"libtorch_us\": %.2f, \"ratio\": %.3f}%s\n",
        rows[i].name.c_str(), rows[i].threads, rows[i].tapestry_us, rows[i].libtorch_us,
        rows[i].libtorch_us / rows[i].tapestry_us, i + 1 < rows.size() ? "," : "");
    text += line;
  }
  text += "]\n";
  tapestry::detail::AtomicFile file("versus_libtorch", path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace

int main(int argc, char** argv) {
  // libtorch's best setting: its OpenMP threads must not spin while it is the other's turn.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv);
  }
  std::string json, filter;
  double budget = 2;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (i + 1 < argc && option == "--json") {
      json = argv[++i];
    } else if (i + 1 < argc && option == "--filter") {
      filter = argv[++i];
    } else if (i + 1 < argc && option == "--seconds") {
      budget = std::atof(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: versus_libtorch [--json FILE] [--filter NAME] [--seconds S]\n");
      return 2;
    }
  }
  bool agree = true;
  std::vector<Row> rows;
  std::printf("%-28s %8s %14s %14s %8s\n", "workload", "threads", "tapestry us", "libtorch us", "ratio");
  for (const std::string& name : versus::workloads()) {
    if (!filter.empty() && name.find(filter) == std::string::npos) continue;
    for (const int threads : {1, 2}) {
      versus::set_tapestry_threads(threads);
      versus::set_libtorch_threads(threads);
      Side ours = versus::tapestry_side(name), theirs = versus::libtorch_side(name);
      ours.step();
      theirs.step();
      const double difference = disagreement(ours.result(), theirs.result());
      if (!(difference < 1e-3)) {
        std::printf("%-28s %8d loss or gradients differ by %.2e\n", name.c_str(), threads, difference);
        agree = false;
        continue;
      }
      rows.push_back(measure(name, threads, ours, theirs, budget));
      const Row& row = rows.back();
      std::printf("%-28s %8d %14.1f %14.1f %8.2f\n", name.c_str(), threads, row.tapestry_us, row.libtorch_us,
                  row.libtorch_us / row.tapestry_us);
      std::fflush(stdout);
    }
  }
  if (!json.empty()) write_json(json, rows);
  return agree ? 0 : 1;
}
