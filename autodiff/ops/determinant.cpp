#include <tapestry/autodiff/ops/determinant.hpp>

#include <array>
#include <cmath>
#include <limits>

#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/lu_factors.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/ops/solve.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using detail::MatrixBatch;
using detail::square_batch;

template <class T>
class SLogDet final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  /// @param positive whether other determinants than positive ones are errors
  explicit SLogDet(bool positive) : positive_(positive) {}
  explicit SLogDet(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(positive_); }
  std::string_view name() const override { return positive_ ? "logdet" : "slogdet"; }
  int outputs() const override { return 2; }
  Shape shape(const Shapes& in, int) const override {
    square_batch(name(), in[0]);
    return Shape(in[0].begin(), in[0].end() - 2);
  }
  std::uint32_t needs() const override { return Needs::input(0); }

  void forward(Forward<T>& c) override {
    const MatrixBatch batch = square_batch(name(), c.input(0).shape);
    const Int n = batch.rows;
    factors_.factor(batch, c.input(0).data);
    for (Int i = 0; i < batch.count; ++i) {
      const T* lu = factors_.matrix(i);
      double sum = 0;
      bool negative = false;
      for (Int j = 0; j < n; ++j) {
        const double pivot = static_cast<double>(lu[j * (n + 1)]);
        sum += std::log(std::abs(pivot));
        negative ^= (pivot < 0) != (factors_.exchanges(i)[j] != j + 1);
      }
      const bool singular = factors_.singular[static_cast<std::size_t>(i)] != 0;
      if (positive_ && (singular || negative))
        fail<NumericalError>(name(), detail::which_matrix(batch, i),
                             singular ? " is singular" : " has a negative determinant");
      c.output(0)[i] = singular ? T(0) : negative ? T(-1) : T(1);
      c.output(1)[i] = singular ? -std::numeric_limits<T>::infinity() : static_cast<T>(sum);
    }
  }

  // The gradient of log |det a| is a^-T: Giles 2008, "Collected matrix derivative results".
  void backward(Backward<T>& c) override {
    factors_.check(name());
    const Target<T> out = c.target(0);
    if (!c.has_gradient(1)) {
      if (!out.accumulate) std::fill_n(out.data, out.size(), T(0));
      return;
    }
    const auto g = c.gradient(1);
    const Int n = factors_.batch.rows;
    detail::for_matrices(factors_.batch.count, n, [&](Int item) {
      const detail::Scratch<T> inverted(static_cast<std::size_t>(n * n));
      factors_.invert(item, inverted.data());
      T* to = out.data + item * n * n;
      for (Int i = 0; i < n; ++i)
        for (Int j = 0; j < n; ++j) {
          const T value = g[item] * inverted.data()[j * n + i];
          to[i * n + j] = out.accumulate ? to[i * n + j] + value : value;
        }
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> g = detail::as_column(detail::as_column(c.gradient(1)));
    c.add(0, g * detail::adjoint(inverse(c.input(0))));
  }

 private:
  bool positive_ = false;
  detail::LuFactors<T> factors_;
};

}  // namespace

void detail::register_determinant() {
  register_operations<SLogDet>("slogdet", "logdet");
}

template <class T>
SignLogDet<T> slogdet(const Var<T>& a) {
  const std::array<Var<T>, 1> inputs{a};
  auto out = apply_all<T>(std::make_unique<SLogDet<T>>(false), inputs);
  return {out[0].detach(), out[1]};
}

template <class T>
Var<T> logdet(const Var<T>& a) {
  const std::array<Var<T>, 1> inputs{a};
  return apply_all<T>(std::make_unique<SLogDet<T>>(true), inputs)[1];
}

#define TAPESTRY_INSTANTIATE(T)                  \
  template SignLogDet<T> slogdet(const Var<T>&); \
  template Var<T> logdet(const Var<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
