// Tapestry against libtorch on the same training steps: first that loss and gradients agree, then the two in turn.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
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

// The largest difference over the largest value, of the loss or of a parameter's gradient, whichever is worst.
double disagreement(const std::vector<std::vector<float>>& ours, const std::vector<std::vector<float>>& theirs) {
  if (ours.size() != theirs.size() || ours.empty()) return INFINITY;
  double worst = 0;
  for (std::size_t k = 0; k < ours.size(); ++k) {
    if (ours[k].size() != theirs[k].size()) return INFINITY;
    double largest = 1e-30, difference = 0;
    for (std::size_t i = 0; i < ours[k].size(); ++i) {
      const double a = ours[k][i], b = theirs[k][i];
      if (!std::isfinite(a) || !std::isfinite(b)) return INFINITY;
      largest = std::max(largest, std::abs(b));
      difference = std::max(difference, std::abs(a - b));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

versus::Workloads joined(std::initializer_list<versus::Workloads> families) {
  versus::Workloads all;
  for (const versus::Workloads& family : families) all.insert(all.end(), family.begin(), family.end());
  return all;
}

struct Row {
  std::string name;
  int threads;
  double tapestry_us, libtorch_us;
};

// Turns of one side: it steps until its memory, caches and threads are as in a training loop, which the other side's
// turn took from it, and is then timed; steps far below a millisecond in groups.
class Turns {
 public:
  explicit Turns(Side& side) : step_(side.step) {
    step_();
    const double once = seconds_of(step_, 2);
    warm_up_ = 1 + static_cast<int>(1e-3 / once);
    group_ = 1 + static_cast<int>(5e-4 / once);
  }
  void take() {
    for (int i = 0; i < warm_up_; ++i) step_();
    times_.push_back(seconds_of(step_, group_));
  }
  double microseconds() const { return median(times_) * 1e6; }

 private:
  std::function<void()> step_;
  int warm_up_, group_;
  std::vector<double> times_;
};

Row measure(const std::string& name, int threads, Side& ours, Side& theirs, double budget) {
  Turns a(ours), b(theirs);
  const auto start = std::chrono::steady_clock::now();
  for (int turns = 0;
       turns < 7 ||
       (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < budget && turns < 2000);
       ++turns) {
    a.take();
    b.take();
  }
  return {name, threads, a.microseconds(), b.microseconds()};
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
  const versus::Workloads all_ours = joined({versus::tapestry_networks(), versus::tapestry_generative_models(),
                                             versus::tapestry_graphical_models(), versus::tapestry_operations()});
  const versus::Workloads all_theirs = joined({versus::libtorch_networks(), versus::libtorch_generative_models(),
                                               versus::libtorch_graphical_models(), versus::libtorch_operations()});
  for (std::size_t i = 0; i < all_ours.size(); ++i) {
    const std::string& name = all_ours[i].name;
    if (name != all_theirs.at(i).name) {
      std::fprintf(stderr, "versus_libtorch: the sides' workloads differ: %s and %s\n", name.c_str(),
                   all_theirs[i].name.c_str());
      return 2;
    }
    if (!filter.empty() && name.find(filter) == std::string::npos) continue;
    for (const int threads : {1, 2}) {
      versus::set_tapestry_threads(threads);
      versus::set_libtorch_threads(threads);
      Side ours = all_ours[i].make(), theirs = all_theirs[i].make();
      for (Side* side : {&ours, &theirs}) (side->comparable_step ? side->comparable_step : side->step)();
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
