#include <tapestry/prob/grid_engine.hpp>

#include <algorithm>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

std::size_t rows_of_a_chunk(const GridShape& grid) {
  return std::max<std::size_t>(1, 16384 / (grid.width * grid.states * grid.states + 1));
}

/// f(first row, last row, chunk)
template <class F>
void over_rows(const GridShape& grid, F&& f) {
  parallel_for(static_cast<std::int64_t>(grid.height), static_cast<std::int64_t>(rows_of_a_chunk(grid)),
               [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                 f(static_cast<std::size_t>(begin), static_cast<std::size_t>(end), static_cast<std::size_t>(chunk));
               });
}

}  // namespace

template <class T>
bool GridBeliefPropagationEngine<T>::applicable(const GridShape& grid, const T* horizontal, const T* vertical) {
  if (grid.states > Kernels::most_states) return false;
  for (const T* potential : {horizontal, vertical}) {
    const auto [low, high] = std::minmax_element(potential, potential + grid.states * grid.states);
    if (!(*high - *low <= Kernels::widest_range)) return false;
  }
  return true;
}

template <class T>
void GridBeliefPropagationEngine<T>::forward(const GridShape& grid, const T* unary, const T* horizontal,
                                             const T* vertical, int iterations, T damping, T* log_marginals,
                                             bool keep) {
  grid_ = grid;
  planes_ = kernels_->planes(grid);
  iterations_ = iterations;
  damping_ = damping;
  const std::size_t step = 4 * planes_.total;
  T* potentials = potentials_.reserve(4 * grid.states * grid.states);
  T* exponentials = unary_.reserve(planes_.total);
  T* messages = messages_.reserve(step * static_cast<std::size_t>(keep ? iterations + 1 : 2));
  kernels_->prepare(grid, horizontal, vertical, potentials);
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->load_unary(grid, unary, first, last, exponentials);
    kernels_->start(grid, first, last, messages);
  });
  const auto at = [&](int n) { return messages + step * static_cast<std::size_t>(keep ? n : n % 2); };
  for (int n = 0; n < iterations; ++n)
    over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
      kernels_->step(grid, potentials, exponentials, damping, at(n), first, last, at(n + 1));
    });
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->beliefs(grid, unary, at(iterations), first, last, log_marginals);
  });
}

template <class T>
void GridBeliefPropagationEngine<T>::backward(const T* grad_log_marginals, T* grad_unary, T* grad_horizontal,
                                              T* grad_vertical) const {
  const GridShape& grid = grid_;
  const std::size_t K = grid.states, step = 4 * planes_.total, square = K * K;
  const std::size_t parts = kernels_->lanes, pair_size = 4 * square * parts;
  const std::size_t grain = rows_of_a_chunk(grid), chunks = (grid.height + grain - 1) / grain;
  PoolBuffer<T> grad_messages(2 * step), planes(planes_.total), pairs(chunks * pair_size);
  // The margins are read as the gradients of messages that leave the grid: none.
  std::fill_n(grad_messages.data(), 2 * step, T(0));
  std::fill_n(pairs.data(), chunks * pair_size, T(0));
  const auto at = [&](int n) { return messages_.data() + step * static_cast<std::size_t>(n); };
  const auto grad_at = [&](int n) { return grad_messages.data() + step * static_cast<std::size_t>(n % 2); };
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->beliefs_backward(grid, unary_.data(), at(iterations_), grad_log_marginals, first, last,
                               grad_at(iterations_), planes.data());
  });
  for (int n = iterations_; n-- > 0;)
    over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t chunk) {
      PoolBuffer<T> scratch(4 * K * planes_.plane);
      kernels_->step_backward(grid, potentials_.data(), unary_.data(), damping_, at(n), grad_at(n + 1), first, last,
                              grad_at(n), planes.data(), pairs.data() + chunk * pair_size, scratch.data());
    });
  over_rows(grid, [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->store_unary(grid, planes.data(), first, last, grad_unary);
  });
  PoolBuffer<T> sums(4 * square);
  for (std::size_t n = 0; n < 4 * square; ++n) {
    T sum = 0;
    for (std::size_t c = 0; c < chunks; ++c)
      for (std::size_t v = 0; v < parts; ++v) sum += pairs.data()[c * pair_size + n * parts + v];
    sums.data()[n] = sum;
  }
  for (int axis = 0; axis < 2; ++axis) {
    T* grad = axis == 0 ? grad_horizontal : grad_vertical;
    if (grad == nullptr) continue;
    const std::size_t forward = static_cast<std::size_t>(axis) * 2 * square, backward = forward + square;
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j)
        grad[i * K + j] = (sums.data()[forward + i * K + j] + sums.data()[backward + j * K + i]) *
                          potentials_.data()[forward + i * K + j];
  }
}

template class GridBeliefPropagationEngine<float>;
template class GridBeliefPropagationEngine<double>;

}  // namespace tapestry::detail
