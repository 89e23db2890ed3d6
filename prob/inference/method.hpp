#pragma once

#include <concepts>
#include <memory>
#include <string>
#include <utility>

#include <tapestry/prob/factor_graph.hpp>
#include <tapestry/prob/inference/gradient_mode.hpp>
#include <tapestry/prob/inference/junction_tree.hpp>
#include <tapestry/prob/inference/result.hpp>

namespace tapestry {

/// Any inference method with its options, as a value: JunctionTree{}, BeliefPropagation{.damping = .3}, or a type of
/// your own for which infer(graph, options) is found beside it.
class InferenceMethod {
 public:
  template <class Options>
  requires(!std::same_as<Options, InferenceMethod>) InferenceMethod(Options options)  // NOLINT: a conversion
      : InferenceMethod(default_name<Options>(), std::move(options)) {}
  /// Under a name of your own, which tables show.
  template <class Options>
  InferenceMethod(std::string name, Options options)
      : name_(std::move(name)), model_(std::make_shared<const Model<Options>>(std::move(options))) {}

  const std::string& name() const { return name_; }
  template <class T>
  InferenceResult<T> operator()(const FactorGraph<T>& graph) const {
    return model_->run(graph);
  }
  /// The same for a probable assignment (JunctionTree::maximum, temperature 0), without gradients.
  template <class T>
  InferenceResult<T> decode(const FactorGraph<T>& graph) const {
    return model_->decode(graph);
  }

 private:
  template <class Options>
  static std::string default_name() {
    if constexpr (requires { Options::name; })
      return Options::name;
    else
      return "inference";
  }
  struct Base {
    virtual ~Base() = default;
    virtual InferenceResult<float> run(const FactorGraph<float>& graph) const = 0;
    virtual InferenceResult<double> run(const FactorGraph<double>& graph) const = 0;
    virtual InferenceResult<float> decode(const FactorGraph<float>& graph) const = 0;
    virtual InferenceResult<double> decode(const FactorGraph<double>& graph) const = 0;
  };
  template <class Options>
  struct Model final : Base {
    explicit Model(Options given) : options(given), decoding(std::move(given)) {
      if constexpr (requires { decoding.maximum = true; }) decoding.maximum = true;
      if constexpr (requires { decoding.temperature = 0; }) decoding.temperature = 0;
      if constexpr (requires { decoding.gradient = GradientMode::likelihood; })
        decoding.gradient = GradientMode::likelihood;
    }
    InferenceResult<float> run(const FactorGraph<float>& graph) const override { return infer(graph, options); }
    InferenceResult<double> run(const FactorGraph<double>& graph) const override { return infer(graph, options); }
    InferenceResult<float> decode(const FactorGraph<float>& graph) const override { return infer(graph, decoding); }
    InferenceResult<double> decode(const FactorGraph<double>& graph) const override { return infer(graph, decoding); }
    Options options, decoding;
  };

  std::string name_;
  std::shared_ptr<const Base> model_;
};

template <class T, std::same_as<InferenceMethod> Method>
InferenceResult<T> infer(const FactorGraph<T>& graph, const Method& method) {
  return method(graph);
}

}  // namespace tapestry
