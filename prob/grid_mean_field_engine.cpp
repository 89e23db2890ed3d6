#include <tapestry/prob/grid_mean_field_engine.hpp>

#include <algorithm>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

std::size_t rows_of_a_chunk(const GridShape& grid) {
  return std::max<std::size_t>(1, 65536 / (grid.width * grid.states * grid.states + 1));
}

/// f(first row, last row, chunk)
template <class F>
void over_rows(const GridShape& grid, F&& f) {
  parallel_for(static_cast<std::int64_t>(grid.height), static_cast<std::int64_t>(rows_of_a_chunk(grid)),
               [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                 f(static_cast<std::size_t>(begin), static_cast<std::size_t>(end), static_cast<std::size_t>(chunk));
               });
}

/// Zeros around the pixels of all planes: neighbours that do not exist.
template <class T>
void clear_margins(const GridShape& grid, const GridPlanes& p, T* planes) {
  std::fill_n(planes, p.row, T(0));
  std::fill_n(planes + p.total - p.row, p.row, T(0));
  for (std::size_t n = grid.states; n < (grid.height + 1) * grid.states; ++n) {
    T* row = planes + n * p.plane;
    std::fill_n(row, p.margin, T(0));
    std::fill(row + p.margin + grid.width, row + p.plane, T(0));
  }
}

}  // namespace

template <class T>
void GridMeanFieldEngine<T>::forward(const GridShape& grid, const T* unary, std::size_t directions,
                                     const T* compatibility, int iterations, T damping, T* log_q, bool keep) {
  grid_ = grid;
  planes_ = kernels_->planes(grid);
  directions_ = directions;
  iterations_ = iterations;
  damping_ = damping;
  const std::size_t square = grid.states * grid.states * directions, total = planes_.total;
  T* matrices = matrices_.reserve(2 * square);
  kernels_->prepare(grid, directions, compatibility, matrices, matrices + square);
  T* unary_planes = unary_.reserve(total);
  const auto kept = static_cast<std::size_t>(keep ? iterations + 1 : 2);
  T* iterates = iterates_.reserve(kept * total);
  for (std::size_t n = 0; n < kept; ++n) clear_margins(grid, planes_, iterates + n * total);
  const auto at = [&](int n) { return iterates + total * static_cast<std::size_t>(keep ? n : n % 2); };
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->start(grid, unary, first, last, unary_planes, at(0), iterations == 0 ? log_q : nullptr);
  });
  for (int n = 0; n < iterations; ++n)
    over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
      PoolBuffer<T> scratch(directions * grid.states * planes_.plane);
      kernels_->step(grid, directions, matrices, unary_planes, damping, at(n), first, last, at(n + 1),
                     n + 1 == iterations ? log_q : nullptr, scratch.data());
    });
}

template <class T>
void GridMeanFieldEngine<T>::backward(const T* grad_log_q, T* grad_unary, T* grad_compatibility) const {
  const GridShape& grid = grid_;
  const std::size_t K = grid.states, total = planes_.total, square = directions_ * K * K, lanes = kernels_->lanes;
  const std::size_t grain = rows_of_a_chunk(grid), chunks = (grid.height + grain - 1) / grain;
  const bool damped = damping_ != T(0);
  PoolBuffer<T> logits(2 * total), planes(total), carry(damped ? total : 0), pairs(chunks * square * lanes);
  for (std::size_t n = 0; n < 2; ++n) clear_margins(grid, planes_, logits.data() + n * total);
  std::fill_n(pairs.data(), chunks * square * lanes, T(0));
  const auto at = [&](int n) { return iterates_.data() + total * static_cast<std::size_t>(n); };
  const auto before = [&](int n) { return damped && n > 0 ? at(n - 1) : nullptr; };
  const auto logits_at = [&](int n) { return logits.data() + total * static_cast<std::size_t>(n % 2); };
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->finish_backward(grid, grad_log_q, at(iterations_), before(iterations_), damping_, first, last,
                              logits_at(iterations_), carry.data(), planes.data());
  });
  for (int n = iterations_; n-- > 0;)
    over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t chunk) {
      PoolBuffer<T> scratch((directions_ + 1) * K * planes_.plane);
      kernels_->step_backward(grid, directions_, matrices_.data() + square, damping_, at(n), before(n),
                              logits_at(n + 1), first, last, logits_at(n), carry.data(), planes.data(),
                              pairs.data() + chunk * square * lanes, scratch.data());
    });
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->store_unary(grid, planes.data(), first, last, grad_unary);
  });
  if (grad_compatibility == nullptr) return;
  for (std::size_t n = 0; n < square; ++n) {
    T sum = 0;
    for (std::size_t c = 0; c < chunks; ++c)
      for (std::size_t v = 0; v < lanes; ++v) sum += pairs.data()[c * square * lanes + n * lanes + v];
    grad_compatibility[n] = sum;
  }
}

template class GridMeanFieldEngine<float>;
template class GridMeanFieldEngine<double>;

}  // namespace tapestry::detail
