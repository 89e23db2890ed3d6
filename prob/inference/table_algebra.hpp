#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <tapestry/autodiff/pool.hpp>

namespace tapestry::detail {

/// Uninitialised numbers from the pool.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) : data_(static_cast<double*>(pool_allocate(size * sizeof(double)))), size_(size) {}
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) pool_deallocate(data_, size_ * sizeof(double));
  }
  double* data() { return data_; }
  const double* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  double* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Variables of a table, ascending; the last one is the fastest.
using TableScope = std::vector<std::int32_t>;

/// How the axes of a table lie with respect to a sub-table in the same order: neighbouring axes that are both in the
/// sub-table, or both not, are one.
struct AxisRun {
  std::size_t size;
  bool present;
};
using AxisRuns = std::vector<AxisRun>;

AxisRuns axis_runs(const TableScope& table, const TableScope& sub, const std::vector<std::size_t>& cardinalities);

/// Products and sums of tables over different variables. Axes are summed out, and small tables spread, one run of axes
/// after the other, so that every inner loop is contiguous.
class TableAlgebra {
 public:
  /// Sums or multiplies numbers, or adds logarithms and takes log-sum-exp or the maximum.
  enum class Domain { linear, logarithm, maximum };

  /// For tables of at most `largest` entries.
  TableAlgebra(Domain domain, std::size_t largest);

  Domain domain() const { return domain_; }
  /// Sets all entries to one (or log one).
  void clear(double* table, std::size_t size) const;
  /// table = sub, spread over the axes that are absent from it
  void spread(double* table, const AxisRuns& runs, const double* sub);
  /// table *= sub (or += for logarithms)
  void absorb(double* table, const AxisRuns& runs, const double* sub);
  /// sub = sum of the table over the absent axes (or log-sum-exp, or maximum)
  void project(const double* table, const AxisRuns& runs, double* sub);

 private:
  using Combine = void (*)(double*, std::size_t, std::size_t, std::size_t, const double*);
  using Reduce = void (*)(const double*, std::size_t, std::size_t, std::size_t, double*);
  void combine(Combine kernel, double* table, const AxisRuns& runs, const double* sub);
  void reduce(Reduce kernel, const double* table, AxisRuns runs, double* sub);

  Domain domain_;
  std::size_t largest_;
  Buffer scratch_, difference_, maxima_;
};

}  // namespace tapestry::detail
