#include <tapestry/autodiff/ops/unary_operation.hpp>

#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/ops/gradient_runs.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 16384;

template <class T>
class UnaryOperation final : public Operation<T> {
 public:
  explicit UnaryOperation(const UnaryRule<T>& rule) : rule_(rule) {}

  std::string_view name() const override { return rule_.name; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return rule_.needs; }
  Linearity linearity() const override { return Linearity::elementwise; }
  bool elementwise_form(ElementwiseForm& form) const override {
    form = {ElementwiseForm::Kind::unary, index()};
    return true;
  }

  bool takes_uniform_gradient() const override { return true; }

  void forward(Forward<T>& c) override {
    const auto kernel = table().unary[index()];
    const T* x = c.input(0).data;
    T* y = c.output().data;
    parallel_for(c.output().size(), grain, [&](std::int64_t begin, std::int64_t end) {
      kernel(x + begin, y + begin, static_cast<std::size_t>(end - begin));
    });
  }

  void backward(Backward<T>& c) override {
    const auto kernel = table().unary_backward[index()];
    const std::int64_t n = c.input_shape(0).elements();
    const GradientRuns<T> gradient(c, n);
    const T* x = c.input_data(0);
    const T* y = c.output_data();
    const Target<T> out = c.target(0);
    parallel_for(n, grain, [&](std::int64_t first, std::int64_t last) {
      gradient.for_each(first, last, [&](const T* g, std::int64_t begin, std::int64_t end) {
        kernel(g, x == nullptr ? nullptr : x + begin, y == nullptr ? nullptr : y + begin, out.data + begin,
               static_cast<std::size_t>(end - begin), out.accumulate);
      });
    });
  }

  void vjp(Vjp<T>& c) override { rule_.vjp(c); }

 private:
  static const ElementwiseKernels<T>& table() { return kernels<ElementwiseKernels<T>>(); }
  int index() const { return static_cast<int>(rule_.kernel); }

  const UnaryRule<T>& rule_;
};

}  // namespace

template <class T>
OperationBase* make_unary(const UnaryRule<T>& rule) {
  return new UnaryOperation<T>(rule);
}

template OperationBase* make_unary(const UnaryRule<float>&);
template OperationBase* make_unary(const UnaryRule<double>&);

}  // namespace tapestry::detail
