#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include <tapestry/autodiff/kernels/random.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011). A number is a function of the key and of its place in the sequence, so that the same seed gives
/// the same bits with any number of threads and on any instruction set. 24 bytes, cheap to copy (a copy repeats the
/// numbers of the original) and a C++ uniform random bit generator. T is float or double.
class Generator {
 public:
  using result_type = std::uint64_t;
  /// Everything that a generator is: store it to resume.
  using State = std::array<std::uint64_t, 3>;

  explicit Generator(std::uint64_t seed) : key_(seed) {}
  static Generator from_state(const State& state);
  State state() const noexcept { return {key_, stream_, position_}; }

  /// A generator whose numbers are independent of this one's and of other children's (its key and stream, 128 bits, are
  /// drawn from here).
  Generator split();
  std::vector<Generator> split(std::int64_t n);

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  /// 64 random bits.
  result_type operator()();
  /// One number in [0, 1).
  double uniform();
  /// One standard normal number.
  double normal();
  /// One integer in [0, n), without bias.
  std::int64_t integer(std::int64_t n);

  /// In [0, 1), multiples of 2^-24 or 2^-53.
  template <class T>
  Tensor<T> uniform(const Shape& shape);
  /// In [low, high), or low where the two are equal. @throws NumericalError unless low <= high and both are finite
  template <class T>
  Tensor<T> uniform(const Shape& shape, T low, T high);
  /// @throws NumericalError for a negative or non-finite deviation or a non-finite mean
  template <class T>
  Tensor<T> normal(const Shape& shape, T mean = 0, T deviation = 1);
  /// Positive numbers of density rate * exp(-rate x). @throws NumericalError unless rate and 1 / rate are positive and
  /// finite
  template <class T>
  Tensor<T> exponential(const Shape& shape, T rate = 1);
  /// Standard Gumbel numbers, -log(-log(u)).
  template <class T>
  Tensor<T> gumbel(const Shape& shape);

  /// 1 with probability p (to 2^-32 for float, 2^-53 for double), else 0. @throws NumericalError unless 0 <= p <= 1
  template <class T>
  Tensor<T> bernoulli(const Shape& shape, T p);
  template <class T>
  Tensor<T> bernoulli(const Tensor<T>& p);

  /// Integers in [0, n), without bias (Lemire, "Fast random integer generation in an interval", ACM TOMACS 29, 2019).
  /// @throws NumericalError unless n > 0
  IndexTensor integers(const Shape& shape, std::int64_t n);
  /// Integers in [low, high). @throws NumericalError unless low < high
  IndexTensor integers(const Shape& shape, std::int64_t low, std::int64_t high);
  /// 0 ... n-1 in random order (Fisher and Yates). @throws NumericalError for n < 0
  IndexTensor permutation(std::int64_t n);

  /// One draw for each row (last axis) of unnormalised log-probabilities. -inf is never drawn.
  /// @throws NumericalError for NaN, +inf, or a row without a finite entry; ShapeError for rank 0 or empty rows
  template <class T>
  IndexTensor categorical(const Tensor<T>& logits);
  /// The same from unnormalised probabilities. @throws NumericalError for a negative or non-finite entry or a row of
  /// zeros
  template <class T>
  IndexTensor categorical_from_probabilities(const Tensor<T>& probabilities);

  /// Gamma(a, 1) for each concentration a (Marsaglia and Tsang 2000). @throws NumericalError unless a is positive and
  /// finite
  template <class T>
  Tensor<T> gamma(const Tensor<T>& concentration);
  /// Beta(a, b), elementwise over two tensors of one shape.
  template <class T>
  Tensor<T> beta(const Tensor<T>& a, const Tensor<T>& b);
  /// One point of the simplex for each row (last axis) of concentrations.
  template <class T>
  Tensor<T> dirichlet(const Tensor<T>& concentration);
  /// Counts of each rate (Hörmann 1993; inversion below 10). @throws NumericalError unless 0 <= rate <= 2^40
  template <class T>
  Tensor<T> poisson(const Tensor<T>& rate);

  /// For own kernels: takes `blocks` blocks of 128 bits, which nobody else gets. Block i of them is Philox of the
  /// counter (position + i, stream).
  struct Reserved {
    detail::PhiloxStream stream;
    std::uint64_t position;
  };
  Reserved reserve(std::uint64_t blocks) noexcept;

  friend bool operator==(const Generator&, const Generator&) = default;

 private:
  std::uint64_t key_ = 0, stream_ = 0, position_ = 0;
};

namespace detail {

// Fills of raw arrays, for operations: parallel over large arrays, arguments unchecked.

template <class T>
void fill_uniform(Generator& generator, T* out, std::int64_t n, T low = 0, T high = 1);
template <class T>
void fill_normal(Generator& generator, T* out, std::int64_t n, T mean = 0, T deviation = 1);
template <class T>
void fill_exponential(Generator& generator, T* out, std::int64_t n, T rate = 1);
template <class T>
void fill_gumbel(Generator& generator, T* out, std::int64_t n);
/// A stride of 0 repeats the first p.
template <class T>
void fill_bernoulli(Generator& generator, const T* p, std::size_t stride, T* out, std::int64_t n);

}  // namespace detail
}  // namespace tapestry
