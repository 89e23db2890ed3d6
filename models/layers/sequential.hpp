#pragma once

#include <tuple>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/graph/module.hpp>

namespace tapestry {

namespace detail {

/// A layer has forward(); a function, such as a lambda around an operation, is called.
template <class Layer, class Input>
auto apply_layer(const Layer& layer, const Input& x) {
  if constexpr (requires { layer.forward(x); })
    return layer.forward(x);
  else
    return layer(x);
}

}  // namespace detail

/// Layers and functions one after the other:
///
///     Sequential net(Conv2d<float>(1, 8, 5, generator), [](const auto& x) { return relu(x); }, MaxPool2d{2},
///     Flatten{});
template <class... Layers>
struct Sequential {
  Sequential() = default;
  explicit Sequential(Layers... parts) : layers(std::move(parts)...) {}
  template <class Input>
  auto forward(const Input& x) const {
    return from<0>(x);
  }
  void members(Members& m) { visit(m, std::index_sequence_for<Layers...>()); }

  std::tuple<Layers...> layers;

 private:
  template <std::size_t I, class Input>
  auto from(const Input& x) const {
    if constexpr (I == sizeof...(Layers))
      return x;
    else
      return from<I + 1>(detail::apply_layer(std::get<I>(layers), x));
  }
  template <std::size_t... I>
  void visit(Members& m, std::index_sequence<I...>) {
    (visit_one(m, std::to_string(I), std::get<I>(layers)), ...);
  }
  template <class Layer>
  static void visit_one(Members& m, const std::string& name, Layer& layer) {
    if constexpr (Module<Layer>) m(name, layer);
  }
};

/// x + layer(x) (He et al. 2016).
template <class Layer>
struct Residual {
  Residual() = default;
  explicit Residual(Layer inner) : layer(std::move(inner)) {}
  template <class Input>
  Input forward(const Input& x) const {
    return x + detail::apply_layer(layer, x);
  }
  void members(Members& m) {
    if constexpr (Module<Layer>) m("layer", layer);
  }

  Layer layer;
};

/// [batch, ...] to [batch, all else].
struct Flatten {
  template <class T>
  Var<T> forward(const Var<T>& x) const {
    return reshape(x, {x.extent(0), x.size() / std::max<std::int64_t>(x.extent(0), 1)});
  }
};

}  // namespace tapestry
