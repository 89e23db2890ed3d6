#include <tapestry/prob/kernels/pairwise_mean_field.hpp>

#include <tapestry/prob/kernels/pairwise_parts.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T>
void load_tables(const PairwiseGraph& graph, const T* potentials, const std::int64_t* index, std::size_t first,
                 std::size_t last, T* tables) {
  const std::size_t square = graph.states * graph.states;
  for (std::size_t b = first; b < last; ++b) {
    const Potentials<T> from(potentials, index, Block<T>(graph, b), square);
    for (std::size_t n = 0; n < square; ++n) store<T>(tables + (b * square + n) * lanes<T>, from[n]);
  }
}

template <class T, std::size_t fixed>
void expect_blocks(const PairwiseGraph& graph, const T* tables, const T* q, std::size_t first, std::size_t last,
                   T* messages) {
  const std::size_t K = fixed != 0 ? fixed : graph.states, square = K * K;
  for (std::size_t b = first; b < last; ++b) {
    const Block<T> block(graph, b);
    const T* table = tables + b * square * lanes<T>;
    T* out = messages + b * block_messages<T>(K);
    Vec<T> row[room<fixed>], column[room<fixed>], to_second[room<fixed>];
    for (std::size_t k = 0; k < K; ++k) {
      row[k] = gathered(q + k, block.variable[0], K);
      column[k] = gathered(q + k, block.variable[1], K);
      to_second[k] = Vec<T>{};
    }
    for (std::size_t i = 0; i < K; ++i) {
      Vec<T> to_first{};
      for (std::size_t j = 0; j < K; ++j) {
        const Vec<T> x = load<T>(table + (i * K + j) * lanes<T>);
        to_first += x * column[j];
        to_second[j] += x * row[i];
      }
      store<T>(out + (K + i) * lanes<T>, to_first);
    }
    for (std::size_t j = 0; j < K; ++j) store<T>(out + j * lanes<T>, to_second[j]);
  }
}

template <class T>
void expect(const PairwiseGraph& graph, const T* tables, const T* q, std::size_t first, std::size_t last, T* messages) {
  const auto f = graph.states == 2   ? expect_blocks<T, 2>
                 : graph.states == 4 ? expect_blocks<T, 4>
                                     : expect_blocks<T, 0>;
  f(graph, tables, q, first, last, messages);
}

template <class T>
void expect_backward(const PairwiseGraph& graph, const T* tables, const T* q, const T* grad_logits, std::size_t first,
                     std::size_t last, T* grad_sent, T* grad_pairs) {
  const std::size_t K = graph.states, square = K * K;
  for (std::size_t b = first; b < last; ++b) {
    const Block<T> block(graph, b);
    const T* table = tables + b * square * lanes<T>;
    T* pairs = grad_pairs + b * square * lanes<T>;
    T* out = grad_sent + b * block_messages<T>(K);
    Vec<T> row[room<0>], column[room<0>], grad_row[room<0>], grad_column[room<0>], from_second[room<0>];
    for (std::size_t k = 0; k < K; ++k) {
      row[k] = gathered(q + k, block.variable[0], K);
      column[k] = gathered(q + k, block.variable[1], K);
      grad_row[k] = gathered(grad_logits + k, block.variable[0], K);
      grad_column[k] = gathered(grad_logits + k, block.variable[1], K);
      from_second[k] = Vec<T>{};
    }
    for (std::size_t i = 0; i < K; ++i) {
      Vec<T> from_first{};
      for (std::size_t j = 0; j < K; ++j) {
        const std::size_t at = (i * K + j) * lanes<T>;
        const Vec<T> x = load<T>(table + at);
        store<T>(pairs + at, load<T>(pairs + at) + grad_row[i] * column[j] + row[i] * grad_column[j]);
        from_first += x * grad_column[j];
        from_second[j] += x * grad_row[i];
      }
      store<T>(out + i * lanes<T>, from_first);
    }
    for (std::size_t j = 0; j < K; ++j) store<T>(out + (K + j) * lanes<T>, from_second[j]);
  }
}

template <class T>
constexpr PairwiseMeanFieldKernels<T> table() {
  PairwiseMeanFieldKernels<T> t{};
  t.load = load_tables<T>;
  t.expect = expect<T>;
  t.expect_backward = expect_backward<T>;
  return t;
}

}  // namespace

template <>
const PairwiseMeanFieldKernels<float>& kernels() {
  static constexpr PairwiseMeanFieldKernels<float> t = table<float>();
  return t;
}
template <>
const PairwiseMeanFieldKernels<double>& kernels() {
  static constexpr PairwiseMeanFieldKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
