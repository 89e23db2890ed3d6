#include <string_view>

#include <tapestry/autodiff/kernels/losses.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/loss_reduction.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/special.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using detail::PairLoss;
using Int = std::int64_t;

// Elements that are evaluated before they are summed, and those that make a chunk for a thread.
constexpr Int block_elements = 2048;
constexpr Int chunk_elements = 16384;

/// A loss of each element and its target, with their sum or mean in the same pass.
template <class T>
class ElementwiseLoss final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  ElementwiseLoss(std::string_view name, PairLoss loss, T parameter, Reduction reduction)
      : name_(name), loss_(loss), parameter_(parameter), reduction_(reduction) {}
  ElementwiseLoss(Attributes& a, std::string_view name) : name_(name) { attributes(a); }
  void attributes(Attributes& a) override {
    a(loss_), a(parameter_), a(reduction_);
    Attributes::require(loss_ >= PairLoss{} && loss_ < PairLoss::count && reduction_ >= Reduction::none &&
                        reduction_ <= Reduction::sum);
  }
  bool suits(const Shapes& in) override { return in.size() == 2 && in[0] == in[1]; }
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes& in, int) const override { return detail::reduced_shape(name_, in[0], reduction_); }
  std::uint32_t needs() const override { return Needs::all_inputs; }

  void forward(Forward<T>& c) override {
    const T *x = c.input(0).data, *t = c.input(1).data;
    T* y = c.output().data;
    const Int n = c.input(0).size();
    const auto value = table().value[static_cast<int>(loss_)];
    const auto evaluate = [&](Int begin, Int end, T* out) {
      value(x + begin, t + begin, parameter_, out, static_cast<std::size_t>(end - begin));
    };
    if (reduction_ == Reduction::none)
      detail::parallel_for(n, chunk_elements, [&](Int begin, Int end) { evaluate(begin, end, y + begin); });
    else
      *y = detail::sum_of_blocks<T>(n, block_elements, evaluate) * factor(n);
  }

  void backward(Backward<T>& c) override {
    const T *x = c.input(0).data, *t = c.input(1).data;
    const Int n = c.input_shape(0).elements();
    const bool whole = reduction_ == Reduction::none;
    const T scaled = whole ? T(0) : c.gradient()[0] * factor(n), *g = whole ? c.gradient().data : &scaled;
    for (const int i : {0, 1}) {
      if (!c.wants(i)) continue;
      const Target<T> to = c.target(i);
      const auto gradient = (i == 0 ? table().gradient_x : table().gradient_t)[static_cast<int>(loss_)];
      detail::parallel_for(n, chunk_elements, [&](Int begin, Int end) {
        gradient(whole ? g + begin : g, whole ? 1 : 0, x + begin, t + begin, parameter_, to.data + begin,
                 static_cast<std::size_t>(end - begin), to.accumulate);
      });
    }
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> x = c.input(0), t = c.input(1);
    const Var<T> g = reduction_ == Reduction::none ? c.gradient() : c.gradient() * factor(x.size());
    if (c.wants(0)) c.add(0, broadcast_to(g * slope_x(x, t), x.shape()));
    if (c.wants(1)) c.add(1, broadcast_to(g * slope_t(x, t), x.shape()));
  }

 private:
  static const detail::LossKernels<T>& table() { return detail::kernels<detail::LossKernels<T>>(); }
  T factor(Int n) const { return reduction_ == Reduction::mean ? 1 / static_cast<T>(n) : T(1); }

  Var<T> slope_x(const Var<T>& x, const Var<T>& t) const {
    switch (loss_) {
      case PairLoss::binary_cross_entropy:
        return sigmoid(x) - t;
      case PairLoss::squared:
        return T(2) * (x - t);
      case PairLoss::absolute:
        return sign(x - t);
      case PairLoss::huber:
        return clamp(x - t, -parameter_, parameter_);
      default:
        return where(less(t * x, Var<T>(T(1))), -t, Var<T>(T(0)));
    }
  }
  Var<T> slope_t(const Var<T>& x, const Var<T>& t) const {
    switch (loss_) {
      case PairLoss::binary_cross_entropy:
        return -x;
      case PairLoss::hinge:
        return where(less(t * x, Var<T>(T(1))), -x, Var<T>(T(0)));
      default:
        return -slope_x(x, t);
    }
  }

  std::string_view name_;
  PairLoss loss_{};
  T parameter_ = 0;
  Reduction reduction_{};
};

template <class T>
Var<T> pair_loss(std::string_view name, PairLoss loss, const Var<T>& x, const Var<T>& t, Reduction reduction,
                 T parameter = 0) {
  const Shape shape = broadcast(name, x.shape(), t.shape());
  const auto fitted = [&](const Var<T>& v) { return v.shape() == shape ? v : broadcast_to(v, shape); };
  return record(std::make_unique<ElementwiseLoss<T>>(name, loss, parameter, reduction), fitted(x), fitted(t));
}

}  // namespace

void detail::register_elementwise_losses() {
  register_operations<ElementwiseLoss>("binary_cross_entropy_with_logits", "squared_error", "absolute_error", "huber",
                                       "hinge");
}

template <class T>
Var<T> binary_cross_entropy_with_logits(const Var<T>& logits, const Var<T>& targets, Reduction reduction) {
  return pair_loss("binary_cross_entropy_with_logits", PairLoss::binary_cross_entropy, logits, targets, reduction);
}

template <class T>
Var<T> squared_error(const Var<T>& x, const Var<T>& target, Reduction reduction) {
  return pair_loss("squared_error", PairLoss::squared, x, target, reduction);
}

template <class T>
Var<T> absolute_error(const Var<T>& x, const Var<T>& target, Reduction reduction) {
  return pair_loss("absolute_error", PairLoss::absolute, x, target, reduction);
}

template <class T>
Var<T> huber(const Var<T>& x, const Var<T>& target, std::type_identity_t<T> delta, Reduction reduction) {
  if (!(delta > 0)) fail("huber", "a delta of ", delta, " is not positive");
  return pair_loss("huber", PairLoss::huber, x, target, reduction, delta);
}

template <class T>
Var<T> hinge(const Var<T>& x, const Var<T>& targets, Reduction reduction) {
  return pair_loss("hinge", PairLoss::hinge, x, targets, reduction);
}

#define TAPESTRY_INSTANTIATE(T)                                                              \
  template Var<T> binary_cross_entropy_with_logits(const Var<T>&, const Var<T>&, Reduction); \
  template Var<T> squared_error(const Var<T>&, const Var<T>&, Reduction);                    \
  template Var<T> absolute_error(const Var<T>&, const Var<T>&, Reduction);                   \
  template Var<T> huber(const Var<T>&, const Var<T>&, std::type_identity_t<T>, Reduction);   \
  template Var<T> hinge(const Var<T>&, const Var<T>&, Reduction);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
