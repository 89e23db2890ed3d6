#include <tapestry/prob/kernels/pairwise_beliefs.hpp>

#include <tapestry/prob/kernels/pairwise_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

/// Writes an entry of the tables of lanes [low, high): out[lane - low, n].
template <class T>
TAPESTRY_INLINE void scatter_entry(Vec<T> x, std::size_t low, std::size_t high, std::size_t square, T* out) {
  T buffer[lanes<T>];
  store<T>(buffer, x);
  for (std::size_t v = low; v < high; ++v) out[(v - low) * square] = buffer[v];
}

template <class T, std::size_t fixed>
void factors_of(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
                const T* range, const T* shift, const T* beliefs, const T* infinite, const T* messages,
                std::size_t first, std::size_t last, std::size_t begin, std::size_t end, T* probabilities,
                T* log_normalisers) {
  const std::size_t K = fixed != 0 ? fixed : graph.states, square = K * K;
  for (std::size_t b = first; b < last; ++b) {
    const Block<T> block(graph, b);
    const std::size_t table = table_of(graph, b), used = used_lanes<T>(graph, b);
    const std::size_t start = b * lanes<T>, low = begin > start ? begin - start : 0;
    const std::size_t high = probabilities == nullptr || end <= start ? low : end - start < used ? end - start : used;
    T* out = probabilities == nullptr ? nullptr : probabilities + (start + low - begin) * square;
    const T* in = messages + b * block_messages<T>(K);
    Vec<T> side[2][room<fixed>], most[2], sum{}, log_normaliser;
    for (int d = 0; d < 2; ++d) {
      cavity(K, block, d, beliefs, infinite, in, side[d]);
      most[d] = largest<T>(K, side[d]);
    }
    if (range[table] <= narrow<T>) {
      for (int d = 0; d < 2; ++d)
        for (std::size_t k = 0; k < K; ++k) side[d][k] = exp_nonpositive(side[d][k] - most[d]);
      const T* potential = exponentials + table * square * lanes<T>;
      for (std::size_t i = 0; i < K; ++i) {
        Vec<T> row{};
        for (std::size_t j = 0; j < K; ++j) row += side[1][j] * load<T>(potential + (i * K + j) * lanes<T>);
        sum += side[0][i] * row;
      }
      const Vec<T> inverse = inverse_or_zero<T>(sum);
      for (std::size_t i = 0; i < K && low < high; ++i) {
        const Vec<T> factor = side[0][i] * inverse;
        for (std::size_t j = 0; j < K; ++j)
          scatter_entry<T>(factor * side[1][j] * load<T>(potential + (i * K + j) * lanes<T>), low, high, square,
                           out + i * K + j);
      }
      log_normaliser = most[0] + most[1] + load<T>(shift + table * lanes<T>);
    } else {
      const Potentials<T> potential(potentials, index, block, square);
      Vec<T> top = splat<T>(-infinity<T>);
      for (std::size_t n = 0; n < square; ++n) top = vmax<T>(side[0][n / K] + side[1][n % K] + potential[n], top);
      top = top == -infinity<T> ? Vec<T>{} : top;
      for (std::size_t n = 0; n < square; ++n)
        sum += exp_nonpositive(side[0][n / K] + side[1][n % K] + potential[n] - top);
      const Vec<T> inverse = inverse_or_zero<T>(sum);
      for (std::size_t n = 0; n < square && low < high; ++n)
        scatter_entry<T>(exp_nonpositive(side[0][n / K] + side[1][n % K] + potential[n] - top) * inverse, low, high,
                         square, out + n);
      log_normaliser = top;
    }
    log_normaliser = sum == T(0) ? splat<T>(-infinity<T>) : log_normaliser + vlog(sum);
    store_partial<T>(log_normalisers + b * lanes<T>, log_normaliser, used);
  }
}

template <class T>
void factors(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, const T* exponentials,
             const T* range, const T* shift, const T* beliefs, const T* infinite, const T* messages, std::size_t first,
             std::size_t last, std::size_t begin, std::size_t end, T* probabilities, T* log_normalisers) {
  const auto f = graph.states == 2 ? factors_of<T, 2> : graph.states == 4 ? factors_of<T, 4> : factors_of<T, 0>;
  f(graph, potentials, index, exponentials, range, shift, beliefs, infinite, messages, first, last, begin, end,
    probabilities, log_normalisers);
}

template <class T>
void factors_backward(const PairwiseGraph& graph, const T* probabilities, T grad_normaliser,
                      const T* grad_probabilities, const T* weights, std::size_t first, std::size_t last,
                      T* grad_cavities, T* grad_pairs) {
  const std::size_t K = graph.states, square = K * K;
  for (std::size_t b = first; b < last; ++b) {
    std::size_t place[lanes<T>];
    const std::size_t used = used_lanes<T>(graph, b);
    for (std::size_t v = 0; v < lanes<T>; ++v) place[v] = (b * lanes<T> + (v < used ? v : 0)) * square;
    T* cavities = grad_cavities + b * block_messages<T>(K);
    T* pairs = grad_pairs + b * square * lanes<T>;
    Vec<T> mean{}, columns[room<0>];
    for (std::size_t n = 0; n < square && grad_probabilities != nullptr; ++n)
      mean += gathered(probabilities + n, place, 1) * gathered(grad_probabilities + n, place, 1);
    for (std::size_t j = 0; j < K; ++j) columns[j] = Vec<T>{};
    for (std::size_t i = 0; i < K; ++i) {
      Vec<T> row{};
      for (std::size_t j = 0; j < K; ++j) {
        const std::size_t n = i * K + j;
        Vec<T> g = splat<T>(grad_normaliser);
        if (weights != nullptr) g *= load<T>(weights + b * lanes<T>);
        if (grad_probabilities != nullptr) g += gathered(grad_probabilities + n, place, 1) - mean;
        g *= gathered(probabilities + n, place, 1);
        store<T>(pairs + n * lanes<T>, load<T>(pairs + n * lanes<T>) + g);
        row += g;
        columns[j] += g;
      }
      store<T>(cavities + i * lanes<T>, row);
    }
    for (std::size_t j = 0; j < K; ++j) store<T>(cavities + (K + j) * lanes<T>, columns[j]);
  }
}

template <class T, std::size_t fixed>
void to_rows_of(const PairwiseGraph&, std::size_t first, std::size_t last, T* messages) {
  for (std::size_t n = 2 * first; n < 2 * last; ++n) {
    T* p = messages + n * fixed * lanes<T>;
    Vec<T> x[fixed];
    for (std::size_t k = 0; k < fixed; ++k) x[k] = load<T>(p + k * lanes<T>);
    store_states<T, fixed>(p, fixed, x);
  }
}
template <class T>
void to_rows(const PairwiseGraph& graph, std::size_t first, std::size_t last, T* messages) {
  if (graph.states == 2) to_rows_of<T, 2>(graph, first, last, messages);
  if (graph.states == 4) to_rows_of<T, 4>(graph, first, last, messages);
}

template <class T>
T change(const PairwiseGraph& graph, bool rows, const T* a, const T* b, std::size_t first, std::size_t last) {
  const std::size_t K = graph.states, n = block_messages<T>(K);
  const bool small = rows && (K == 2 || K == 4);
  Vec<T> most{};
  T out = 0;
  for (std::size_t block = first; block < last; ++block) {
    const std::size_t used = used_lanes<T>(graph, block);
    for (std::size_t i = block * n; i < (block + 1) * n; i += lanes<T>) {
      const Vec<T> x = rows ? load<T>(a + i) : exp_nonpositive(load<T>(a + i));
      const Vec<T> y = rows ? load<T>(b + i) : exp_nonpositive(load<T>(b + i));
      const Vec<T> difference = vmax<T>(x - y, y - x);
      if (used == lanes<T>) {
        most = vmax<T>(difference, most);
        continue;
      }
      // Lanes behind the last factor hold no messages.
      for (std::size_t v = 0; v < lanes<T>; ++v) {
        const std::size_t place = (i - block * n + v) % (K * lanes<T>), lane = small ? place / K : place % lanes<T>;
        if (lane < used && difference[v] > out) out = difference[v];
      }
    }
  }
  const T whole = max_lanes<T>(most)[0];
  return whole > out ? whole : out;
}

template <class T>
void exp(const T* x, std::size_t n, T* y) {
  for (std::size_t i = 0; i < n; i += lanes<T>)
    store_partial<T>(y + i, exp_nonpositive(load_partial<T>(x + i, n - i)), n - i);
}

template <class T>
constexpr PairwiseBeliefKernels<T> table() {
  PairwiseBeliefKernels<T> t{};
  t.factors = factors<T>;
  t.factors_backward = factors_backward<T>;
  t.to_rows = to_rows<T>;
  t.change = change<T>;
  t.exp = exp<T>;
  return t;
}

}  // namespace

template <>
const PairwiseBeliefKernels<float>& kernels() {
  static constexpr PairwiseBeliefKernels<float> t = table<float>();
  return t;
}
template <>
const PairwiseBeliefKernels<double>& kernels() {
  static constexpr PairwiseBeliefKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
