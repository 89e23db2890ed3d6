#include <tapestry/models/layers/linear.hpp>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/einsum.hpp>

namespace tapestry {

template <class T>
Linear<T>::Linear(std::int64_t in, std::int64_t out, Generator& generator, const LinearOptions& options)
    : activation(options.activation) {
  const Initializer start = options.weight                           ? *options.weight
                            : options.activation == Activation::relu ? initializers::he_uniform()
                                                                     : initializers::xavier_uniform();
  weight = start.parameter<T>({in, out}, generator);
  if (options.bias) bias = Var<T>::filled({out}, 0, true);
}

template <class T>
Var<T> Linear<T>::forward(const Var<T>& x) const {
  return bias.defined() ? linear(x, weight, bias, activation) : linear(x, weight, activation);
}

template <class T>
Bilinear<T>::Bilinear(std::int64_t in1, std::int64_t in2, std::int64_t out, Generator& generator, bool with_bias)
    : weight(initializers::xavier_uniform().parameter<T>({out, in1, in2}, generator, Fans{in1 * in2, out})) {
  if (with_bias) bias = Var<T>::filled({out}, 0, true);
}

template <class T>
Var<T> Bilinear<T>::forward(const Var<T>& x, const Var<T>& y) const {
  const Var<T> out = einsum("...i,kij,...j->...k", x, weight, y);
  return bias.defined() ? out + bias : out;
}

template struct Linear<float>;
template struct Linear<double>;
template struct Bilinear<float>;
template struct Bilinear<double>;

}  // namespace tapestry
