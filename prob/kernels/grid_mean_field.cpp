#include <tapestry/prob/kernels/grid_mean_field.hpp>

#include <tapestry/prob/kernels/grid_mean_field_fused.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
GridPlanes planes(const GridShape& grid) {
  return mean_field_planes<T>(grid);
}

template <class T>
void prepare(const GridShape& grid, std::size_t directions, const T* compatibility, T* forward, T* backward) {
  const std::size_t K = grid.states;
  for (std::size_t d = 0; d < directions; ++d)
    for (std::size_t k = 0; k < K; ++k)
      for (std::size_t l = 0; l < K; ++l)
        forward[k * directions * K + d * K + l] = backward[l * directions * K + d * K + k] =
            compatibility[(d * K + k) * K + l];
}

/// The sums over the neighbours of a row, one group of rows for each direction: out[directions * K][pitch]. Reversed:
/// over those whose neighbour in that direction this pixel is.
template <class T>
TAPESTRY_INLINE void gather(const GridShape& grid, const GridPlanes& p, std::size_t directions, bool reversed,
                            const T* from, std::size_t y, T* out) {
  const std::size_t K = grid.states;
  for (std::size_t k = 0; k < K; ++k) {
    const T* row = row_of(from, p, k, y);
    const T* left = row - 1;
    const T* right = row + 1;
    const T* above = row - p.row;
    const T* below = row + p.row;
    T* to = out + k * p.plane;
    const std::size_t group = K * p.plane;
    for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
      const Vec<T> a = load<T>(left + x), b = load<T>(right + x), c = load<T>(above + x), e = load<T>(below + x);
      if (directions == 1) {
        store<T>(to + x, (a + b) + (c + e));
      } else if (directions == 2) {
        store<T>(to + x, a + b);
        store<T>(to + group + x, c + e);
      } else {
        store<T>(to + x, reversed ? b : a);
        store<T>(to + group + x, reversed ? a : b);
        store<T>(to + 2 * group + x, reversed ? e : c);
        store<T>(to + 3 * group + x, reversed ? c : e);
      }
    }
  }
}

template <class T, std::size_t rows, std::size_t vectors>
TAPESTRY_INLINE void product_panel(const T* a, std::size_t n, const T* x, const T* add, std::size_t add_stride, T* out,
                                   std::size_t pitch, std::size_t out_stride) {
  Vec<T> acc[rows][vectors];
  multiply<T, rows, vectors>(a, n, x, pitch, n, acc);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vectors; ++v) {
      Vec<T> value = acc[r][v];
      if (add != nullptr) value += load<T>(add + r * add_stride + v * lanes<T>);
      store<T>(out + r * out_stride + v * lanes<T>, value);
    }
}

template <class T, std::size_t rows>
void product_rows(const T* a, std::size_t n, const T* x, const T* add, std::size_t add_stride, T* out,
                  std::size_t width, std::size_t pitch, std::size_t out_stride) {
  std::size_t at = 0;
  if constexpr (panel_vectors > 1)
    for (; at + lanes<T> < width; at += panel_vectors * lanes<T>)
      product_panel<T, rows, panel_vectors>(a, n, x + at, add == nullptr ? add : add + at, add_stride, out + at, pitch,
                                            out_stride);
  for (; at < width; at += lanes<T>)
    product_panel<T, rows, 1>(a, n, x + at, add == nullptr ? add : add + at, add_stride, out + at, pitch, out_stride);
}

/// out[k] = add[k] + sum over n of a[k, n] x[n], rows of pixels.
template <class T>
void product(const T* a, std::size_t K, std::size_t n, const T* x, const T* add, std::size_t add_stride, T* out,
             std::size_t width, std::size_t pitch, std::size_t out_stride) {
  for (std::size_t rows = 0; K > 0; K -= rows) {
    rows = K >= 8 ? 8 : K >= 4 ? 4 : 1;
    const auto f = rows == 8 ? product_rows<T, 8> : rows == 4 ? product_rows<T, 4> : product_rows<T, 1>;
    f(a, n, x, add, add_stride, out, width, pitch, out_stride);
    a += rows * n;
    add = add == nullptr ? add : add + rows * add_stride;
    out += rows * out_stride;
  }
}

/// The logits in a row of planes become probabilities; pixels behind the width become zero. log_q may be null.
template <class T>
TAPESTRY_INLINE void softmax_row(const GridShape& grid, const GridPlanes& p, T damping, const T* before, T* row,
                                 T* log_q) {
  const std::size_t K = grid.states;
  for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
    Vec<T> most = splat<T>(-infinity<T>), sum{};
    const std::size_t n = grid.width - x < lanes<T> ? grid.width - x : lanes<T>;
    for (std::size_t k = 0; k < K; ++k) most = vmax<T>(load<T>(row + k * p.plane + x), most);
    most = most == -infinity<T> ? Vec<T>{} : most;
    for (std::size_t k = 0; k < K; ++k) {
      const Vec<T> shifted = load<T>(row + k * p.plane + x) - most;
      const Vec<T> value = exp_nonpositive(shifted);
      if (log_q != nullptr && damping == T(0))
        store_strided(log_q + x * grid.column_stride + k * grid.state_stride, grid.column_stride, n, shifted);
      store<T>(row + k * p.plane + x, value);
      sum += value;
    }
    const Vec<T> inverse = inverse_or_zero<T>(sum);
    const Vec<T> normaliser = log_q != nullptr ? vlog(sum) : sum;
    for (std::size_t k = 0; k < K; ++k) {
      Vec<T> value = load<T>(row + k * p.plane + x) * inverse;
      if (damping != T(0)) value = value * (T(1) - damping) + load<T>(before + k * p.plane + x) * damping;
      if (log_q != nullptr) {
        T* out = log_q + x * grid.column_stride + k * grid.state_stride;
        const Vec<T> shifted = load_strided(out, grid.column_stride, n);
        store_strided(out, grid.column_stride, n,
                      damping != T(0)           ? vlog(value)
                      : shifted == -infinity<T> ? shifted
                                                : shifted - normaliser);
      }
      // What lies right of the grid must stay zero: it is a neighbour.
      if (n < lanes<T>) {
        T* place = row + k * p.plane + x;
        store<T>(place, Vec<T>{});
        store_partial<T>(place, value, n);
      } else {
        store<T>(row + k * p.plane + x, value);
      }
    }
  }
}

template <class T>
void start(const GridShape& grid, std::size_t directions, const T* unary, T damping, std::size_t first,
           std::size_t last, T* unary_planes, T* q, T* log_q) {
  const GridPlanes p = mean_field_planes<T>(grid);
  const FusedRows<T> fused = fused_rows<T>(grid.states, directions, damping);
  for (std::size_t y = first; y < last; ++y) {
    row_to_planes(grid, p, unary, y, unary_planes, T(0));
    T* row = row_of(q, p, 0, y);
    clear_sides(grid, p, row);
    if (fused.start != nullptr && log_q == nullptr) {
      fused.start(p, row_of(unary_planes, p, 0, y), grid.width, row);
      continue;
    }
    row_to_planes(grid, p, unary, y, q, T(0));
    softmax_row<T>(grid, p, T(0), nullptr, row, log_q == nullptr ? log_q : log_q + y * grid.row_stride);
  }
}

template <class T>
void step(const GridShape& grid, std::size_t directions, const T* forward, const T* unary_planes, T damping, const T* q,
          std::size_t first, std::size_t last, const T* ahead, T* next, T* log_next, T* scratch) {
  const GridPlanes p = mean_field_planes<T>(grid);
  const std::size_t K = grid.states, width = grid.width;
  const FusedRows<T> fused = fused_rows<T>(K, directions, damping);
  for (std::size_t y = first; y < last; ++y) {
    const T *unary = row_of(unary_planes, p, 0, y), *row = row_of(q, p, 0, y);
    T* to = row_of(next, p, 0, y);
    T* log_row = log_next == nullptr ? nullptr : log_next + y * grid.row_stride;
    clear_sides(grid, p, to);
    if (fused.step != nullptr && log_row == nullptr) {
      fused.step(p, forward, unary, row, width, row_of(ahead, p, 0, y - 1), to);
    } else if (fused.last_step != nullptr && grid.column_stride == 1) {
      fused.last_step(p, forward, unary, row, width, to, log_row, grid.state_stride);
    } else {
      gather(grid, p, directions, false, q, y, scratch);
      product(forward, K, directions * K, scratch, unary, p.plane, to, width, p.plane, p.plane);
      softmax_row<T>(grid, p, damping, row, to, log_row);
    }
  }
}

/// Through the softmax of one row: grad (of q) and what becomes of it are rows of different strides.
template <class T>
TAPESTRY_INLINE void softmax_backward_row(const GridShape& grid, const GridPlanes& p, const T* q, const T* before,
                                          T damping, const T* grad, std::size_t grad_stride, T* grad_logits,
                                          T* grad_unary, bool overwrite) {
  const std::size_t K = grid.states;
  for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
    const std::size_t n = grid.width - x < lanes<T> ? grid.width - x : lanes<T>;
    Vec<T> mean{};
    const auto share = [&](std::size_t k) {
      const Vec<T> value = load<T>(q + k * p.plane + x);
      return before == nullptr ? value : value - load<T>(before + k * p.plane + x) * damping;
    };
    for (std::size_t k = 0; k < K; ++k) mean += share(k) * load<T>(grad + k * grad_stride + x);
    if (before != nullptr) mean /= T(1) - damping;
    for (std::size_t k = 0; k < K; ++k) {
      Vec<T> value = share(k) * (load<T>(grad + k * grad_stride + x) - mean);
      if (n < lanes<T>) {
        T buffer[lanes<T>] = {};
        store_partial<T>(buffer, value, n);
        value = load<T>(buffer);
      }
      store<T>(grad_logits + k * p.plane + x, value);
      T* u = grad_unary + k * p.plane + x;
      store<T>(u, overwrite ? value : load<T>(u) + value);
    }
  }
}

template <class T>
void finish_backward(const GridShape& grid, const T* grad_log_q, const T* q, const T* before, T damping,
                     std::size_t first, std::size_t last, T* grad_logits, T* carry, T* grad_unary) {
  const GridPlanes p = mean_field_planes<T>(grid);
  const std::size_t K = grid.states;
  for (std::size_t y = first; y < last; ++y) {
    T* g = row_of(carry != nullptr ? carry : grad_logits, p, 0, y);
    row_to_planes(grid, p, grad_log_q, y, carry != nullptr ? carry : grad_logits, T(0));
    const T* row = row_of(q, p, 0, y);
    T* logits = row_of(grad_logits, p, 0, y);
    T* unary = row_of(grad_unary, p, 0, y);
    clear_sides(grid, p, logits);
    if (before == nullptr)
      // Of the logarithm directly: a probability may be zero.
      for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
        Vec<T> total{};
        for (std::size_t k = 0; k < K; ++k) total += load<T>(g + k * p.plane + x);
        for (std::size_t k = 0; k < K; ++k) {
          const Vec<T> value = load<T>(g + k * p.plane + x) - load<T>(row + k * p.plane + x) * total;
          store_pixels<T>(logits + k * p.plane + x, value, grid.width - x);
          store<T>(unary + k * p.plane + x, value);
        }
      }
    if (carry == nullptr) continue;
    for (std::size_t x = 0; x < grid.width; x += lanes<T>)
      for (std::size_t k = 0; k < K; ++k)
        store<T>(g + k * p.plane + x,
                 load<T>(g + k * p.plane + x) * inverse_or_zero<T>(load<T>(row + k * p.plane + x)));
    if (before != nullptr)
      softmax_backward_row(grid, p, row, row_of(before, p, 0, y), damping, g, p.plane, logits, unary, true);
  }
}

/// pairs[n, l] += sum over rows of pixels of sums[n] q[l].
template <class T>
void correlate_rows(const GridPlanes& p, std::size_t height, std::size_t K, const T* sums, const T* q,
                    std::size_t width, std::size_t rows, T* pairs) {
  const std::size_t sums_row = height * p.plane;
  for (std::size_t n = 0; n < height; n += correlated)
    for (std::size_t l = 0; l < K; l += correlated) {
      const T *a = sums + n * p.plane, *b = q + l * p.plane;
      T* out = pairs + (n * K + l) * lanes<T>;
      if (n + correlated <= height && l + correlated <= K)
        correlate<T, correlated, correlated>(a, p.plane, sums_row, b, p.plane, p.row, width, rows, out, K);
      else
        for (std::size_t i = 0; i < correlated && n + i < height; ++i)
          for (std::size_t j = 0; j < correlated && l + j < K; ++j)
            correlate<T, 1, 1>(a + i * p.plane, p.plane, sums_row, b + j * p.plane, p.plane, p.row, width, rows,
                               out + (i * K + j) * lanes<T>, K);
    }
}

template <class T>
void step_backward(const GridShape& grid, std::size_t directions, const T* backward, T damping, const T* q,
                   const T* before, const T* grad_next_logits, std::size_t first, std::size_t last, const T* ahead,
                   T* grad_logits, T* carry, T* grad_unary, T* grad_pairs, T* scratch) {
  const GridPlanes p = mean_field_planes<T>(grid);
  const std::size_t K = grid.states, groups = directions * K, width = grid.width;
  T* grad = scratch + (last - first) * groups * p.plane;
  const FusedRows<T> fused = fused_rows<T>(K, directions, damping);
  for (std::size_t y = first; y < last; ++y) {
    const T* row = row_of(q, p, 0, y);
    // The sum over the neighbours' gradients gives both the gradient of q and, against q, that of the compatibilities.
    T* sums = scratch + (y - first) * groups * p.plane;
    T *to = row_of(grad_logits, p, 0, y), *unary = row_of(grad_unary, p, 0, y);
    clear_sides(grid, p, to);
    if (fused.step_backward != nullptr) {
      fused.step_backward(p, backward, row, row_of(grad_next_logits, p, 0, y), width, row_of(ahead, p, 0, y - 1), sums,
                          to, unary);
      continue;
    }
    gather(grid, p, directions, true, grad_next_logits, y, sums);
    product<T>(backward, K, groups, sums, nullptr, 0, grad, width, p.plane, p.plane);
    if (carry != nullptr) {
      T* c = row_of(carry, p, 0, y);
      for (std::size_t k = 0; k < K; ++k)
        for (std::size_t x = 0; x < width; x += lanes<T>) {
          const Vec<T> value = load<T>(grad + k * p.plane + x) + load<T>(c + k * p.plane + x) * damping;
          store<T>(grad + k * p.plane + x, value);
          store<T>(c + k * p.plane + x, value);
        }
    }
    softmax_backward_row(grid, p, row, before == nullptr ? before : row_of(before, p, 0, y), damping, grad, p.plane, to,
                         unary, false);
  }
  const T* rows_of_q = row_of(q, p, 0, first);
  if (fused.correlate != nullptr)
    fused.correlate(p, scratch, rows_of_q, width, last - first, grad_pairs);
  else
    correlate_rows(p, groups, K, scratch, rows_of_q, width, last - first, grad_pairs);
}

template <class T>
void store_unary(const GridShape& grid, const T* from, std::size_t first, std::size_t last, T* grad_unary) {
  const GridPlanes p = mean_field_planes<T>(grid);
  for (std::size_t y = first; y < last; ++y) planes_to_row(grid, p, from, y, grad_unary);
}

template <class T>
constexpr GridMeanFieldKernels<T> table() {
  GridMeanFieldKernels<T> t{};
  t.lanes = lanes<T>;
  t.planes = planes<T>;
  t.prepare = prepare<T>;
  t.start = start<T>;
  t.step = step<T>;
  t.finish_backward = finish_backward<T>;
  t.step_backward = step_backward<T>;
  t.store_unary = store_unary<T>;
  return t;
}

}  // namespace

template <>
const GridMeanFieldKernels<float>& kernels() {
  static constexpr GridMeanFieldKernels<float> t = table<float>();
  return t;
}
template <>
const GridMeanFieldKernels<double>& kernels() {
  static constexpr GridMeanFieldKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
