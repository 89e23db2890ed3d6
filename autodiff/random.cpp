#include <tapestry/autodiff/random.hpp>

#include <cmath>

#include <tapestry/autodiff/random_streams.hpp>

namespace tapestry {
namespace detail {

template <class T>
void fill_uniform(Generator& generator, T* out, std::int64_t n, T low, T high) {
  const T below_high = std::nextafter(high, low);
  random_chunks<T>(generator, n,
                   [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
                     random_kernels<T>().uniform(stream, position, low, high - low, below_high, out + begin, count);
                   });
}

template <class T>
void fill_normal(Generator& generator, T* out, std::int64_t n, T mean, T deviation) {
  random_chunks<T>(generator, n,
                   [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
                     random_kernels<T>().normal(stream, position, mean, deviation, out + begin, count);
                   });
}

template <class T>
void fill_exponential(Generator& generator, T* out, std::int64_t n, T rate) {
  random_chunks<T>(generator, n,
                   [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
                     random_kernels<T>().exponential(stream, position, T(1) / rate, out + begin, count);
                   });
}

template <class T>
void fill_gumbel(Generator& generator, T* out, std::int64_t n) {
  random_chunks<T>(generator, n,
                   [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
                     random_kernels<T>().gumbel(stream, position, out + begin, count);
                   });
}

template <class T>
void fill_bernoulli(Generator& generator, const T* p, std::size_t stride, T* out, std::int64_t n) {
  random_chunks<T>(generator, n,
                   [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
                     random_kernels<T>().bernoulli(stream, position, p + static_cast<std::size_t>(begin) * stride,
                                                   stride, out + begin, count);
                   });
}

}  // namespace detail

Generator Generator::from_state(const State& state) {
  Generator g(state[0]);
  g.stream_ = state[1];
  g.position_ = state[2];
  return g;
}

Generator::Reserved Generator::reserve(std::uint64_t blocks) noexcept {
  const Reserved at{{key_, stream_}, position_};
  position_ += blocks;
  return at;
}

Generator Generator::split() {
  const detail::PhiloxStream child = detail::derive_stream(*this);
  return from_state({child.key, child.stream, 0});
}

std::vector<Generator> Generator::split(std::int64_t n) {
  if (n < 0) fail<NumericalError>("Generator::split", "a negative number of generators, ", n);
  std::vector<Generator> children;
  children.reserve(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) children.push_back(split());
  return children;
}

Generator::result_type Generator::operator()() {
  const Reserved at = reserve(1);
  return detail::philox_block(at.stream, at.position)[0];
}

double Generator::uniform() {
  return static_cast<double>((*this)() >> 11) * 0x1p-53;
}

double Generator::normal() {
  double z;
  detail::fill_normal(*this, &z, 1);
  return z;
}

template <class T>
Tensor<T> Generator::uniform(const Shape& shape) {
  return uniform<T>(shape, T(0), T(1));
}

template <class T>
Tensor<T> Generator::uniform(const Shape& shape, T low, T high) {
  if (!(low <= high) || !std::isfinite(high - low))
    fail<NumericalError>("Generator::uniform", "no interval from ", low, " to ", high);
  Tensor<T> out = empty_tensor<T>(shape);
  detail::fill_uniform(*this, out.data(), shape.elements(), low, high);
  return out;
}

template <class T>
Tensor<T> Generator::normal(const Shape& shape, T mean, T deviation) {
  if (!std::isfinite(mean) || !(deviation >= 0) || !std::isfinite(deviation))
    fail<NumericalError>("Generator::normal", "a mean of ", mean, " and a deviation of ", deviation,
                         ": both are finite, and no deviation is negative");
  Tensor<T> out = empty_tensor<T>(shape);
  detail::fill_normal(*this, out.data(), shape.elements(), mean, deviation);
  return out;
}

template <class T>
Tensor<T> Generator::exponential(const Shape& shape, T rate) {
  if (!(rate > 0) || !std::isfinite(rate) || !std::isfinite(T(1) / rate))
    fail<NumericalError>("Generator::exponential", "the rate must be positive and finite, got ", rate);
  Tensor<T> out = empty_tensor<T>(shape);
  detail::fill_exponential(*this, out.data(), shape.elements(), rate);
  return out;
}

template <class T>
Tensor<T> Generator::gumbel(const Shape& shape) {
  Tensor<T> out = empty_tensor<T>(shape);
  detail::fill_gumbel(*this, out.data(), shape.elements());
  return out;
}

template <class T>
Tensor<T> Generator::bernoulli(const Shape& shape, T p) {
  if (!(p >= 0 && p <= 1)) fail<NumericalError>("Generator::bernoulli", "a probability is in [0, 1], got ", p);
  Tensor<T> out = empty_tensor<T>(shape);
  detail::fill_bernoulli(*this, &p, 0, out.data(), shape.elements());
  return out;
}

template <class T>
Tensor<T> Generator::bernoulli(const Tensor<T>& p) {
  detail::check_random_arguments("Generator::bernoulli", p, T(0), T(1), false, "a probability is in [0, 1]");
  Tensor<T> out = empty_tensor<T>(shape_of(p));
  detail::fill_bernoulli(*this, p.data(), 1, out.data(), static_cast<std::int64_t>(p.size()));
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                               \
  template Tensor<T> Generator::uniform<T>(const Shape&);                     \
  template Tensor<T> Generator::uniform<T>(const Shape&, T, T);               \
  template Tensor<T> Generator::normal<T>(const Shape&, T, T);                \
  template Tensor<T> Generator::exponential<T>(const Shape&, T);              \
  template Tensor<T> Generator::gumbel<T>(const Shape&);                      \
  template Tensor<T> Generator::bernoulli<T>(const Shape&, T);                \
  template Tensor<T> Generator::bernoulli<T>(const Tensor<T>&);               \
  template void detail::fill_uniform<T>(Generator&, T*, std::int64_t, T, T);  \
  template void detail::fill_normal<T>(Generator&, T*, std::int64_t, T, T);   \
  template void detail::fill_exponential<T>(Generator&, T*, std::int64_t, T); \
  template void detail::fill_gumbel<T>(Generator&, T*, std::int64_t);         \
  template void detail::fill_bernoulli<T>(Generator&, const T*, std::size_t, T*, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
