#include <tapestry/models/training/transforms/binarise.hpp>

namespace tapestry {

template <class T>
Tensor<T> binarise(const Tensor<T>& data, T threshold) {
  auto result = empty_tensor<T>(shape_of(data));
  for (std::size_t i = 0; i < data.size(); ++i) result.data()[i] = data.data()[i] > threshold ? T(1) : T(0);
  return result;
}

template <class T>
Tensor<T> binarise(const Tensor<T>& probabilities, Generator& generator) {
  return generator.bernoulli(probabilities);
}

template <class T>
Tensor<T> flip_bits(const Tensor<T>& bits, T probability, Generator& generator) {
  auto result = generator.bernoulli<T>(shape_of(bits), probability);
  for (std::size_t i = 0; i < bits.size(); ++i)
    if (result.data()[i] != 0)
      result.data()[i] = T(1) - bits.data()[i];
    else
      result.data()[i] = bits.data()[i];
  return result;
}

template Tensor<float> binarise(const Tensor<float>&, float);
template Tensor<double> binarise(const Tensor<double>&, double);
template Tensor<float> binarise(const Tensor<float>&, Generator&);
template Tensor<double> binarise(const Tensor<double>&, Generator&);
template Tensor<float> flip_bits(const Tensor<float>&, float, Generator&);
template Tensor<double> flip_bits(const Tensor<double>&, double, Generator&);

}  // namespace tapestry
