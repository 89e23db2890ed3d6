#include <tapestry/autodiff/ops/binary_operation.hpp>

#include <algorithm>
#include <vector>

#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/ops/broadcast_plan.hpp>
#include <tapestry/autodiff/ops/gradient_runs.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

template <class T>
class BinaryOperation final : public Operation<T> {
 public:
  explicit BinaryOperation(const BinaryRule<T>& rule) : rule_(rule) {}

  std::string_view name() const override { return rule_.name; }
  Shape shape(const Shapes& in, int) const override {
    return in[0] == in[1] ? in[0] : broadcast(rule_.name, in[0], in[1]);
  }
  std::uint32_t needs() const override { return rule_.needs; }
  Linearity linearity() const override { return rule_.linearity; }
  bool elementwise_form(ElementwiseForm& form) const override {
    form = {ElementwiseForm::Kind::binary, index()};
    return true;
  }

  bool takes_uniform_gradient() const override { return true; }

  void forward(Forward<T>& c) override {
    const auto a = c.input(0), b = c.input(1);
    const auto y = c.output();
    const auto kernel = table().binary[index()];
    if (a.shape == b.shape) {
      parallel_for(y.size(), grain, [&](std::int64_t begin, std::int64_t end) {
        kernel(a.data + begin, 1, b.data + begin, 1, y.data + begin, static_cast<std::size_t>(end - begin));
      });
      return;
    }
    for_runs(a.shape, b.shape, y.shape,
             [&](auto offset_a, auto stride_a, auto offset_b, auto stride_b, auto out, auto n) {
               kernel(a.data + offset_a, stride_a, b.data + offset_b, stride_b, y.data + out, n);
             });
  }

  void backward(Backward<T>& c) override {
    for (const int i : {0, 1}) {
      if (!c.wants(i)) continue;
      if (rule_.kernel == Binary::add || (rule_.kernel == Binary::subtract && i == 0)) {
        c.pass_reduced(i);
        continue;
      }
      if (c.input_shape(0) == c.input_shape(1)) {
        same_shape(c, i);
        continue;
      }
      const auto g = c.gradient();
      if (c.input_shape(i) == g.shape) {
        const Target<T> target = c.target(i);
        gradient(c, i, g, target.data, target.accumulate);
      } else {
        const Scratch<T> full(static_cast<std::size_t>(g.size()));
        gradient(c, i, g, full.data(), false);
        c.add_reduced(i, full.data());
      }
    }
  }

  void vjp(Vjp<T>& c) override { rule_.vjp(c); }

 private:
  static const ElementwiseKernels<T>& table() { return kernels<ElementwiseKernels<T>>(); }
  int index() const { return static_cast<int>(rule_.kernel); }

  // Runs of a broadcast, long ones in pieces over the threads.
  template <class F>
  static void for_runs(const Shape& a, const Shape& b, const Shape& out, F f) {
    const BroadcastPlan plan(a, b, out);
    plan.for_each_run([&](std::int64_t offset_a, std::size_t stride_a, std::int64_t offset_b, std::size_t stride_b,
                          std::int64_t offset, std::int64_t length) {
      parallel_for(length, grain, [&](std::int64_t begin, std::int64_t end) {
        f(offset_a + static_cast<std::int64_t>(stride_a) * begin, stride_a,
          offset_b + static_cast<std::int64_t>(stride_b) * begin, stride_b, offset + begin,
          static_cast<std::size_t>(end - begin));
      });
    });
  }

  auto backward_kernel(int i) const {
    return i == 0 ? table().binary_backward_a[index()] : table().binary_backward_b[index()];
  }

  void same_shape(Backward<T>& c, int i) const {
    const std::int64_t n = c.input_shape(i).elements();
    const GradientRuns<T> gradient(c, n);
    const auto kernel = backward_kernel(i);
    const T* a = c.input_data(0);
    const T* b = c.input_data(1);
    const T* y = c.output_data();
    const Target<T> to = c.target(i);
    parallel_for(n, grain, [&](std::int64_t first, std::int64_t last) {
      gradient.for_each(first, last, [&](const T* g, std::int64_t begin, std::int64_t end) {
        kernel(g, shifted(a, begin), 1, shifted(b, begin), 1, shifted(y, begin), to.data + begin,
               static_cast<std::size_t>(end - begin), to.accumulate);
      });
    });
  }

  void gradient(Backward<T>& c, int i, Array<const T> g, T* out, bool accumulate) const {
    const auto kernel = backward_kernel(i);
    const T* a = c.input_data(0);
    const T* b = c.input_data(1);
    const T* y = c.output_data();
    for_runs(c.input_shape(0), c.input_shape(1), g.shape,
             [&](auto offset_a, auto stride_a, auto offset_b, auto stride_b, auto offset, auto n) {
               kernel(g.data + offset, shifted(a, offset_a), stride_a, shifted(b, offset_b), stride_b,
                      shifted(y, offset), out + offset, n, accumulate);
             });
  }

  static const T* shifted(const T* p, std::int64_t n) { return p == nullptr ? nullptr : p + n; }

  const BinaryRule<T>& rule_;
};

}  // namespace

template <class T>
OperationBase* make_binary(const BinaryRule<T>& rule) {
  return new BinaryOperation<T>(rule);
}

template <class T>
OperationBase* binary_of_kernel(Binary kernel) {
  static const std::vector<BinaryRule<T>>& rules = *[] {
    auto* all = new std::vector<BinaryRule<T>>;
    for (int i = 0; i < static_cast<int>(Binary::count); ++i) {
      const auto f = static_cast<Binary>(i);
      all->push_back({"binary", f,
                      (backward_reads_inputs(f) ? Needs::all_inputs : Needs::nothing) |
                          (backward_reads_output(f) ? Needs::output : Needs::nothing),
                      Linearity::general, [](Vjp<T>&) {
                        fail<GraphError>("program", "what is loaded has no derivatives of its gradient");
                      }});
    }
    return all;
  }();
  return make_binary(rules[static_cast<std::size_t>(kernel)]);
}

template OperationBase* binary_of_kernel<float>(Binary);
template OperationBase* binary_of_kernel<double>(Binary);
template OperationBase* make_binary(const BinaryRule<float>&);
template OperationBase* make_binary(const BinaryRule<double>&);

}  // namespace tapestry::detail
