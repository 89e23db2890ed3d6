#pragma once

#include <optional>

#include <tapestry/models/layers/linear.hpp>

namespace tapestry {

struct AttentionOptions {
  /// Of the keys, [batch]: later ones are not attended to.
  std::optional<Indices> lengths = std::nullopt;
  /// A query attends to the keys up to its own position only.
  bool causal = false;
};

/// softmax(q k' / sqrt(d)) v over the last two axes: q [..., queries, d], k [..., keys, d], v [..., keys, e] to
/// [..., queries, e], with the batch as first axis. A query that may attend to nothing gives zeros.
/// @throws ShapeError
template <class T>
Var<T> attention(const Var<T>& q, const Var<T>& k, const Var<T>& v, const AttentionOptions& options = {});

/// Multi-head attention (Vaswani et al. 2017): queries [batch, queries, dimension] over keys and values
/// [batch, keys, dimension], to [batch, queries, dimension].
template <class T>
struct MultiHeadAttention {
  MultiHeadAttention() = default;
  /// @throws ShapeError unless the heads divide the dimension
  MultiHeadAttention(std::int64_t dimension, std::int64_t head_count, Generator& generator);
  Var<T> forward(const Var<T>& query, const Var<T>& key, const Var<T>& value,
                 const AttentionOptions& options = {}) const;
  /// Self-attention.
  Var<T> forward(const Var<T>& x, const AttentionOptions& options = {}) const { return forward(x, x, x, options); }
  void members(Members& m) { m("query", query_map)("key", key_map)("value", value_map)("output", output_map); }

  std::int64_t heads = 1;
  Linear<T> query_map, key_map, value_map, output_map;
};

extern template struct MultiHeadAttention<float>;
extern template struct MultiHeadAttention<double>;

}  // namespace tapestry
