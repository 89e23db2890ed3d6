#pragma once

#include <optional>

#include <tapestry/autodiff/ops/linear.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

struct LinearOptions {
  Activation activation = Activation::none;
  bool bias = true;  ///< starts at zero
  /// He's uniform before a rectifier, Xavier's uniform else.
  std::optional<Initializer> weight = std::nullopt;
};

/// activation(x W + b): [..., in] to [..., out].
template <class T>
struct Linear {
  Linear() = default;
  Linear(std::int64_t in, std::int64_t out, Generator& generator, const LinearOptions& options = {});
  Var<T> forward(const Var<T>& x) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;  ///< [in, out], [out]
  Activation activation = Activation::none;
};

/// x_i W_kij y_j + b_k: [..., in1] and [..., in2] to [..., out].
template <class T>
struct Bilinear {
  Bilinear() = default;
  Bilinear(std::int64_t in1, std::int64_t in2, std::int64_t out, Generator& generator, bool with_bias = true);
  Var<T> forward(const Var<T>& x, const Var<T>& y) const;
  void members(Members& m) { m("weight", weight)("bias", bias); }

  Var<T> weight, bias;  ///< [out, in1, in2], [out]
};

extern template struct Linear<float>;
extern template struct Linear<double>;
extern template struct Bilinear<float>;
extern template struct Bilinear<double>;

}  // namespace tapestry
