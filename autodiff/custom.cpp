#include <tapestry/autodiff/custom.hpp>

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace detail {
namespace {

template <class T>
TensorView<const T> view_of(Array<const T> array) {
  return adapt<const T>(array.data, array.shape, StorageRef());
}

template <class T>
class Custom final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  Custom(ErasedCustom<T> rules, std::vector<Tensor<T>> first) : rules_(std::move(rules)), first_(std::move(first)) {
    for (const Tensor<T>& output : first_) shapes_.push_back(shape_of(output));
  }
  std::string_view name() const override { return rules_.name; }
  int outputs() const override { return static_cast<int>(shapes_.size()); }
  Shape shape(const Shapes&, int output) const override { return shapes_[static_cast<std::size_t>(output)]; }

  void forward(Forward<T>& c) override {
    std::vector<Tensor<T>> results = std::exchange(first_, {});
    if (results.empty()) {
      TensorViews<T> inputs;
      for (int i = 0; i < c.inputs(); ++i) inputs.push_back(view_of(c.input(i)));
      results = rules_.forward(inputs);
    }
    for (std::size_t k = 0; k < shapes_.size(); ++k) {
      if (shape_of(results[k]) != shapes_[k])
        fail<ShapeError>(name(), "output ", k, " has shape ", shape_of(results[k]), ", at first ", shapes_[k]);
      std::copy_n(results[k].data(), results[k].size(), c.output(static_cast<int>(k)).data);
    }
  }

  void backward(Backward<T>& c) override {
    if (!rules_.vjp) {
      Operation<T>::backward(c);
      return;
    }
    TensorViews<T> inputs, results, gradients;
    for (int i = 0; i < c.inputs(); ++i) inputs.push_back(view_of(c.input(i)));
    for (int k = 0; k < outputs(); ++k) {
      results.push_back(view_of(c.output(k)));
      gradients.push_back(view_of(c.gradient(k)));
    }
    const std::vector<Tensor<T>> found = rules_.vjp(inputs, results, gradients);
    if (found.size() != inputs.size())
      fail<ShapeError>(name(), found.size(), " gradients for ", inputs.size(), " inputs");
    for (int i = 0; i < c.inputs(); ++i) {
      const Tensor<T>& g = found[static_cast<std::size_t>(i)];
      if (!c.wants(i)) continue;
      if (shape_of(g) != c.input_shape(i))
        fail<ShapeError>(name(), "the gradient of input ", i, " has shape ", shape_of(g), ", the input ",
                         c.input_shape(i));
      T* out = c.add_to(i);
      for (std::size_t j = 0; j < g.size(); ++j) out[j] += g.data()[j];
    }
  }

  void vjp(Vjp<T>& c) override {
    if (!rules_.vjp_in_operations) {
      Operation<T>::vjp(c);
      return;
    }
    std::vector<Var<T>> inputs, results, gradients;
    for (int i = 0; i < c.inputs(); ++i) inputs.push_back(c.input(i));
    for (int k = 0; k < outputs(); ++k) {
      results.push_back(c.output(k));
      gradients.push_back(c.gradient(k));
    }
    const std::vector<Var<T>> found = rules_.vjp_in_operations(inputs, results, gradients);
    if (found.size() != inputs.size())
      fail<ShapeError>(name(), found.size(), " gradients for ", inputs.size(), " inputs");
    for (int i = 0; i < c.inputs(); ++i)
      if (c.wants(i)) c.add(i, found[static_cast<std::size_t>(i)]);
  }

  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    if (!rules_.jvp) return {};
    std::vector<Var<T>> inputs, tangents;
    for (int i = 0; i < c.inputs(); ++i) {
      inputs.push_back(c.input(i));
      tangents.push_back(c.tangent(i));
    }
    return rules_.jvp(inputs, tangents);
  }

 private:
  ErasedCustom<T> rules_;
  std::vector<Tensor<T>> first_;
  std::vector<Shape> shapes_;
};

}  // namespace

template <class T>
std::vector<Var<T>> apply_custom(ErasedCustom<T> operation, const std::vector<Var<T>>& inputs) {
  TensorViews<T> views;
  for (const Var<T>& x : inputs)
    views.push_back(
        detail::adapt<const T>(x.reference()->template data<const T>(), x.shape(), StorageRef::share(x.node()->value)));
  std::vector<Tensor<T>> first = operation.forward(views);
  return apply_all<T>(std::make_unique<Custom<T>>(std::move(operation), std::move(first)), inputs);
}

template std::vector<Var<float>> apply_custom(ErasedCustom<float>, const std::vector<Var<float>>&);
template std::vector<Var<double>> apply_custom(ErasedCustom<double>, const std::vector<Var<double>>&);

namespace {

template <class T>
class WithGradient final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  void attributes(Attributes&) override {}
  bool suits(const Shapes& in) override { return in.size() == 2; }
  std::string_view name() const override { return "with_gradient"; }
  Shape shape(const Shapes& in, int) const override {
    if (in[0] != in[1]) fail<ShapeError>("with_gradient", "value of shape ", in[0], ", surrogate of shape ", in[1]);
    return in[0];
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::elementwise; }
  bool shares_input() const override { return true; }
  void forward(Forward<T>& c) override { std::copy_n(c.input(0).data, c.output().size(), c.output().data); }
  void backward(Backward<T>& c) override {
    if (c.wants(1)) c.pass(1);
  }
  void vjp(Vjp<T>& c) override {
    if (c.wants(1)) c.add(1, c.gradient());
  }
};

}  // namespace

void register_with_gradient() {
  register_operations<WithGradient>("with_gradient");
}

}  // namespace detail

template <class T>
Var<T> with_gradient(const Var<T>& value, const Var<T>& surrogate) {
  static detail::OperationBase* const operation = new detail::WithGradient<T>;
  return detail::apply_shared(operation, value, surrogate);
}

template <class T>
T clip_gradient_norm(const std::vector<Var<T>>& variables, T max_norm) {
  if (!(max_norm >= 0)) fail<NumericalError>("clip_gradient_norm", "a largest norm of ", max_norm);
  double squares = 0;
  for (const Var<T>& x : variables)
    if (x.has_gradient())
      for (const T g : x.gradient()) squares += static_cast<double>(g) * static_cast<double>(g);
  const T norm = static_cast<T>(std::sqrt(squares));
  if (norm > max_norm)
    for (Var<T> x : variables)
      if (x.has_gradient())
        for (T& g : x.mutable_gradient()) g *= max_norm / norm;
  return norm;
}

template <class T>
void clip_gradient_value(const std::vector<Var<T>>& variables, T limit) {
  if (!(limit >= 0)) fail<NumericalError>("clip_gradient_value", "a limit of ", limit);
  for (Var<T> x : variables)
    if (x.has_gradient())
      for (T& g : x.mutable_gradient()) g = std::clamp(g, -limit, limit);
}

#define TAPESTRY_INSTANTIATE(T)                                 \
  template Var<T> with_gradient(const Var<T>&, const Var<T>&);  \
  template T clip_gradient_norm(const std::vector<Var<T>>&, T); \
  template void clip_gradient_value(const std::vector<Var<T>>&, T);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
