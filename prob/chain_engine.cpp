#include <tapestry/prob/chain_engine.hpp>

#include <algorithm>

#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

/// Calls f(first, last, chunk) for chunks of about `cost_limit` operations, `cost` each.
template <class F>
void split(std::size_t n, std::size_t cost, F&& f, std::size_t cost_limit = 60000) {
  const std::size_t grain = std::max<std::size_t>(1, cost_limit / std::max<std::size_t>(1, cost));
  parallel_for(static_cast<std::int64_t>(n), static_cast<std::int64_t>(grain),
               [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                 f(static_cast<std::size_t>(begin), static_cast<std::size_t>(end), static_cast<std::size_t>(chunk));
               });
}

template <class T>
std::size_t step_cost(const ChainInput<T>& in) {
  return in.steps * in.states * (in.states + 8) / 8 + 1;
}

}  // namespace

template <class T>
std::size_t ChainEngine<T>::transition_elements(const ChainInput<T>& in) {
  const std::size_t steps = in.step_stride != 0 ? std::max<std::size_t>(in.steps, 1) - 1 : 1;
  return (in.batch_stride != 0 ? in.batch : 1) * steps * in.states * in.states;
}

template <class T>
void ChainEngine<T>::forward(const ChainInput<T>& in, T* log_partition, bool keep) {
  in_ = in;
  layout_ = kernels_->layout(in);
  T* prepared = prepared_.reserve(layout_.matrices * layout_.prepared_matrix);
  split(layout_.matrices, in.states * in.states,
        [&](std::size_t first, std::size_t last, std::size_t) { kernels_->prepare(in, first, last, prepared); });
  const std::size_t unit = keep ? layout_.saved_block : layout_.transient_block;
  T* saved = saved_.reserve(layout_.blocks * unit);
  split(layout_.blocks, layout_.rows * step_cost(in), [&](std::size_t first, std::size_t last, std::size_t) {
    kernels_->forward(in, prepared, first, last, keep, saved + first * unit, log_partition);
  });
}

template <class T>
void ChainEngine<T>::backward(const T* g, T* grad_unary, T* grad_transitions) const {
  const ChainInput<T>& in = in_;
  const std::size_t K = in.states, square = K * K;
  PoolBuffer<T> scratch(layout_.blocks * layout_.scratch_block);
  const bool shared = in.batch_stride == 0 && in.step_stride == 0;
  const std::size_t cost = layout_.rows * step_cost(in) * 2;
  const std::size_t grain = std::max<std::size_t>(1, 60000 / cost);
  const std::size_t chunks = (layout_.blocks + grain - 1) / grain;
  // Shared transitions: each chunk of blocks sums its own, right after its backward pass (it is still in the cache);
  // the sums are added in order.
  PoolBuffer<T> partial(shared && grad_transitions != nullptr ? chunks * (square + layout_.gradient_scratch) : 0);
  parallel_for(static_cast<std::int64_t>(layout_.blocks), static_cast<std::int64_t>(grain),
               [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                 const auto first = static_cast<std::size_t>(begin), last = static_cast<std::size_t>(end);
                 kernels_->backward(in, prepared_.data(), saved_.data(), g, first, last, grad_unary, scratch.data());
                 if (partial.size() == 0) return;
                 T* sum = partial.data() + static_cast<std::size_t>(chunk) * (square + layout_.gradient_scratch);
                 kernels_->shared_gradient(in, prepared_.data(), saved_.data(), g, scratch.data(), first, last, sum,
                                           sum + square);
               });
  if (grad_transitions == nullptr) return;
  if (shared) {
    std::fill_n(grad_transitions, square, T(0));
    for (std::size_t c = 0; c < chunks; ++c)
      for (std::size_t n = 0; n < square; ++n)
        grad_transitions[n] += partial.data()[c * (square + layout_.gradient_scratch) + n];
    return;
  }
  const std::size_t matrix_cost = square * (in.batch_stride != 0 ? 1 : in.batch) / 8 + 1;
  split(layout_.matrices, matrix_cost, [&](std::size_t first, std::size_t last, std::size_t) {
    PoolBuffer<T> sum(layout_.gradient_scratch);
    kernels_->step_gradient(in, prepared_.data(), saved_.data(), g, scratch.data(), first, last, grad_transitions,
                            sum.data());
  });
}

template <class T>
void ChainEngine<T>::curvature(const T* g, const T* direction_unary, const T* direction_transitions,
                               T* tangent_log_partition, T* tangent_unary, T* tangent_transitions) const {
  const ChainInput<T>& in = in_;
  const std::size_t elements = transition_elements(in);
  const bool own = in.batch_stride != 0;
  if (tangent_transitions != nullptr) std::fill_n(tangent_transitions, elements, T(0));
  const std::size_t cost = step_cost(in) * 6, grain = std::max<std::size_t>(1, 120000 / cost);
  const std::size_t chunks = (in.batch + grain - 1) / grain;
  // Every chunk adds to a copy of shared transitions, unless they are so large that the copies would weigh more.
  const bool copies = tangent_transitions != nullptr && !own && in.step_stride == 0 && chunks > 1;
  const bool serial = tangent_transitions != nullptr && !own && in.step_stride != 0;
  PoolBuffer<T> partial(copies ? chunks * elements : 0);
  if (copies) std::fill_n(partial.data(), chunks * elements, T(0));
  parallel_for(
      static_cast<std::int64_t>(in.batch), static_cast<std::int64_t>(serial ? in.batch : grain),
      [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
        PoolBuffer<T> scratch(layout_.sequence_scratch);
        kernels_->curvature(
            in, prepared_.data(), saved_.data(), g, direction_unary, direction_transitions,
            static_cast<std::size_t>(begin), static_cast<std::size_t>(end), tangent_log_partition, tangent_unary,
            copies ? partial.data() + static_cast<std::size_t>(chunk) * elements : tangent_transitions, scratch.data());
      });
  for (std::size_t n = 0; copies && n < chunks * elements; ++n) tangent_transitions[n % elements] += partial.data()[n];
}

template <class T>
void ChainEngine<T>::entropy(T* out) const {
  split(in_.batch, step_cost(in_) * 20, [&](std::size_t first, std::size_t last, std::size_t) {
    PoolBuffer<T> scratch(layout_.sequence_scratch);
    kernels_->entropy(in_, prepared_.data(), saved_.data(), first, last, out, scratch.data());
  });
}

template <class T>
void ChainEngine<T>::sample(const T* uniforms, std::size_t samples, std::int64_t* paths) const {
  split(in_.batch, in_.steps * in_.states * samples + 1, [&](std::size_t first, std::size_t last, std::size_t) {
    PoolBuffer<T> scratch(layout_.sequence_scratch);
    kernels_->sample(in_, prepared_.data(), saved_.data(), uniforms, samples, first, last, paths, scratch.data());
  });
}

template <class T>
void ChainEngine<T>::best(const ChainInput<T>& in, std::int64_t* path, T* score) const {
  const ChainLayout layout = kernels_->layout(in);
  split(in.batch, step_cost(in), [&](std::size_t first, std::size_t last, std::size_t) {
    PoolBuffer<T> scratch(layout.sequence_scratch);
    kernels_->best(in, first, last, path, score, scratch.data());
  });
}

template <class T>
void ChainEngine<T>::best_k(const ChainInput<T>& in, std::size_t k, std::int64_t* paths, T* scores) const {
  split(in.batch, step_cost(in) * k * 8, [&](std::size_t first, std::size_t last, std::size_t) {
    PoolBuffer<double> values(in.steps * in.states * k);
    PoolBuffer<std::int64_t> pointers(in.steps * in.states * k);
    for (std::size_t b = first; b < last; ++b)
      kernels_->best_k(in, b, k, paths, scores, values.data(), pointers.data());
  });
}

template class ChainEngine<float>;
template class ChainEngine<double>;

}  // namespace tapestry::detail
