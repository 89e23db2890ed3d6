#include <tapestry/autodiff/ops/dropout.hpp>

#include <algorithm>
#include <cmath>
#include <memory>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/dropout.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;

// Elements that a thread draws at once: a multiple of the four words of a block.
constexpr Int chunk_elements = 1 << 13;

/// What was kept in the latest evaluation (a byte for each element), for the operation and its derivatives.
using Mask = detail::StorageRef;

template <class T>
const detail::DropoutKernels<T>& table() {
  return detail::kernels<detail::DropoutKernels<T>>();
}

template <class T>
void select(const Mask& mask, T scale, const T* x, T* out, bool accumulate) {
  const auto* kept = mask.as<const std::uint8_t>();
  detail::parallel_for(static_cast<Int>(mask->bytes), chunk_elements, [&](Int begin, Int end) {
    table<T>().select(kept + begin, scale, x + begin, out + begin, end - begin, accumulate);
  });
}

/// The derivative of a dropout, which is its own transpose.
template <class T>
class SelectKept final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  SelectKept(Mask mask, T scale) : mask_(std::move(mask)), scale_(scale) {}
  explicit SelectKept(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a.computed(mask_), a(scale_); }
  bool suits(const Shapes& in) override { return static_cast<Int>(mask_->bytes) == in[0].elements(); }
  std::string_view name() const override { return "dropout_gradient"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override { select(mask_, scale_, c.input(0).data, c.output().data, false); }
  void backward(Backward<T>& c) override {
    const Target<T> to = c.target(0);
    select(mask_, scale_, c.gradient().data, to.data, to.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, record(std::make_unique<SelectKept>(mask_, scale_), c.gradient())); }

 private:
  Mask mask_;
  T scale_ = 1;
};

template <class T>
class Dropout final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  Dropout(double p, Generator generator, Int n)
      : p_(p), scale_(scale(p)), generator_(generator), mask_(detail::new_storage(static_cast<std::size_t>(n))) {}
  explicit Dropout(Attributes& a) : generator_(0) {
    attributes(a);
    scale_ = scale(p_);
  }
  void attributes(Attributes& a) override {
    a(p_), a(generator_), a.state(mask_);
    Attributes::require(p_ >= 0 && p_ <= 1);
  }
  bool suits(const Shapes& in) override { return static_cast<Int>(mask_->bytes) == in[0].elements(); }
  std::string_view name() const override { return "dropout"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::nothing; }
  bool random() const override { return true; }

  void forward(Forward<T>& c) override {
    const Int n = c.output().size();
    auto* kept = mask_.as<std::uint8_t>();
    if (p_ >= 1) {
      std::fill_n(kept, n, std::uint8_t{0});
      std::fill_n(c.output().data, n, T(0));
      return;
    }
    const auto threshold = static_cast<std::uint32_t>(std::min(std::round(p_ * 0x1p32), 0x1p32 - 1));
    const Generator::Reserved reserved = generator_.reserve(static_cast<std::uint64_t>((n + 3) / 4));
    const T* x = c.input(0).data;
    detail::parallel_for(n, chunk_elements, [&](Int begin, Int end) {
      const auto blocks = static_cast<std::size_t>((end - begin + 3) / 4);
      const detail::Scratch<std::uint32_t> words(4 * blocks);
      detail::kernels<detail::PhiloxKernels>().words(
          reserved.stream, reserved.position + static_cast<std::uint64_t>(begin / 4), words.data(), blocks);
      table<T>().drop(words.data(), threshold, x + begin, scale_, kept + begin, c.output().data + begin, end - begin);
    });
  }
  void backward(Backward<T>& c) override {
    const Target<T> to = c.target(0);
    select(mask_, scale_, c.gradient().data, to.data, to.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, kept(c.gradient())); }
  std::vector<Var<T>> jvp(Jvp<T>& c) override { return {kept(c.tangent(0))}; }

 private:
  static T scale(double p) { return p < 1 ? static_cast<T>(1 / (1 - p)) : T(0); }
  Var<T> kept(const Var<T>& x) const { return record(std::make_unique<SelectKept<T>>(mask_, scale_), x); }

  double p_ = 0;
  T scale_ = 1;
  Generator generator_;
  Mask mask_;
};

}  // namespace

void detail::register_dropout() {
  register_operations<SelectKept>("dropout_gradient");
  register_operations<Dropout>("dropout");
}

template <class T>
Var<T> dropout(const Var<T>& x, double p, Generator& generator) {
  if (!(p >= 0 && p <= 1)) fail<NumericalError>("dropout", "the probability ", p, " is not within 0 and 1");
  if (p == 0) return x;
  return record(std::make_unique<Dropout<T>>(p, generator.split(), x.size()), x);
}

template Var<float> dropout(const Var<float>&, double, Generator&);
template Var<double> dropout(const Var<double>&, double, Generator&);

}  // namespace tapestry
