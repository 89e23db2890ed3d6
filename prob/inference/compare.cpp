#include <algorithm>
#include <iomanip>
#include <sstream>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/prob/inference/gibbs.hpp>
#include <tapestry/prob/inference/quality.hpp>

namespace tapestry {
namespace {

template <class T>
InferenceResult<T> find_reference(const FactorGraph<T>& graph, const CompareOptions& options, std::string& name) {
  if (options.reference) {
    name = options.reference->name();
    return (*options.reference)(graph);
  }
  try {
    name = JunctionTree::name;
    return infer(graph, JunctionTree{.memory_limit = options.memory_limit, .factor_marginals = false});
  } catch (const NumericalError&) {
    // Too wide. The long run below is the better of what is left.
    name = Gibbs::name;
    return infer(graph, Gibbs{.iterations = options.sweeps, .burn_in = options.sweeps / 10, .seed = options.seed});
  }
}

std::string number(double x, int digits = 3) {
  std::ostringstream out;
  out << std::setprecision(digits) << x;
  return out.str();
}

}  // namespace

template <class T>
Comparison compare(const FactorGraph<T>& graph, const std::vector<InferenceMethod>& methods,
                   const CompareOptions& options) {
  const NoGradients off;
  Comparison out;
  const auto reference = find_reference(graph, options, out.reference);
  if (!reference.possible) fail<NumericalError>("compare", "no assignment agrees with the evidence and all factors");
  out.exact = reference.kind == BoundKind::exact;
  for (const auto& errors : reference.standard_errors)
    for (const T e : errors) out.reference_error = std::max(out.reference_error, static_cast<double>(e));
  for (const auto& method : methods) {
    InferenceQuality quality;
    try {
      quality = inference_quality(graph, method(graph), reference);
    } catch (const Error& error) {
      quality.failure = error.what();
    }
    quality.method = method.name();
    out.methods.push_back(std::move(quality));
  }
  return out;
}

std::string Comparison::table() const {
  std::vector<std::vector<std::string>> rows = {
      {"method", "max error", "mean error", "KL", "log-partition", "its error", "std error", "seconds", "state"}};
  for (const auto& m : methods) {
    if (!m.failure.empty()) {
      rows.push_back({m.method, "-", "-", "-", "-", "-", "-", "-", m.failure});
      continue;
    }
    std::string state = m.converged ? "converged" : m.oscillates ? "oscillates" : "not converged";
    if (m.kind == BoundKind::lower_bound) state += ", lower bound";
    if (m.kind == BoundKind::upper_bound) state += ", upper bound";
    if (m.inconsistency > 1e-3) state += ", inconsistent by " + number(m.inconsistency);
    rows.push_back({m.method, number(m.max_error), number(m.mean_error), number(m.divergence),
                    number(m.log_partition, 8), number(m.log_partition_error),
                    m.standard_error > 0 ? number(m.standard_error) : "-", number(m.seconds), state});
  }
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::ostringstream out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i)
      out << (i == 0 ? "" : "  ") << std::left << std::setw(i + 1 < row.size() ? static_cast<int>(widths[i]) : 0)
          << row[i];
    out << '\n';
  }
  out << "against " << reference << (exact ? " (exact)" : "");
  if (reference_error > 0) out << ", standard error up to " << number(reference_error);
  out << '\n';
  return out.str();
}

template Comparison compare(const FactorGraph<float>&, const std::vector<InferenceMethod>&, const CompareOptions&);
template Comparison compare(const FactorGraph<double>&, const std::vector<InferenceMethod>&, const CompareOptions&);

}  // namespace tapestry
