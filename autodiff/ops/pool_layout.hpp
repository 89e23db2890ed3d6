#pragma once

#include <string_view>
#include <vector>

#include <tapestry/autodiff/kernels/pooling.hpp>
#include <tapestry/autodiff/ops/pooling.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry::detail {

/// The windows along one axis.
struct PoolAxis {
  std::int64_t size = 1;
  std::vector<std::int64_t> begin{0}, end{1};
  std::vector<double> factor{1.0};  // of an average

  std::int64_t count() const { return static_cast<std::int64_t>(begin.size()); }
  void exchange(Attributes& a) {
    a(size), a(begin), a(end), a(factor);
    Attributes::require(size >= 0 && size <= std::int64_t{1} << 30 && begin.size() == end.size() &&
                        begin.size() == factor.size());
    for (std::size_t i = 0; i < begin.size(); ++i)
      Attributes::require(begin[i] >= 0 && begin[i] < end[i] && end[i] <= size);
  }
};

/// The axes that are pooled: the last one, or the last two.
struct PoolLayout {
  std::string_view name;
  int axes = 1;
  PoolAxis rows, columns;

  void exchange(Attributes& a) {
    a(axes), rows.exchange(a), columns.exchange(a);
    Attributes::require(axes == 2 || (axes == 1 && rows.size == 1 && rows.count() == 1));
  }
  bool fit(const Shape& x) const {
    return x.rank() >= axes && x.back() == columns.size && (axes == 1 || x[x.rank() - 2] == rows.size);
  }

  PoolWindows raw() const {
    return {rows.size,       columns.size,         rows.count(),       columns.count(), rows.begin.data(),
            rows.end.data(), columns.begin.data(), columns.end.data(), pairs()};
  }
  std::int64_t plane() const { return rows.size * columns.size; }
  std::int64_t results() const { return rows.count() * columns.count(); }
  Shape pooled(Shape x) const {
    x[x.rank() - 1] = columns.count();
    if (axes == 2) x[x.rank() - 2] = rows.count();
    return x;
  }

 private:
  bool pairs() const {
    for (const PoolAxis* axis : {&rows, &columns})
      for (std::int64_t i = 0; i < axis->count(); ++i) {
        const auto at = static_cast<std::size_t>(i);
        if (axis->begin[at] != 2 * i || axis->end[at] != 2 * i + 2) return false;
      }
    return true;
  }
};

/// @throws ShapeError naming the operation, if x has fewer axes
void check_pool_rank(std::string_view name, const Shape& x, int axes);
/// Windows of one size. @throws ShapeError naming the operation
PoolLayout pool_layout(std::string_view name, const Shape& x, std::int64_t window, const Pool1dOptions& options);
PoolLayout pool_layout(std::string_view name, const Shape& x, HeightWidth window, const Pool2dOptions& options);
/// So many windows that cover the axes. @throws ShapeError naming the operation
PoolLayout adaptive_pool_layout(std::string_view name, const Shape& x, std::int64_t count);
PoolLayout adaptive_pool_layout(std::string_view name, const Shape& x, HeightWidth count);

}  // namespace tapestry::detail
