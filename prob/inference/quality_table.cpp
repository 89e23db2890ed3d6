#include <algorithm>
#include <iomanip>
#include <sstream>

#include <tapestry/prob/inference/quality.hpp>

// Qualities of inference as text.
namespace tapestry {
namespace {

using Row = std::vector<std::string>;

std::string number(double x, int digits = 3) {
  std::ostringstream out;
  out << std::setprecision(digits) << x;
  return out.str();
}

/// The columns of a quality: errors, and how the inference went.
const Row quality_header = {"iterations", "max error",      "mean error", "KL (nats)", "log-partition",
                            "its error",  "standard error", "seconds",    "state"};
Row quality_row(const InferenceQuality& m) {
  if (!m.failure.empty()) {
    Row out(quality_header.size(), "-");
    out.back() = m.failure;
    return out;
  }
  std::string state = m.converged ? "converged" : m.oscillates ? "oscillates" : "not converged";
  if (m.kind == BoundKind::lower_bound) state += ", lower bound";
  if (m.kind == BoundKind::upper_bound) state += ", upper bound";
  if (m.inconsistency > 1e-3) state += ", inconsistent by " + number(m.inconsistency);
  return {m.iterations > 0 ? std::to_string(m.iterations) : "-",
          number(m.max_error),
          number(m.mean_error),
          number(m.divergence),
          number(m.log_partition, 8),
          number(m.log_partition_error),
          m.standard_error > 0 ? number(m.standard_error) : "-",
          number(m.seconds),
          state};
}

/// The first and the last column are words, and begin below each other; numbers between end below each other.
std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::ostringstream out;
  for (const Row& row : rows) {
    out << std::left << std::setw(static_cast<int>(widths[0])) << row[0] << std::right;
    for (std::size_t i = 1; i + 1 < row.size(); ++i) out << "  " << std::setw(static_cast<int>(widths[i])) << row[i];
    out << "  " << row.back() << '\n';
  }
  return out.str();
}

Row beside(std::string first, const Row& others) {
  Row out = {std::move(first)};
  out.insert(out.end(), others.begin(), others.end());
  return out;
}

std::string against(const std::string& reference, bool exact) {
  return "errors against " + reference + (exact ? " (exact)" : " (not exact)");
}

}  // namespace

std::string Comparison::table() const {
  std::vector<Row> rows = {beside("method", quality_header)};
  for (const auto& m : methods) rows.push_back(beside(m.method, quality_row(m)));
  std::string out = aligned(rows) + against(reference, exact);
  if (reference_error > 0) out += ", whose marginals have standard errors up to " + number(reference_error);
  return out + '\n';
}

std::string InferenceMonitor::table() const {
  std::vector<Row> rows = {beside("step", quality_header)};
  for (const auto& report : history_) rows.push_back(beside(std::to_string(report.step), quality_row(report.quality)));
  const bool exact = std::all_of(history_.begin(), history_.end(), [](const Report& r) { return r.exact; });
  return aligned(rows) + cheap_.name() + ", " + against(better_.name(), exact && !history_.empty()) + '\n';
}

}  // namespace tapestry
