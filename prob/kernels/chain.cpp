#include <tapestry/prob/kernels/chain_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {

ChainLayout chain_layout(std::size_t batch, std::size_t steps, std::size_t states, std::size_t element_bytes,
                         bool matrix_per_sequence, bool matrix_per_step) {
  const std::size_t lane_count = vector_bytes / element_bytes;
  const std::size_t width = (states + lane_count - 1) / lane_count * lane_count;
  // Rows share the loads of the matrix: the fewest passes over it, weighed by what a pass costs.
  std::size_t rows = 8;
  if (matrix_per_sequence || batch <= 1)
    rows = 1;
  else if ((batch + 3) / 4 * 5 < (batch + 7) / 8 * 8)
    rows = 4;
  ChainLayout out{};
  out.rows = rows;
  out.blocks = (batch + rows - 1) / rows;
  const std::size_t per_sequence = matrix_per_step ? (steps > 0 ? steps - 1 : 0) : 1;
  out.matrices = (matrix_per_sequence ? batch : 1) * per_sequence;
  out.prepared_matrix = 2 * states * width + 16;
  const auto block = [&](std::size_t kept) { return 2 * kept * rows * width + (kept * rows + 15) / 16 * 16 + 16; };
  out.saved_block = block(steps);
  out.transient_block = block(2);
  out.scratch_block = (steps + 2) * rows * width;
  out.gradient_scratch = states * width;
  out.sequence_scratch = (steps + 8) * width;
  return out;
}

namespace {

template <class T>
void prepare(const ChainInput<T>& in, std::size_t first, std::size_t last, T* prepared) {
  const std::size_t K = in.states, width = padded<T>(K), square = K * width;
  const std::size_t per_sequence = in.step_stride != 0 ? in.steps - 1 : 1;
  for (std::size_t m = first; m < last; ++m) {
    const T* matrix = in.transitions + m / per_sequence * in.batch_stride + m % per_sequence * in.step_stride;
    T* forward = prepared + m * (2 * square + 16);
    T* transposed = forward + square;
    Vec<T> most = splat<T>(-infinity<T>), least = splat<T>(infinity<T>);
    Mask<T> forbidden{};
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; j += lanes<T>) {
        const Vec<T> upper = load_partial<T>(matrix + i * K + j, K - j, -infinity<T>);
        const Vec<T> lower = load_partial<T>(matrix + i * K + j, K - j, infinity<T>);
        forbidden |= lower == -infinity<T>;
        most = vmax<T>(upper, most);
        least = vmin<T>(lower == -infinity<T> ? splat<T>(infinity<T>) : lower, least);
      }
    const T high = max_lanes<T>(most)[0], low = -max_lanes<T>(-least)[0];
    bool any_forbidden = false;
    for (std::size_t v = 0; v < lanes<T>; ++v) any_forbidden |= forbidden[v] != 0;
    const T shift = high == -infinity<T> ? T(0) : high;
    for (std::size_t i = 0; i < K; ++i) {
      for (std::size_t j = 0; j < K; j += lanes<T>)
        store<T>(forward + i * width + j,
                 exp_nonpositive(load_partial<T>(matrix + i * K + j, K - j, -infinity<T>) - shift));
      for (std::size_t j = K; j < width; ++j) transposed[i * width + j] = T(0);
    }
    for (std::size_t i = 0; i < K; ++i)
      for (std::size_t j = 0; j < K; ++j) transposed[j * width + i] = forward[i * width + j];
    forward[2 * square] = shift;
    forward[2 * square + 1] = high == -infinity<T> ? T(0) : high - low;
    forward[2 * square + 2] = any_forbidden ? T(1) : T(0);
  }
}

template <class T>
constexpr ChainKernels<T> table() {
  ChainKernels<T> t{};
  t.layout = chain_layout<T>;
  t.prepare = prepare<T>;
  t.forward = chain_forward<T>;
  t.backward = chain_backward<T>;
  t.shared_gradient = chain_shared_gradient<T>;
  t.step_gradient = chain_step_gradient<T>;
  t.curvature = chain_curvature<T>;
  t.entropy = chain_entropy<T>;
  t.best = chain_best<T>;
  t.best_k = chain_best_k<T>;
  t.sample = chain_sample<T>;
  return t;
}

}  // namespace

template <>
const ChainKernels<float>& kernels() {
  static constexpr ChainKernels<float> t = table<float>();
  return t;
}
template <>
const ChainKernels<double>& kernels() {
  static constexpr ChainKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
