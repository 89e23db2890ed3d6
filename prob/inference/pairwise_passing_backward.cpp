#include <algorithm>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/prob/inference/pairwise_passing_operation.hpp>

// The way back: from gradients of what was inferred through the iterations to those of the potentials.
namespace tapestry::detail {

template <class T>
void PairwisePassing<T>::backward(Backward<T>& c) {
  const auto potentials = potentials_of(plan().graph(), c, 0);
  *progress_->adjoint = solved_adjoint();
  if (!setting_.keep) fail<GraphError>(name(), "was made without gradients");
  for (std::int64_t b = 0; b < layout_.batches(); ++b) {
    Run& run = runs_[static_cast<std::size_t>(b)];
    if (c.output(0)[b] == -std::numeric_limits<T>::infinity()) {
      for (std::size_t g = 0; g < potentials.data.size(); ++g)
        if (c.wants(static_cast<int>(g))) c.add_to(static_cast<int>(g));
      continue;
    }
    run.potentials.refer(plan(), potentials.data, potentials.layouts, b);
    auto g = read_backward(run, b, c);
    pass_back(run, g);
    hand_out(run, g, b, potentials, c);
  }
}

template <class T>
PairwiseGradients<T> PairwisePassing<T>::read_backward(Run& run, std::int64_t b, Backward<T>& c) {
  const std::int64_t K = plan().states(), square = K * K;
  const auto& graph = plan().graph();
  const std::int64_t entries = plan().pairs() * square;
  PoolBuffer<T> variables(run.log_marginals.size()), factors, probabilities;
  std::fill_n(variables.data(), variables.size(), T(0));
  bool any_factor = false;
  for (int output = 1; output < outputs(); ++output)
    any_factor = any_factor || (pairwise(output) && c.has_gradient(output));
  if (any_factor) std::fill_n(factors.reserve(static_cast<std::size_t>(entries)), entries, T(0));
  const bool constant = options().gradient == Mode::likelihood;
  bool any_variable = false;
  std::int64_t first_pair = 0;
  for (int output = 1; output < outputs(); ++output) {
    const std::int64_t n = layout_.elements(output);
    const bool pair = pairwise(output);
    // With constant messages a factor's belief depends on its own potential alone: hand_out() sees to the unary ones.
    if (c.has_gradient(output) && (pair || !constant)) {
      const T* g = c.gradient(output).data + b * n;
      if (pair) {
        std::copy_n(g, n, factors.data() + first_pair * square);
      } else if (layout_.variables(output)) {
        any_variable = true;
        for (std::int64_t i = 0; i < n; ++i) variables.data()[layout_.variable_group(output).first_state + i] += g[i];
      } else {
        any_variable = true;
        const auto& group = graph.factors[layout_.factor_group(output)];
        for (std::int64_t f = 0; f < group.factors(); ++f)
          for (std::int64_t k = 0; k < K; ++k) variables.data()[group.scopes[f] * K + k] += g[f * K + k];
      }
    }
    if (pair) first_pair += n / square;
  }
  const T partition = c.has_gradient(0) ? c.gradient(0)[b] : T(0);
  const bool through_factors = partition != T(0) || any_factor;
  if (through_factors) {
    // Computed again: the outputs may be several.
    PoolBuffer<T> ignored(run.log_marginals.size());
    run.engine.read(
        run.potentials.input(), run.kept.back(), ignored.data(),
        {{static_cast<std::size_t>(plan().pairs()), probabilities.reserve(static_cast<std::size_t>(entries))}});
  }
  return run.engine.from_beliefs(run.log_marginals.data(), through_factors ? probabilities.data() : nullptr, partition,
                                 any_variable ? variables.data() : nullptr, any_factor ? factors.data() : nullptr);
}

template <class T>
void PairwisePassing<T>::pass_back(Run& run, PairwiseGradients<T>& g) {
  if (options().gradient == Mode::likelihood) return;
  const auto in = run.potentials.input();
  auto& kept = run.kept;
  run.engine.enter(g);
  if (options().gradient == Mode::implicit) {
    // The sum of the powers of the step's transposed Jacobian.
    const T enough = std::max<T>(T(implicit_tolerance), std::numeric_limits<T>::epsilon());
    const int most = implicit_steps(run.converged, run.steps);
    T largest = 0, left = 0, first = 0;
    int n = 0;
    do {
      ++n;
      run.engine.step_backward(in, kept.back(), kept.back(), g);
      left = run.engine.remaining(g);
      largest = std::max(largest, left);
      if (n == 1) first = left;
    } while (n < most && left > enough * largest && (run.converged || left <= first));
    report_adjoint(*progress_->adjoint, run.converged, left <= enough * largest, n,
                   largest > 0 ? static_cast<double>(left / largest) : 0, static_cast<double>(enough));
  } else if (options().gradient == Mode::checkpointed) {
    const std::int64_t every = iterations().stride();
    for (std::int64_t begin = (run.steps - 1) / every * every; begin >= 0 && run.steps > 0; begin -= every) {
      const std::int64_t end = std::min(begin + every, run.steps);
      std::vector<Messages> segment(static_cast<std::size_t>(end - begin + 1));
      std::swap(segment[0], kept[static_cast<std::size_t>(begin / every)]);
      for (std::int64_t n = begin; n < end; ++n)
        run.engine.step(in, segment[static_cast<std::size_t>(n - begin)],
                        segment[static_cast<std::size_t>(n - begin + 1)]);
      for (std::int64_t n = end; n-- > begin;)
        run.engine.step_backward(in, segment[static_cast<std::size_t>(n - begin)],
                                 segment[static_cast<std::size_t>(n - begin + 1)], g);
      std::swap(segment[0], kept[static_cast<std::size_t>(begin / every)]);
    }
  } else {
    const bool truncated = options().gradient == Mode::truncated && run.steps > options().truncation;
    for (std::size_t n = kept.size() - 1; n-- > 0;)
      run.engine.step_backward(in, kept[n], kept[n + 1], g, n > 0 || !truncated);
  }
}

template <class T>
void PairwisePassing<T>::hand_out(Run& run, const PairwiseGradients<T>& g, std::int64_t b,
                                  const PotentialInputs<T>& inputs, Backward<T>& c) {
  const std::int64_t K = plan().states(), square = K * K;
  const auto& graph = plan().graph();
  bool any_pair = false;
  for (std::size_t group = 0; group < graph.factors.size(); ++group)
    any_pair = any_pair || (plan().pairwise(group) && c.wants(static_cast<int>(group)));
  // Where each factor has its own potential, its gradient needs no place in between.
  const bool own = run.potentials.input().index == nullptr && layout_.batches() == 1 && plan().weights().empty();
  PoolBuffer<T> tables(any_pair && !own ? run.potentials.tables() * static_cast<std::size_t>(square) : 0);
  if (any_pair && !own) run.engine.collect(g, run.potentials.input().index, run.potentials.tables(), tables.data());
  for (std::size_t number = 0; number < graph.factors.size(); ++number) {
    const int input = static_cast<int>(number);
    if (!c.wants(input)) continue;
    const auto& layout = inputs.layouts[number];
    const auto& group = graph.factors[number];
    if (own && plan().pairwise(number)) {
      add_own_tables(run, number, g, c.target(input));
      continue;
    }
    T* out = c.add_to(input) + (layout.batch > 0 ? b * layout.batch_stride : 0);
    if (plan().pairwise(number)) {
      const std::size_t first = run.potentials.first_table(number);
      const T* from = tables.data() + first * static_cast<std::size_t>(square);
      for (std::int64_t f = 0; !plan().weights().empty() && f < group.factors(); ++f) {
        const T weight = static_cast<T>(plan().weights()[first + static_cast<std::size_t>(f)]);
        for (std::int64_t i = 0; i < square; ++i) out[f * layout.factor_stride + i] += *from++ / weight;
      }
      if (!plan().weights().empty()) continue;
      const std::int64_t n = (layout.factor_stride == 0 ? 1 : group.factors()) * square;
      kernels<ElementwiseKernels<T>>().accumulate(from, out, static_cast<std::size_t>(n));
      continue;
    }
    if (options().gradient == Mode::likelihood) {
      add_own_beliefs(run, number, layout, b, c, out);
      continue;
    }
    for (std::int64_t f = 0; f < group.factors(); ++f)
      for (std::int64_t k = 0; k < K; ++k) out[f * layout.factor_stride + k] += g.unary.data()[group.scopes[f] * K + k];
  }
}

template <class T>
void PairwisePassing<T>::add_own_tables(const Run& run, std::size_t number, const PairwiseGradients<T>& g,
                                        const Target<T>& out) {
  const std::size_t first = run.potentials.first_table(number);
  const auto count = static_cast<std::size_t>(plan().graph().factors[number].factors());
  const auto elements = static_cast<std::size_t>(out.size());
  const PoolBuffer<T> scratch(out.accumulate ? elements : 0);
  run.engine.collect_own(g, first, count, out.accumulate ? scratch.data() : out.data);
  if (out.accumulate) kernels<ElementwiseKernels<T>>().accumulate(scratch.data(), out.data, elements);
}

template <class T>
void PairwisePassing<T>::add_own_beliefs(const Run& run, std::size_t number, const PotentialLayout& layout,
                                         std::int64_t b, Backward<T>& c, T* out) {
  const std::int64_t K = plan().states();
  const auto& group = plan().graph().factors[number];
  const int output = 1 + static_cast<int>(plan().graph().variables.size() + number);
  const T partition = c.has_gradient(0) ? c.gradient(0)[b] : T(0);
  const T* given =
      output < outputs() && c.has_gradient(output) ? c.gradient(output).data + b * group.factors() * K : nullptr;
  for (std::int64_t f = 0; f < group.factors(); ++f) {
    const T* log_p = run.log_marginals.data() + group.scopes[f] * K;
    T mean = 0;
    for (std::int64_t k = 0; given != nullptr && k < K; ++k) mean += std::exp(log_p[k]) * given[f * K + k];
    for (std::int64_t k = 0; k < K; ++k)
      out[f * layout.factor_stride + k] +=
          std::exp(log_p[k]) * (partition + (given == nullptr ? T(0) : given[f * K + k] - mean));
  }
}

template void PairwisePassing<float>::backward(Backward<float>&);
template void PairwisePassing<double>::backward(Backward<double>&);

}  // namespace tapestry::detail
