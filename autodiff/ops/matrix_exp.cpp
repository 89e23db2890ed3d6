#include <tapestry/autodiff/ops/matrix_exp.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <type_traits>
#include <vector>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/lapack.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/matrix_parts.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using detail::MatrixBatch;
using detail::square_batch;

// Degrees of the approximants with the largest norm for which they are exact to rounding (Higham 2005, table 2.3 for
// double; single precision as in its section 3), and their coefficients.
struct Approximant {
  double norm;
  std::array<double, 14> coefficients;
  int degree;
};
constexpr Approximant double_approximants[] = {
    {1.495585217958292e-2, {120, 60, 12, 1}, 3},
    {2.539398330063230e-1, {30240, 15120, 3360, 420, 30, 1}, 5},
    {9.504178996162932e-1, {17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1}, 7},
    {2.097847961257068, {17643225600, 8821612800, 2075673600, 302702400, 30270240, 2162160, 110880, 3960, 90, 1}, 9},
    {5.371920351148152,
     {64764752532480000., 32382376266240000., 7771770303897600., 1187353796428800., 129060195264000., 10559470521600.,
      670442572800., 33522128640., 1323241920., 40840800., 960960., 16380., 182., 1.},
     13}};
constexpr Approximant float_approximants[] = {
    {4.258730016922831e-1, {120, 60, 12, 1}, 3},
    {1.880152698533769, {30240, 15120, 3360, 420, 30, 1}, 5},
    {3.925724783138660, {17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1}, 7}};

template <class T>
std::span<const Approximant> approximants() {
  if constexpr (std::is_same_v<T, float>)
    return float_approximants;
  else
    return double_approximants;
}

template <class T>
double one_norm(Int n, const T* a) {
  detail::PooledVector<double> columns(static_cast<std::size_t>(n), 0.0);
  for (Int i = 0; i < n; ++i)
    for (Int j = 0; j < n; ++j) columns[static_cast<std::size_t>(j)] += std::abs(static_cast<double>(a[i * n + j]));
  double largest = 0;
  for (const double sum : columns) largest = std::isnan(sum) ? sum : std::max(largest, sum);
  return largest;
}

template <class T>
void multiply(Int n, const T* a, const T* b, T* c) {
  detail::gemm(false, false, n, n, n, T(1), a, n, b, n, T(0), c, n);
}

// out (+)= sum over the coefficients c_k, k = first, first + 2, ... of c_k times powers[k / 2], powers of a^2.
template <class T>
void polynomial(Int n, std::span<const T* const> powers, const std::array<double, 14>& c, int degree, int first,
                T* out) {
  std::fill_n(out, n * n, T(0));
  for (int k = first; k <= degree; k += 2) {
    const T factor = static_cast<T>(c[static_cast<std::size_t>(k)]);
    if (k < 2) {
      for (Int i = 0; i < n; ++i) out[i * (n + 1)] += factor;
      continue;
    }
    const T* power = powers[static_cast<std::size_t>(k / 2 - 1)];
    for (Int i = 0; i < n * n; ++i) out[i] += factor * power[i];
  }
}

template <class T>
void exponential(Int n, const T* a, double norm, T* out) {
  const std::span<const Approximant> choices = approximants<T>();
  std::size_t choice = 0;
  while (choice + 1 < choices.size() && norm > choices[choice].norm) ++choice;
  const Approximant& pade = choices[choice];
  const int squarings = norm > pade.norm ? static_cast<int>(std::ceil(std::log2(norm / pade.norm))) : 0;

  const auto elements = static_cast<std::size_t>(n * n);
  const int even = pade.degree / 2;
  const detail::Scratch<T> memory(elements * static_cast<std::size_t>(even + 4));
  const auto part = [&](int i) { return memory.data() + static_cast<std::size_t>(i) * elements; };
  T *const scaled = part(even), *const odd = part(even + 1), *const denominator = part(even + 2),
           *const u = part(even + 3);
  detail::PooledVector<const T*> powers;
  for (Int i = 0; i < n * n; ++i) scaled[i] = std::ldexp(a[i], -squarings);
  for (int k = 0; k < even; ++k) {
    multiply(n, k == 0 ? scaled : part(0), k == 0 ? scaled : part(k - 1), part(k));
    powers.push_back(part(k));
  }
  polynomial<T>(n, powers, pade.coefficients, pade.degree, 1, odd);
  multiply(n, scaled, odd, u);
  polynomial<T>(n, powers, pade.coefficients, pade.degree, 0, out);
  for (Int i = 0; i < n * n; ++i) {
    denominator[i] = out[i] - u[i];
    out[i] += u[i];
  }
  detail::PooledVector<int> pivots(static_cast<std::size_t>(n));
  if (detail::getrf(n, denominator, n, pivots.data()) != 0)
    fail<NumericalError>("matrix_exp", "the denominator of the approximant is singular");
  detail::getrs(false, n, n, denominator, n, pivots.data(), out, n);
  for (int k = 0; k < squarings; ++k) {
    std::copy_n(out, n * n, u);
    multiply(n, u, u, out);
  }
}

// [I, 0] or [0, I], n x 2n: takes and places blocks.
template <class T>
Var<T> block_selector(Int n, Int block) {
  Tensor<T> out = empty_tensor<T>({n, 2 * n});
  for (Int i = 0; i < n * 2 * n; ++i) out.data()[i] = i % (2 * n) == i / (2 * n) + block * n ? T(1) : T(0);
  return Var<T>(std::move(out));
}

template <class T>
class MatrixExp final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  void attributes(Attributes&) override {}
  std::string_view name() const override { return "matrix_exp"; }
  Shape shape(const Shapes& in, int) const override {
    square_batch("matrix_exp", in[0]);
    return in[0];
  }
  std::uint32_t needs() const override { return Needs::input(0); }

  void forward(Forward<T>& c) override {
    const MatrixBatch batch = square_batch("matrix_exp", c.input(0).shape);
    const Int n = batch.rows;
    detail::for_matrices(batch.count, n, [&](Int i) {
      const T* a = c.input(0).data + i * n * n;
      const double norm = one_norm(n, a);
      if (!std::isfinite(norm)) fail<NumericalError>("matrix_exp", detail::which_matrix(batch, i), " is not finite");
      exponential(n, a, norm, c.output().data + i * n * n);
    });
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> a = c.input(0);
    const Int n = a.shape().back();
    const Var<T> first = block_selector<T>(n, 0), second = block_selector<T>(n, 1);
    // [a^T, g; 0, a^T]
    const auto place = [](const Var<T>& rows, const Var<T>& x, bool transpose, const Var<T>& columns) {
      return matmul(rows, matmul(x, columns, {.transpose_a = transpose}), {.transpose_a = true});
    };
    const Var<T> whole =
        place(first, a, true, first) + place(second, a, true, second) + place(first, c.gradient(), false, second);
    c.add(0, matmul(first, matmul(matrix_exp(whole), second, {.transpose_b = true})));
  }
};

}  // namespace

void detail::register_matrix_exp() {
  register_operations<MatrixExp>("matrix_exp");
}

template <class T>
Var<T> matrix_exp(const Var<T>& a) {
  return record(std::make_unique<MatrixExp<T>>(), a);
}

template Var<float> matrix_exp(const Var<float>&);
template Var<double> matrix_exp(const Var<double>&);

}  // namespace tapestry
