#include <tapestry/models/layers/dropout.hpp>

#include <bit>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/dropout.hpp>

namespace tapestry {
namespace {

void store(const Generator& generator, IndexTensor& out) {
  const Generator::State state = generator.state();
  for (std::size_t i = 0; i < state.size(); ++i) out.data()[i] = std::bit_cast<std::int64_t>(state[i]);
}

Generator load(const IndexTensor& from) {
  Generator::State state{};
  for (std::size_t i = 0; i < state.size(); ++i) state[i] = std::bit_cast<std::uint64_t>(from.data()[i]);
  return Generator::from_state(state);
}

}  // namespace

template <class T>
Dropout<T>::Dropout(double probability, Generator source) : p(probability), generator{empty_tensor<std::int64_t>({3})} {
  if (!(p >= 0 && p <= 1)) fail<NumericalError>("Dropout", "a probability of ", p);
  store(source, generator.value);
}

template <class T>
Var<T> Dropout<T>::forward(const Var<T>& x) const {
  if (!mode.training || p == 0) return x;
  Generator source = load(generator.value);
  const Var<T> out = dropout(x, p, source);
  store(source, generator.value);
  return out;
}

template struct Dropout<float>;
template struct Dropout<double>;

}  // namespace tapestry
