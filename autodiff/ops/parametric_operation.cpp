#include <tapestry/autodiff/ops/parametric_operation.hpp>

#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 16384;

template <class T>
class ParametricOperation final : public Operation<T> {
 public:
  ParametricOperation(const ParametricRule<T>& rule, T p, T q) : rule_(rule), p_(p), q_(q) {}

  std::string_view name() const override { return rule_.name; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::input(0); }
  Linearity linearity() const override { return Linearity::elementwise; }
  bool elementwise_form(ElementwiseForm& form) const override {
    form = {ElementwiseForm::Kind::parametric, static_cast<int>(rule_.kernel), static_cast<double>(p_),
            static_cast<double>(q_)};
    return true;
  }

  void forward(Forward<T>& c) override {
    const auto kernel = kernels<ElementwiseKernels<T>>().parametric[static_cast<int>(rule_.kernel)];
    const T* x = c.input(0).data;
    T* y = c.output().data;
    parallel_for(c.output().size(), grain, [&](std::int64_t begin, std::int64_t end) {
      kernel(x + begin, p_, q_, y + begin, static_cast<std::size_t>(end - begin));
    });
  }

  void backward(Backward<T>& c) override {
    const auto kernel = kernels<ElementwiseKernels<T>>().parametric_backward[static_cast<int>(rule_.kernel)];
    const auto g = c.gradient();
    const T* x = c.input(0).data;
    const Target<T> out = c.target(0);
    parallel_for(g.size(), grain, [&](std::int64_t begin, std::int64_t end) {
      kernel(g.data + begin, x + begin, p_, q_, out.data + begin, static_cast<std::size_t>(end - begin),
             out.accumulate);
    });
  }

  void vjp(Vjp<T>& c) override { rule_.vjp(c, p_, q_); }

 private:
  const ParametricRule<T>& rule_;
  T p_, q_;
};

}  // namespace

template <class T>
Var<T> parametric(const ParametricRule<T>& rule, const Var<T>& x, T p, T q) {
  return record(std::make_unique<ParametricOperation<T>>(rule, p, q), x);
}

template Var<float> parametric(const ParametricRule<float>&, const Var<float>&, float, float);
template Var<double> parametric(const ParametricRule<double>&, const Var<double>&, double, double);

}  // namespace tapestry::detail
