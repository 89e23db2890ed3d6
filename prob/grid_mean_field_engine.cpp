#include <tapestry/prob/grid_mean_field_engine.hpp>

#include <algorithm>

namespace tapestry::detail {
namespace {

/// Zeros above and below the pixels of all planes: neighbours that do not exist.
template <class T>
void clear_ends(const GridPlanes& p, T* planes) {
  std::fill_n(planes, p.row, T(0));
  std::fill_n(planes + p.total - p.row, p.row, T(0));
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
  for (std::size_t n = 0; n < kept; ++n) clear_ends(planes_, iterates + n * total);
  const auto at = [&](std::size_t n) { return iterates + total * (keep ? n : n % 2); };
  const std::size_t last_step = static_cast<std::size_t>(iterations), scratch_size = directions * planes_.row;
  const RowTiles tiles = row_tiles();
  PoolBuffer<T> scratch(tiles.chunks * scratch_size);
  tiles.run([&](std::size_t n, std::size_t first, std::size_t last, std::size_t chunk) {
    T* log_rows = n == last_step ? log_q : nullptr;
    if (n == 0)
      kernels_->start(grid, directions, unary, damping, first, last, unary_planes, at(0), log_rows);
    else
      kernels_->step(grid, directions, matrices, unary_planes, damping, at(n - 1), first, last,
                     at(std::min(n + 1, last_step)), at(n), log_rows, scratch.data() + chunk * scratch_size);
  });
}

template <class T>
RowTiles GridMeanFieldEngine<T>::row_tiles() const {
  return RowTiles::of(grid_.height, static_cast<std::size_t>(iterations_) + 1, planes_.row * sizeof(T),
                      grid_.width * grid_.states * (grid_.states * directions_ + 16));
}

template <class T>
void GridMeanFieldEngine<T>::backward(const T* grad_log_q, T* grad_unary, T* grad_compatibility) const {
  const GridShape& grid = grid_;
  const std::size_t K = grid.states, total = planes_.total, square = directions_ * K * K, lanes = kernels_->lanes;
  const bool damped = damping_ != T(0);
  const RowTiles tiles = row_tiles();
  const std::size_t chunks = tiles.chunks, scratch_size = (tiles.rows * directions_ + 1) * planes_.row;
  PoolBuffer<T> logits(2 * total), planes(total), carry(damped ? total : 0), pairs(chunks * square * lanes),
      scratch(chunks * scratch_size);
  for (std::size_t n = 0; n < 2; ++n) clear_ends(planes_, logits.data() + n * total);
  std::fill_n(pairs.data(), chunks * square * lanes, T(0));
  const auto at = [&](std::size_t n) { return iterates_.data() + total * n; };
  const auto before = [&](std::size_t n) { return damped && n > 0 ? at(n - 1) : nullptr; };
  const auto logits_at = [&](std::size_t n) { return logits.data() + total * (n % 2); };
  const std::size_t last_step = static_cast<std::size_t>(iterations_);
  tiles.run([&](std::size_t step, std::size_t first, std::size_t last, std::size_t chunk) {
    const std::size_t n = last_step - step;
    if (step == 0)
      kernels_->finish_backward(grid, grad_log_q, at(n), before(n), damping_, first, last, logits_at(n), carry.data(),
                                planes.data());
    else
      kernels_->step_backward(grid, directions_, matrices_.data() + square, damping_, at(n), before(n),
                              logits_at(n + 1), first, last, at(n == 0 ? 0 : n - 1), logits_at(n), carry.data(),
                              planes.data(), pairs.data() + chunk * square * lanes,
                              scratch.data() + chunk * scratch_size);
    if (n == 0) kernels_->store_unary(grid, planes.data(), first, last, grad_unary);
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
