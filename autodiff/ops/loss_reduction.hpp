#pragma once

#include <algorithm>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {

/// The reduction of losses that are variables.
template <class T>
Var<T> reduced(const Var<T>& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  return reduction == Reduction::mean ? mean(losses) : sum(losses);
}

/// The shape of the reduced losses. @throws ShapeError for the mean of none
inline Shape reduced_shape(std::string_view operation, const Shape& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  if (reduction == Reduction::mean && losses.elements() == 0)
    fail<ShapeError>(operation, "the mean of no losses (shape ", losses, ")");
  return {};
}

/// The sum of what f(begin, end, out) writes for elements [begin, end), a block at a time: no array of all is made.
/// Does not depend on the number of threads.
template <class T, class F>
T sum_of_blocks(std::int64_t n, std::int64_t block, F f) {
  const std::int64_t blocks = (n + block - 1) / block;
  const Scratch<T> sums(static_cast<std::size_t>(blocks));
  const auto& table = kernels<ElementwiseKernels<T>>();
  parallel_for(blocks, std::max<std::int64_t>(1, 32768 / block), [&](std::int64_t first, std::int64_t last) {
    const Scratch<T> losses(static_cast<std::size_t>(block));
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t begin = i * block, end = std::min(n, begin + block);
      f(begin, end, losses.data());
      sums[static_cast<std::size_t>(i)] = table.sum(losses.data(), static_cast<std::size_t>(end - begin));
    }
  });
  return table.sum(sums.data(), static_cast<std::size_t>(blocks));
}

}  // namespace tapestry::detail
