#include <tapestry/models/networks/mlp.hpp>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

template <class T>
Mlp<T>::Mlp(const std::vector<std::int64_t>& sizes, Generator& generator, const MlpOptions& options) {
  if (sizes.size() < 2) fail<ShapeError>("Mlp", sizes.size(), " sizes: an input and an output are needed");
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    const bool last = i + 2 == sizes.size();
    layers.emplace_back(sizes[i], sizes[i + 1], generator,
                        LinearOptions{.activation = last ? Activation::none : options.activation});
  }
  dropout = Dropout<T>(options.dropout, generator.split());
  input_dropout = Dropout<T>(options.input_dropout, generator.split());
}

template <class T>
Var<T> Mlp<T>::forward(const Var<T>& x) const {
  Var<T> y = input_dropout.forward(x);
  for (std::size_t i = 0; i < layers.size(); ++i) y = layers[i].forward(i == 0 ? y : dropout.forward(y));
  return y;
}

template class Mlp<float>;
template class Mlp<double>;

}  // namespace tapestry
