#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <tapestry/models/training/optimizer.hpp>

// All first-order methods, and kinds of them, with rates for small problems.

template <class T>
struct NamedMethod {
  std::string name;
  std::function<std::unique_ptr<tapestry::Optimizer<T>>(const tapestry::ParameterGroups<T>&)> make;
};

template <class Method, class T, class Options>
NamedMethod<T> named_method(std::string name, Options options) {
  return {std::move(name),
          [options](const tapestry::ParameterGroups<T>& p) { return std::make_unique<Method>(p, options); }};
}

template <class T>
std::vector<NamedMethod<T>> named_methods() {
  using namespace tapestry;
  return {named_method<Sgd<T>, T>("sgd", SgdOptions{.rate = 0.05}),
          named_method<Sgd<T>, T>("momentum", SgdOptions{.rate = 0.05, .momentum = 0.9}),
          named_method<Sgd<T>, T>("nesterov", SgdOptions{.rate = 0.05, .momentum = 0.9, .nesterov = true}),
          named_method<Adagrad<T>, T>("adagrad", AdagradOptions{.rate = 0.5}),
          named_method<Adadelta<T>, T>("adadelta", AdadeltaOptions{.rate = 5}),
          named_method<Rmsprop<T>, T>("rmsprop", RmspropOptions{.rate = 0.02, .momentum = 0.5, .centered = true}),
          named_method<Rprop<T>, T>("rprop", RpropOptions{}),
          named_method<Adam<T>, T>("adam", AdamOptions{.rate = 0.05}),
          named_method<AdamW<T>, T>("adamw", AdamWOptions{.rate = 0.05, .weight_decay = 0}),
          named_method<AmsGrad<T>, T>("amsgrad", AdamOptions{.rate = 0.05}),
          named_method<NAdam<T>, T>("nadam", NAdamOptions{.rate = 0.05}),
          named_method<RAdam<T>, T>("radam", RAdamOptions{.rate = 0.05}),
          named_method<Lamb<T>, T>("lamb", LambOptions{.rate = 0.02})};
}
