// A layer of one's own: radial basis functions whose widths stay positive, checked against finite differences, trained,
// frozen in part, saved and loaded.
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include <tapestry/tapestry.hpp>

using namespace tapestry;

namespace {

// exp(-|x - centre|^2 / (2 width^2)) for each centre: [n, in] to [n, units]. Nothing but members and a forward().
template <class T>
struct RadialBasis {
  Var<T> centres;         // [units, in]
  Constrained<T> widths;  // [units]

  RadialBasis(std::int64_t in, std::int64_t units, Generator& generator)
      : centres(initializers::uniform(-3, 3).parameter<T>({units, in}, generator)),
        widths(Var<T>::filled({units}, T(0), true), bijections::positive(bijections::Positive::softplus)) {}
  void members(Members& m) { m("centres", centres)("widths", widths); }

  Var<T> forward(const Var<T>& x) const {
    const Var<T> squares = sum(square(expand_dims(x, 1) - centres), {2});
    return exp(squares / (square(widths.value()) * T(-2)));
  }
};

// Layers in a network are members like any others.
template <class T>
struct Network {
  RadialBasis<T> basis;
  Linear<T> last;
  explicit Network(Generator& generator) : basis(1, 12, generator), last(12, 1, generator) {}
  void members(Members& m) { m("basis", basis)("last", last); }
  Var<T> forward(const Var<T>& x) const { return last.forward(basis.forward(x)); }
};

}  // namespace

int main() {
  Generator generator(2);
  const RadialBasis<double> layer(2, 3, generator);
  check_gradients(
      [&](const std::vector<Var<double>>& v) {
        RadialBasis<double> at = layer;
        at.centres = v[1];
        return sum(at.forward(v[0]));
      },
      {Var<double>(generator.normal<double>({4, 2})), layer.centres}, {.order = 2, .name = "RadialBasis"});
  std::puts("gradients agree with finite differences to second order");

  Network<float> network(generator);
  print_summary(network, std::cout);
  Tensor<float> x = empty_tensor<float>({200, 1}), y = empty_tensor<float>({200, 1});
  for (std::size_t i = 0; i < 200; ++i) {
    x(i, 0) = -3 + 6 * static_cast<float>(i) / 199;
    y(i, 0) = std::sin(2 * x(i, 0)) + 0.3f * x(i, 0);
  }
  const Var<float> inputs(x), targets(y);
  const auto train_for = [&](int steps) {
    Adam<float> adam(network, {.rate = 0.02});
    float loss = 0;
    for (int i = 0; i < steps; ++i) {
      const Var<float> error = mean(square(network.forward(inputs) - targets));
      adam.zero_gradients();
      error.backward();
      adam.step();
      loss = error.item();
    }
    return static_cast<double>(loss);
  };
  freeze(network, "basis");
  std::printf("error with the first centres and widths %.5f\n", train_for(300));
  unfreeze(network);
  const double error = train_for(700);
  std::printf("error with those that were learned      %.5f\n", error);

  const auto path = std::filesystem::temp_directory_path() / "tapestry_own_layer.safetensors";
  save(path, network);
  Network<float> other(generator);
  load(path, other);
  std::filesystem::remove(path);
  const bool same = other.forward(inputs).tensor() == network.forward(inputs).tensor();
  std::printf("the network from the file gives %s\n", same ? "the same" : "something else");
  return same && error < 1e-3 ? 0 : 1;
}
