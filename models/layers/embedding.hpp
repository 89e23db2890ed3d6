#pragma once

#include <optional>

#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

/// A vector for each of `count` symbols: indices [...] to [..., dimension]. The gradient stays sparse, by rows.
template <class T>
struct Embedding {
  Embedding() = default;
  Embedding(std::int64_t count, std::int64_t dimension, Generator& generator,
            const Initializer& start = initializers::normal())
      : table(start.parameter<T>({count, dimension}, generator)) {}
  /// @throws IndexError for a symbol that does not exist
  Var<T> forward(const Indices& indices) const { return embedding(table, indices); }
  void members(Members& m) { m("table", table); }

  Var<T> table;  ///< [count, dimension]
};

}  // namespace tapestry
