#include <tapestry/prob/inference/table_algebra.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/prob/kernels/tables.hpp>

namespace tapestry::detail {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr std::size_t wide_enough = 8;

std::size_t product(const AxisRuns& runs, std::size_t from, std::size_t to) {
  std::size_t n = 1;
  for (std::size_t i = from; i < to; ++i) n *= runs[i].size;
  return n;
}

/// The absent run that shrinks (or spreads) the table most with wide inner loops.
std::size_t best_absent_run(const AxisRuns& runs) {
  std::size_t best = runs.size(), best_score = 0, inner = 1;
  for (std::size_t i = runs.size(); i-- > 0; inner *= runs[i].size) {
    if (runs[i].present) continue;
    const std::size_t score =
        (inner >= wide_enough || runs[i].size >= 4 * wide_enough) ? runs[i].size + (1u << 30) : runs[i].size;
    if (score >= best_score) {
      best = i;
      best_score = score;
    }
  }
  return best;
}

}  // namespace

AxisRuns axis_runs(const TableScope& table, const TableScope& sub, const std::vector<std::size_t>& cardinalities) {
  AxisRuns runs;
  auto next = sub.begin();
  for (const std::int32_t v : table) {
    const bool present = next != sub.end() && *next == v;
    next += present;
    const std::size_t size = cardinalities[static_cast<std::size_t>(v)];
    if (!runs.empty() && runs.back().present == present)
      runs.back().size *= size;
    else
      runs.push_back({size, present});
  }
  return runs;
}

TableLogSums::TableLogSums(std::size_t largest) : scratch_(std::max<std::size_t>(largest, 4)), difference_(largest) {}

/// table = sub, spread over the axes that are absent from it
void TableLogSums::spread(double* table, const AxisRuns& runs, const double* sub) {
  const auto kernel = kernels<TableKernels>().assign;
  const std::size_t last = best_absent_run(runs);
  if (last == runs.size()) return kernel(table, 1, 1, product(runs, 0, runs.size()), sub);
  // All absent runs but one are spread into scratch, innermost first, while the table is still small.
  AxisRuns inserted = runs;
  for (auto& run : inserted)
    if (!run.present) run.size = 1;
  const double* current = sub;
  const std::size_t half = scratch_.size() / 2;
  bool second = false;
  // The last spread table has at most half the entries, the one before at most a quarter: they alternate between the
  // halves of the scratch.
  for (std::size_t i = runs.size(); i-- > 0;) {
    if (runs[i].present || i == last) continue;
    double* target = scratch_.data() + (second ? half : 0);
    kernel(target, product(inserted, 0, i), runs[i].size, product(inserted, i + 1, runs.size()), current);
    inserted[i].size = runs[i].size;
    current = target;
    second = !second;
  }
  kernel(table, product(runs, 0, last), runs[last].size, product(runs, last + 1, runs.size()), current);
}

void TableLogSums::reduce(Reduce kernel, const double* table, AxisRuns runs, double* sub) {
  const std::size_t half = scratch_.size() / 2;
  bool second = false;
  while (true) {
    const std::size_t r = best_absent_run(runs);
    if (r == runs.size()) {
      std::copy(table, table + product(runs, 0, r), sub);
      return;
    }
    const bool last = std::count_if(runs.begin(), runs.end(), [](const AxisRun& run) { return !run.present; }) == 1;
    double* target = last ? sub : scratch_.data() + (second ? half : 0);
    kernel(table, product(runs, 0, r), runs[r].size, product(runs, r + 1, runs.size()), target);
    if (last) return;
    runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(r));
    if (r > 0 && r < runs.size()) {
      runs[r - 1].size *= runs[r].size;
      runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(r));
    }
    table = target;
    second = !second;
  }
}

void TableLogSums::project(const double* table, const AxisRuns& runs, double* sub) {
  const auto& k = kernels<TableKernels>();
  const std::size_t all = product(runs, 0, runs.size());
  std::size_t kept = 1;
  for (const auto& run : runs) kept *= run.present ? run.size : 1;
  if (maxima_.size() < kept) {
    maxima_ = Buffer();  // before the larger one
    maxima_ = Buffer(kept);
  }
  reduce(k.max, table, runs, maxima_.data());
  spread(difference_.data(), runs, maxima_.data());
  k.subtract_from(table, difference_.data(), all);
  k.exp(difference_.data(), all);
  reduce(k.sum, difference_.data(), runs, sub);
  for (std::size_t i = 0; i < kept; ++i) sub[i] = sub[i] > 0 ? std::log(sub[i]) + maxima_.data()[i] : minus_infinity;
}

}  // namespace tapestry::detail
