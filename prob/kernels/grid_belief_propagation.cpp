#include <tapestry/prob/kernels/grid_belief_propagation.hpp>

#include <tapestry/prob/kernels/grid_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
constexpr std::size_t most_states = GridBeliefPropagationKernels<T>::most_states;
/// Room for the vectors of one pixel group: a fixed number of states keeps them in registers.
template <class T, std::size_t fixed>
constexpr std::size_t room = fixed != 0 ? fixed : most_states<T>;

enum Direction : std::size_t { right, left, down, up };
/// Where a message from pixel (y, x) in that direction arrives, in elements of a plane.
TAPESTRY_INLINE std::ptrdiff_t offset_of(std::size_t direction, const GridPlanes& p) {
  const auto row = static_cast<std::ptrdiff_t>(p.row);
  return direction == right ? 1 : direction == left ? -1 : direction == down ? row : -row;
}

template <class T>
GridPlanes planes(const GridShape& grid) {
  return grid_planes<T>(grid);
}

template <class T>
void prepare(const GridShape& grid, const T* horizontal, const T* vertical, T* potentials) {
  const std::size_t K = grid.states;
  for (int axis = 0; axis < 2; ++axis) {
    const T* from = axis == 0 ? horizontal : vertical;
    T* forward = potentials + std::size_t(axis) * 2 * K * K;
    T* backward = forward + K * K;
    T most = from[0];
    for (std::size_t n = 1; n < K * K; ++n) most = from[n] > most ? from[n] : most;
    for (std::size_t n = 0; n < K * K; n += lanes<T>)
      store_partial<T>(forward + n, exp_nonpositive(load_partial<T>(from + n, K * K - n, T(0)) - most), K * K - n);
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) backward[j * K + i] = forward[i * K + j];
  }
}

template <class T>
void load_unary(const GridShape& grid, const T* unary, std::size_t first, std::size_t last, T* exponentials) {
  const GridPlanes p = grid_planes<T>(grid);
  for (std::size_t y = first; y < last; ++y) {
    row_to_planes(grid, p, unary, y, exponentials, -infinity<T>);
    T* row = row_of(exponentials, p, 0, y);
    for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
      Vec<T> most = splat<T>(-infinity<T>);
      for (std::size_t k = 0; k < grid.states; ++k) most = vmax<T>(load<T>(row + k * p.plane + x), most);
      most = most == -infinity<T> ? Vec<T>{} : most;
      for (std::size_t k = 0; k < grid.states; ++k)
        store<T>(row + k * p.plane + x, exp_nonpositive(load<T>(row + k * p.plane + x) - most));
    }
  }
}

/// What comes over the border is uniform, in every iteration.
template <class T>
void fill_borders(const GridShape& grid, const GridPlanes& p, std::size_t first, std::size_t last, T* messages) {
  const std::size_t width = p.plane - 2 * p.margin;
  const T value = T(1) / T(grid.states);
  for (std::size_t k = 0; k < grid.states; ++k) {
    for (std::size_t y = first; y < last; ++y) {
      row_of(messages + right * p.total, p, k, y)[0] = value;
      T* row = row_of(messages + left * p.total, p, k, y);
      for (std::size_t x = grid.width - 1; x < width; ++x) row[x] = value;
    }
    for (std::size_t x = 0; x < width; ++x) {
      if (first == 0) row_of(messages + down * p.total, p, k, 0)[x] = value;
      if (last == grid.height) row_of(messages + up * p.total, p, k, grid.height - 1)[x] = value;
    }
  }
}

template <class T>
void start(const GridShape& grid, std::size_t first, std::size_t last, T* messages) {
  const GridPlanes p = grid_planes<T>(grid);
  const T value = T(1) / T(grid.states);
  for (std::size_t n = 0; n < 4 * grid.states; ++n)
    for (std::size_t y = first; y < last; ++y) {
      T* row = row_of(messages + n / grid.states * p.total, p, n % grid.states, y);
      for (std::size_t x = 0; x < p.plane - 2 * p.margin; ++x) row[x] = value;
    }
}

/// unary times the messages from everywhere but where the new one goes to: what comes from the right goes left.
template <class T, std::size_t n>
TAPESTRY_INLINE void cavity(std::size_t direction, std::size_t K, const GridPlanes& p, const T* unary,
                            const T* messages, Vec<T> (&out)[n]) {
  const std::size_t opposite = direction ^ 1;
  const T* a = messages + (opposite == 0 ? 1 : 0) * p.total;
  const T* b = messages + (opposite <= 1 ? 2 : 1) * p.total;
  const T* c = messages + (opposite <= 2 ? 3 : 2) * p.total;
  for (std::size_t k = 0; k < K; ++k)
    out[k] = (load<T>(unary + k * p.plane) * load<T>(a + k * p.plane)) *
             (load<T>(b + k * p.plane) * load<T>(c + k * p.plane));
}

template <class T, std::size_t n>
TAPESTRY_INLINE Vec<T> send(std::size_t K, const T* potential, const Vec<T> (&from)[n], Vec<T> (&out)[n]) {
  Vec<T> sum{};
  for (std::size_t j = 0; j < K; ++j) {
    Vec<T> x{};
    for (std::size_t i = 0; i < K; ++i) x += from[i] * potential[i * K + j];
    out[j] = x;
    sum += x;
  }
  return inverse_or_zero<T>(sum);
}

template <class T, std::size_t fixed>
void step_rows(const GridShape& grid, const T* potentials, const T* unary, T damping, const T* messages,
               std::size_t first, std::size_t last, T* next) {
  const GridPlanes p = grid_planes<T>(grid);
  const std::size_t K = fixed != 0 ? fixed : grid.states;
  for (std::size_t y = first; y < last; ++y)
    for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
      const std::size_t at = (y + 1) * p.row + p.margin + x;
      for (std::size_t d = 0; d < 4; ++d) {
        Vec<T> from[room<T, fixed>], out[room<T, fixed>];
        cavity(d, K, p, unary + at, messages + at, from);
        const Vec<T> factor = send(K, potentials + d * K * K, from, out) * (T(1) - damping);
        const std::ptrdiff_t arrival = static_cast<std::ptrdiff_t>(d * p.total + at) + offset_of(d, p);
        for (std::size_t k = 0; k < K; ++k) {
          Vec<T> value = out[k] * factor;
          if (damping != T(0)) value += load<T>(messages + arrival + k * p.plane) * damping;
          store<T>(next + arrival + k * p.plane, value);
        }
      }
    }
  fill_borders(grid, p, first, last, next);
}

template <class T>
void beliefs(const GridShape& grid, const T* unary, const T* messages, std::size_t first, std::size_t last,
             T* log_marginals) {
  const GridPlanes p = grid_planes<T>(grid);
  const std::size_t K = grid.states;
  Vec<T> belief[most_states<T>];
  for (std::size_t y = first; y < last; ++y)
    for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
      const std::size_t at = (y + 1) * p.row + p.margin + x, place = y * grid.row_stride + x * grid.column_stride;
      const std::size_t n = grid.width - x < lanes<T> ? grid.width - x : lanes<T>;
      Vec<T> most = splat<T>(-infinity<T>), sum{};
      for (std::size_t k = 0; k < K; ++k) {
        belief[k] = load_strided(unary + place + k * grid.state_stride, grid.column_stride, n);
        most = vmax<T>(belief[k], most);
      }
      most = most == -infinity<T> ? Vec<T>{} : most;
      for (std::size_t k = 0; k < K; ++k) {
        Vec<T> product = splat<T>(T(1));
        for (std::size_t d = 0; d < 4; ++d) product *= load<T>(messages + d * p.total + at + k * p.plane);
        belief[k] -= most;
        sum += exp_nonpositive(belief[k]) * product;
        belief[k] += vlog(product);
      }
      const Vec<T> normaliser = vlog(sum);
      for (std::size_t k = 0; k < K; ++k)
        store_strided(log_marginals + place + k * grid.state_stride, grid.column_stride, n,
                      belief[k] == -infinity<T> ? belief[k] : belief[k] - normaliser);
    }
}

template <class T>
void beliefs_backward(const GridShape& grid, const T* unary, const T* messages, const T* grad_log_marginals,
                      std::size_t first, std::size_t last, T* grad_messages, T* grad_unary) {
  const GridPlanes p = grid_planes<T>(grid);
  const std::size_t K = grid.states;
  Vec<T> belief[most_states<T>];
  for (std::size_t y = first; y < last; ++y) {
    row_to_planes(grid, p, grad_log_marginals, y, grad_unary, T(0));
    for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
      const std::size_t at = (y + 1) * p.row + p.margin + x;
      Vec<T> sum{}, total{};
      for (std::size_t k = 0; k < K; ++k) {
        belief[k] = load<T>(unary + at + k * p.plane);
        for (std::size_t d = 0; d < 4; ++d) belief[k] *= load<T>(messages + d * p.total + at + k * p.plane);
        sum += belief[k];
        total += load<T>(grad_unary + at + k * p.plane);
      }
      const Vec<T> inverse = inverse_or_zero<T>(sum);
      for (std::size_t k = 0; k < K; ++k) {
        const std::size_t place = at + k * p.plane;
        const Vec<T> g = load<T>(grad_unary + place) - belief[k] * inverse * total;
        store<T>(grad_unary + place, g);
        for (std::size_t d = 0; d < 4; ++d)
          store<T>(grad_messages + d * p.total + place,
                   g * inverse_or_zero<T>(load<T>(messages + d * p.total + place)));
      }
    }
  }
}

// The normaliser of a message counts as a constant and the gradient is projected instead (g - <m, g>): what follows
// does not depend on a message's scale, and without the projection rounding grows with every iteration.
template <class T, std::size_t fixed>
void step_backward_rows(const GridShape& grid, const T* potentials, const T* unary, T damping, const T* messages,
                        const T* grad_next, std::size_t first, std::size_t last, T* grad_messages, T* grad_unary,
                        T* grad_potentials, T* scratch) {
  const GridPlanes p = grid_planes<T>(grid);
  const std::size_t K = fixed != 0 ? fixed : grid.states;
  for (std::size_t y = first; y < last; ++y) {
    for (std::size_t d = 0; d < 4; ++d) {
      const T* potential = potentials + d * K * K;
      T* sums = grad_potentials + d * K * K * lanes<T>;
      Vec<T> pair[fixed != 0 ? fixed * fixed : 1];
      if constexpr (fixed != 0)
        for (std::size_t n = 0; n < K * K; ++n) pair[n] = load<T>(sums + n * lanes<T>);
      for (std::size_t x = 0; x < grid.width; x += lanes<T>) {
        const std::size_t at = (y + 1) * p.row + p.margin + x;
        Vec<T> from[room<T, fixed>], out[room<T, fixed>], g[room<T, fixed>];
        cavity(d, K, p, unary + at, messages + at, from);
        const Vec<T> inverse = send(K, potential, from, out);
        const T* incoming = grad_next + static_cast<std::ptrdiff_t>(d * p.total + at) + offset_of(d, p);
        Vec<T> mean{};
        for (std::size_t j = 0; j < K; ++j) {
          g[j] = load<T>(incoming + j * p.plane);
          mean += g[j] * out[j];
        }
        mean *= inverse;
        const Vec<T> factor = inverse * (T(1) - damping);
        for (std::size_t j = 0; j < K; ++j) g[j] = (g[j] - mean) * factor;
        for (std::size_t i = 0; i < K; ++i) {
          Vec<T> sum{};
          for (std::size_t j = 0; j < K; ++j) {
            sum += g[j] * potential[i * K + j];
            if constexpr (fixed != 0) {
              pair[i * K + j] += from[i] * g[j];
            } else {
              T* place = sums + (i * K + j) * lanes<T>;
              store<T>(place, load<T>(place) + from[i] * g[j]);
            }
          }
          store<T>(scratch + (d * K + i) * p.plane + x, sum);
        }
      }
      if constexpr (fixed != 0)
        for (std::size_t n = 0; n < K * K; ++n) store<T>(sums + n * lanes<T>, pair[n]);
    }
    // From the cavities' gradients to those of unary potentials and messages: the message from the left is in all
    // cavities but the one that goes left.
    for (std::size_t x = 0; x < grid.width; x += lanes<T>)
      for (std::size_t k = 0; k < K; ++k) {
        const std::size_t at = (y + 1) * p.row + p.margin + x + k * p.plane;
        const Vec<T> u = load<T>(unary + at);
        const Vec<T> a = load<T>(messages + right * p.total + at), b = load<T>(messages + left * p.total + at);
        const Vec<T> c = load<T>(messages + down * p.total + at), e = load<T>(messages + up * p.total + at);
        // Names by the message that the cavity leaves out.
        const Vec<T> ga = load<T>(scratch + (left * K + k) * p.plane + x);
        const Vec<T> gb = load<T>(scratch + (right * K + k) * p.plane + x);
        const Vec<T> gc = load<T>(scratch + (up * K + k) * p.plane + x);
        const Vec<T> ge = load<T>(scratch + (down * K + k) * p.plane + x);
        const Vec<T> ab = a * b, ce = c * e;
        const Vec<T> vertical = e * gc + c * ge, horizontal = b * ga + a * gb;
        const Vec<T> grads[4] = {u * (ce * gb + b * vertical), u * (ce * ga + a * vertical),
                                 u * (ab * ge + e * horizontal), u * (ab * gc + c * horizontal)};
        for (std::size_t d = 0; d < 4; ++d) {
          Vec<T> value = grads[d];
          if (damping != T(0)) value += load<T>(grad_next + d * p.total + at) * damping;
          store<T>(grad_messages + d * p.total + at, value);
        }
        store<T>(grad_unary + at, load<T>(grad_unary + at) + u * (ce * horizontal + ab * vertical));
      }
  }
}

template <class T>
void step(const GridShape& grid, const T* potentials, const T* unary, T damping, const T* messages, std::size_t first,
          std::size_t last, T* next) {
  const auto f = grid.states == 2   ? step_rows<T, 2>
                 : grid.states == 3 ? step_rows<T, 3>
                 : grid.states == 4 ? step_rows<T, 4>
                                    : step_rows<T, 0>;
  f(grid, potentials, unary, damping, messages, first, last, next);
}

template <class T>
void step_backward(const GridShape& grid, const T* potentials, const T* unary, T damping, const T* messages,
                   const T* grad_next, std::size_t first, std::size_t last, T* grad_messages, T* grad_unary,
                   T* grad_potentials, T* scratch) {
  const auto f = grid.states == 2   ? step_backward_rows<T, 2>
                 : grid.states == 3 ? step_backward_rows<T, 3>
                 : grid.states == 4 ? step_backward_rows<T, 4>
                                    : step_backward_rows<T, 0>;
  f(grid, potentials, unary, damping, messages, grad_next, first, last, grad_messages, grad_unary, grad_potentials,
    scratch);
}

template <class T>
void store_unary(const GridShape& grid, const T* from, std::size_t first, std::size_t last, T* grad_unary) {
  const GridPlanes p = grid_planes<T>(grid);
  for (std::size_t y = first; y < last; ++y) planes_to_row(grid, p, from, y, grad_unary);
}

template <class T>
constexpr GridBeliefPropagationKernels<T> table() {
  GridBeliefPropagationKernels<T> t{};
  t.lanes = lanes<T>;
  t.planes = planes<T>;
  t.prepare = prepare<T>;
  t.load_unary = load_unary<T>;
  t.start = start<T>;
  t.step = step<T>;
  t.beliefs = beliefs<T>;
  t.beliefs_backward = beliefs_backward<T>;
  t.step_backward = step_backward<T>;
  t.store_unary = store_unary<T>;
  return t;
}

}  // namespace

template <>
const GridBeliefPropagationKernels<float>& kernels() {
  static constexpr GridBeliefPropagationKernels<float> t = table<float>();
  return t;
}
template <>
const GridBeliefPropagationKernels<double>& kernels() {
  static constexpr GridBeliefPropagationKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
