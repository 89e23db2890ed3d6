#pragma once

#include <optional>

#include <tapestry/autodiff/ops/convolution.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

/// How the parameters of a convolution start.
struct FilterOptions {
  bool bias = true;  ///< starts at zero
  Initializer weight = initializers::he_uniform();
};

/// conv1d() with its filters: [batch, in, width] to [batch, out, width'].
template <class T>
struct Conv1d {
  Conv1d() = default;
  Conv1d(std::int64_t in, std::int64_t out, std::int64_t kernel, Generator& generator,
         const Conv1dOptions& options = {}, const FilterOptions& filters = {});
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
  Conv1dOptions options;
};

/// conv2d() with its filters: [batch, in, height, width] to [batch, out, height', width'].
template <class T>
struct Conv2d {
  Conv2d() = default;
  Conv2d(std::int64_t in, std::int64_t out, HeightWidth kernel, Generator& generator, const Conv2dOptions& options = {},
         const FilterOptions& filters = {});
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
  Conv2dOptions options;
};

/// conv_transpose1d() with its filters.
template <class T>
struct ConvTranspose1d {
  ConvTranspose1d() = default;
  ConvTranspose1d(std::int64_t in, std::int64_t out, std::int64_t kernel, Generator& generator,
                  const ConvTranspose1dOptions& options = {}, const FilterOptions& filters = {});
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
  ConvTranspose1dOptions options;
};

/// conv_transpose2d() with its filters.
template <class T>
struct ConvTranspose2d {
  ConvTranspose2d() = default;
  ConvTranspose2d(std::int64_t in, std::int64_t out, HeightWidth kernel, Generator& generator,
                  const ConvTranspose2dOptions& options = {}, const FilterOptions& filters = {});
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;
  ConvTranspose2dOptions options;
};

}  // namespace tapestry
