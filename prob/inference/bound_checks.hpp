#pragma once

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// While one lives, infer() compares every log-partition that it calls a bound with enumeration, in graphs of not more
/// assignments than that, and throws NumericalError where it is on the wrong side. For tests and for debugging.
class BoundChecks {
 public:
  explicit BoundChecks(double assignments = 65536);
  ~BoundChecks();
  BoundChecks(const BoundChecks&) = delete;
  BoundChecks& operator=(const BoundChecks&) = delete;

  /// Comparisons made since the program began.
  static std::int64_t made();

 private:
  double before_;
};

namespace detail {
/// Does nothing unless checks are on. @throws NumericalError with both numbers
template <class T>
void check_bound(const FactorGraph<T>& graph, const InferenceResult<T>& result, std::string_view method);
}  // namespace detail

}  // namespace tapestry
