#pragma once

#include <vector>

#include <tapestry/autodiff/pool.hpp>

namespace tapestry::detail {

/// A vector in pooled memory: what an operation needs for the time of one evaluation asks the system for nothing.
template <class X>
using PooledVector = std::vector<X, PoolAllocator<X>>;

}  // namespace tapestry::detail
