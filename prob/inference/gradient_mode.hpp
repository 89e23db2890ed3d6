#pragma once

namespace tapestry {

/// How gradients pass through an iterative inference.
enum class GradientMode {
  unrolled,      ///< through all iterations: the derivative of what was computed
  checkpointed,  ///< the same with memory for about 2 sqrt(iterations) of them, and each computed once more
  truncated,     ///< through the last iterations only
  implicit,      ///< through the fixed point (implicit function theorem), whatever schedule reached it; little memory
  likelihood  ///< messages are constants: the log-partition's gradient is the factors' beliefs, exact at a fixed point
};

}  // namespace tapestry
