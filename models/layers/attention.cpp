#include <tapestry/models/layers/attention.hpp>

#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>

namespace tapestry {

template <class T>
Var<T> attention(const Var<T>& q, const Var<T>& k, const Var<T>& v, const AttentionOptions& options) {
  if (q.rank() < 3 || k.rank() != q.rank() || v.rank() != q.rank() || q.extent(-1) != k.extent(-1) ||
      k.extent(-2) != v.extent(-2))
    fail<ShapeError>("attention", "queries ", q.shape(), ", keys ", k.shape(), " and values ", v.shape());
  const std::int64_t batch = q.extent(0), queries = q.extent(-2), keys = k.extent(-2);
  Var<T> scores =
      matmul(q, k, {.transpose_b = true}) * static_cast<T>(1 / std::sqrt(static_cast<double>(q.extent(-1))));
  if (options.lengths || options.causal) {
    if (options.lengths && options.lengths->shape() != Shape{batch})
      fail<ShapeError>("attention", "lengths ", options.lengths->shape(), " for a batch of ", batch);
    Shape shape = Shape::filled(q.rank(), 1);
    shape[0] = batch;
    shape[q.rank() - 2] = queries;
    shape[q.rank() - 1] = keys;
    IndexTensor hidden = empty_tensor<std::int64_t>(shape);
    std::int64_t* out = hidden.data();
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t i = 0; i < queries; ++i)
        for (std::int64_t j = 0; j < keys; ++j)
          *out++ = (options.lengths && j >= (*options.lengths)[b]) || (options.causal && j > i);
    scores = masked_fill(scores, Indices(std::move(hidden)), -std::numeric_limits<T>::infinity());
  }
  return matmul(softmax(scores), v);
}

template <class T>
MultiHeadAttention<T>::MultiHeadAttention(std::int64_t dimension, std::int64_t head_count, Generator& generator)
    : heads(head_count) {
  if (heads < 1 || dimension < 1 || dimension % heads != 0)
    fail<ShapeError>("MultiHeadAttention", heads, " heads in a dimension of ", dimension);
  for (Linear<T>* map : {&query_map, &key_map, &value_map, &output_map})
    *map = Linear<T>(dimension, dimension, generator);
}

template <class T>
Var<T> MultiHeadAttention<T>::forward(const Var<T>& query, const Var<T>& key, const Var<T>& value,
                                      const AttentionOptions& options) const {
  // [batch, n, dimension] to [batch, heads, n, dimension / heads]
  const auto part = [&](const Var<T>& x, const Linear<T>& map) {
    const Var<T> y = map.forward(x);
    return transpose(reshape(y, {y.extent(0), y.extent(1), heads, y.extent(2) / heads}), {0, 2, 1, 3});
  };
  for (const Var<T>* x : {&query, &key, &value})
    if (x->rank() != 3) fail<ShapeError>("MultiHeadAttention", "input ", x->shape(), " must be [batch, n, dimension]");
  const Var<T> mixed =
      transpose(attention(part(query, query_map), part(key, key_map), part(value, value_map), options), {0, 2, 1, 3});
  return output_map.forward(reshape(mixed, query.shape()));
}

#define TAPESTRY_INSTANTIATE(T)                                                                    \
  template Var<T> attention(const Var<T>&, const Var<T>&, const Var<T>&, const AttentionOptions&); \
  template struct MultiHeadAttention<T>;
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
