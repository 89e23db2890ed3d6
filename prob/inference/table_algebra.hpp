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

/// Log-sum-exp of tables of logarithms. Axes are summed out, and small tables spread, one run of axes after the other,
/// so that every inner loop is contiguous.
class TableLogSums {
 public:
  /// For tables of at most `largest` entries.
  explicit TableLogSums(std::size_t largest);

  /// sub = log-sum-exp of the table over the absent axes
  void project(const double* table, const AxisRuns& runs, double* sub);

 private:
  using Reduce = void (*)(const double*, std::size_t, std::size_t, std::size_t, double*);
  void spread(double* table, const AxisRuns& runs, const double* sub);
  void reduce(Reduce kernel, const double* table, AxisRuns runs, double* sub);

  Buffer scratch_, difference_, maxima_;
};

}  // namespace tapestry::detail
