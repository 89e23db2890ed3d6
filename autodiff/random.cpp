#include <tapestry/autodiff/random.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

/// Elements of a chunk: a multiple of random_granule.
constexpr std::int64_t grain = 1 << 15;

/// f(stream, position, begin, count) for chunks of n numbers of type T.
template <class T, class F>
void in_chunks(Generator& generator, std::int64_t n, F f) {
  // Numbers are made in groups of 32 words, 8 blocks.
  const auto groups = (static_cast<std::uint64_t>(n) * sizeof(T) + 127) / 128;
  const Generator::Reserved at = generator.reserve(8 * groups);
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    f(at.stream, at.position + static_cast<std::uint64_t>(begin) * sizeof(T) / 16, begin,
      static_cast<std::size_t>(end - begin));
  });
}

template <class T>
const detail::RandomKernels<T>& random_kernels() {
  return detail::kernels<detail::RandomKernels<T>>();
}

std::array<std::uint64_t, 2> block(detail::PhiloxStream stream, std::uint64_t position) {
  std::array<std::uint32_t, 4> w;
  detail::kernels<detail::PhiloxKernels>().words(stream, position, w.data(), 1);
  return {w[0] | std::uint64_t{w[1]} << 32, w[2] | std::uint64_t{w[3]} << 32};
}

/// A sequence of its own for methods that need an unknown count of words: block (element, attempt).
detail::PhiloxStream derive(Generator& generator) {
  const auto at = generator.reserve(1);
  const auto [key, stream] = block(at.stream, at.position);
  return {key, stream};
}
std::uint64_t attempt_word(detail::PhiloxStream s, std::uint64_t element, std::uint64_t attempt) {
  s.stream = (s.stream & 0xffffffffu) | attempt << 32;
  return block(s, element)[0];
}

__extension__ typedef unsigned __int128 Wide;

/// Lemire's multiplication; the words of the first attempt are given, what they reject is drawn again.
std::uint64_t below(std::uint64_t n, std::uint64_t word, detail::PhiloxStream retry, std::uint64_t element) {
  Wide product = Wide{word} * n;
  if (static_cast<std::uint64_t>(product) < n) {
    const std::uint64_t threshold = (0 - n) % n;
    for (std::uint64_t attempt = 0; static_cast<std::uint64_t>(product) < threshold; ++attempt)
      product = Wide{attempt_word(retry, element, attempt)} * n;
  }
  return static_cast<std::uint64_t>(product >> 64);
}
std::uint32_t below(std::uint32_t n, std::uint32_t word, detail::PhiloxStream retry, std::uint64_t element) {
  std::uint64_t product = std::uint64_t{word} * n;
  if (static_cast<std::uint32_t>(product) < n) {
    const std::uint32_t threshold = (0 - n) % n;
    for (std::uint64_t attempt = 0; static_cast<std::uint32_t>(product) < threshold; ++attempt)
      product = (attempt_word(retry, element, attempt) >> 32) * n;
  }
  return static_cast<std::uint32_t>(product >> 32);
}

/// f(first, words, count) for n words of type W, a block of memory at a time.
template <class W, class F>
void for_words(detail::PhiloxStream stream, std::uint64_t position, std::int64_t n, F f) {
  constexpr std::int64_t size = 512;
  alignas(64) W buffer[size];
  for (std::int64_t first = 0; first < n; first += size) {
    const std::int64_t count = std::min(size, n - first);
    const auto blocks = (static_cast<std::size_t>(count) * sizeof(W) + 15) / 16;
    detail::kernels<detail::PhiloxKernels>().words(stream, position, reinterpret_cast<std::uint32_t*>(buffer), blocks);
    position += blocks;
    f(first, buffer, count);
  }
}

template <class W>
void fill_integers(Generator& generator, std::int64_t* out, std::int64_t count, std::int64_t low, W n) {
  const detail::PhiloxStream retry = derive(generator);
  in_chunks<W>(
      generator, count, [&](detail::PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t size) {
        for_words<W>(
            stream, position, static_cast<std::int64_t>(size), [&](std::int64_t first, const W* words, std::int64_t m) {
              for (std::int64_t i = 0; i < m; ++i) {
                const auto element = static_cast<std::uint64_t>(begin + first + i);
                // The sum wraps where the range is wider than the signed numbers.
                out[element] =
                    static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + below(n, words[i], retry, element));
              }
            });
      });
}

template <class W>
void shuffle(Generator& generator, std::int64_t* values, std::int64_t n) {
  const detail::PhiloxStream retry = derive(generator);
  const Generator::Reserved at = generator.reserve((static_cast<std::uint64_t>(n) * sizeof(W) + 15) / 16);
  for_words<W>(at.stream, at.position, n - 1, [&](std::int64_t first, const W* words, std::int64_t m) {
    for (std::int64_t i = 0; i < m; ++i) {
      const std::int64_t last = n - 1 - first - i;
      const auto other = below(static_cast<W>(last + 1), words[i], retry, static_cast<std::uint64_t>(last));
      std::swap(values[last], values[other]);
    }
  });
}

template <class T>
void check_values(const char* operation, const Tensor<T>& x, T low, T high, bool open, const char* what) {
  for (const T v : x)
    if (!(open ? v > low : v >= low) || !(v <= high)) fail<NumericalError>(operation, what, ", got ", v);
}
template <class T>
constexpr T largest = std::numeric_limits<T>::max();

/// Rows of the last axis, for operations that draw one thing for each.
struct Rows {
  Shape outer;
  std::int64_t count, length;
};
Rows rows_of(const char* operation, const Shape& shape) {
  if (shape.empty()) fail<ShapeError>(operation, "a tensor of rank 0 has no rows");
  Shape outer = shape;
  outer.erase(shape.rank() - 1);
  const Rows rows{outer, outer.elements(), shape.back()};
  if (rows.length == 0 && rows.count != 0) fail<ShapeError>(operation, "rows without elements: ", shape);
  return rows;
}

/// The first index whose cumulative weight exceeds u * total; a weight of 0 is never chosen.
template <class T>
std::int64_t search(const T* weights, std::int64_t n, double total, double u) {
  const double threshold = u * total;
  double cumulative = 0;
  std::int64_t last = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!(weights[i] > T(0))) continue;
    last = i;
    cumulative += static_cast<double>(weights[i]);
    if (cumulative > threshold) break;
  }
  return last;
}

template <class T, class Row>
IndexTensor draw_rows(Generator& generator, const Rows& rows, Row row) {
  IndexTensor out = empty_tensor<std::int64_t>(rows.outer);
  Tensor<double> u = generator.uniform<double>({rows.count});
  const std::int64_t size = std::max<std::int64_t>(1, grain / std::max<std::int64_t>(1, rows.length));
  detail::parallel_for(rows.count, size, [&](std::int64_t begin, std::int64_t end) {
    std::vector<T> scratch(static_cast<std::size_t>(rows.length));
    for (std::int64_t r = begin; r < end; ++r) out.data()[r] = row(r, u.data()[r], scratch.data());
  });
  return out;
}

/// Applies f(inputs as doubles, first element, results, count) in blocks, with conversion from and to T.
template <class T, class F>
void by_blocks(const T* in, T* out, std::int64_t n, F f) {
  detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t size = 256;
    alignas(64) double a[size], y[size];
    for (std::int64_t first = begin; first < end; first += size) {
      const std::int64_t count = std::min(size, end - first);
      for (std::int64_t i = 0; i < count; ++i) a[i] = static_cast<double>(in[first + i]);
      f(a, static_cast<std::uint64_t>(first), y, static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) out[first + i] = static_cast<T>(y[i]);
    }
  });
}

}  // namespace

namespace detail {

template <class T>
void fill_uniform(Generator& generator, T* out, std::int64_t n, T low, T high) {
  const T below_high = std::nextafter(high, low);
  in_chunks<T>(generator, n, [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
    random_kernels<T>().uniform(stream, position, low, high - low, below_high, out + begin, count);
  });
}

template <class T>
void fill_normal(Generator& generator, T* out, std::int64_t n, T mean, T deviation) {
  in_chunks<T>(generator, n, [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
    random_kernels<T>().normal(stream, position, mean, deviation, out + begin, count);
  });
}

template <class T>
void fill_exponential(Generator& generator, T* out, std::int64_t n, T rate) {
  in_chunks<T>(generator, n, [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
    random_kernels<T>().exponential(stream, position, T(1) / rate, out + begin, count);
  });
}

template <class T>
void fill_gumbel(Generator& generator, T* out, std::int64_t n) {
  in_chunks<T>(generator, n, [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
    random_kernels<T>().gumbel(stream, position, out + begin, count);
  });
}

template <class T>
void fill_bernoulli(Generator& generator, const T* p, std::size_t stride, T* out, std::int64_t n) {
  in_chunks<T>(generator, n, [&](PhiloxStream stream, std::uint64_t position, std::int64_t begin, std::size_t count) {
    random_kernels<T>().bernoulli(stream, position, p + static_cast<std::size_t>(begin) * stride, stride, out + begin,
                                  count);
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
  const detail::PhiloxStream child = derive(*this);
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
  return block(at.stream, at.position)[0];
}

double Generator::uniform() {
  return static_cast<double>((*this)() >> 11) * 0x1p-53;
}

double Generator::normal() {
  double z;
  detail::fill_normal(*this, &z, 1);
  return z;
}

std::int64_t Generator::integer(std::int64_t n) {
  if (n <= 0) fail<NumericalError>("Generator::integer", "n must be positive, got ", n);
  const std::uint64_t word = (*this)();
  const detail::PhiloxStream retry = derive(*this);
  return static_cast<std::int64_t>(below(static_cast<std::uint64_t>(n), word, retry, 0));
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
    fail<NumericalError>("Generator::normal", "mean ", mean, " and deviation ", deviation);
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
  check_values("Generator::bernoulli", p, T(0), T(1), false, "a probability is in [0, 1]");
  Tensor<T> out = empty_tensor<T>(shape_of(p));
  detail::fill_bernoulli(*this, p.data(), 1, out.data(), static_cast<std::int64_t>(p.size()));
  return out;
}

IndexTensor Generator::integers(const Shape& shape, std::int64_t n) {
  if (n <= 0) fail<NumericalError>("Generator::integers", "n must be positive, got ", n);
  return integers(shape, 0, n);
}

IndexTensor Generator::integers(const Shape& shape, std::int64_t low, std::int64_t high) {
  if (low >= high) fail<NumericalError>("Generator::integers", "no integer from ", low, " to below ", high);
  const std::uint64_t n = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  IndexTensor out = empty_tensor<std::int64_t>(shape);
  if (n <= std::numeric_limits<std::uint32_t>::max())
    fill_integers(*this, out.data(), shape.elements(), low, static_cast<std::uint32_t>(n));
  else
    fill_integers(*this, out.data(), shape.elements(), low, n);
  return out;
}

IndexTensor Generator::permutation(std::int64_t n) {
  if (n < 0) fail<NumericalError>("Generator::permutation", "a negative length, ", n);
  IndexTensor out = empty_tensor<std::int64_t>({n});
  std::iota(out.data(), out.data() + n, std::int64_t{0});
  if (n <= std::numeric_limits<std::uint32_t>::max())
    shuffle<std::uint32_t>(*this, out.data(), n);
  else
    shuffle<std::uint64_t>(*this, out.data(), n);
  return out;
}

template <class T>
IndexTensor Generator::categorical(const Tensor<T>& logits) {
  constexpr const char* name = "Generator::categorical";
  const Rows rows = rows_of(name, shape_of(logits));
  std::vector<T> maxima(static_cast<std::size_t>(rows.count));
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T* x = logits.data() + r * rows.length;
    T highest = -std::numeric_limits<T>::infinity();
    bool valid = true;
    for (std::int64_t i = 0; i < rows.length; ++i) {
      valid &= x[i] <= largest<T>;
      highest = x[i] > highest ? x[i] : highest;
    }
    if (!valid) fail<NumericalError>(name, "row ", r, " holds NaN or +inf");
    if (!(highest >= -largest<T>)) fail<NumericalError>(name, "every logit of row ", r, " is -inf");
    maxima[static_cast<std::size_t>(r)] = highest;
  }
  return draw_rows<T>(*this, rows, [&](std::int64_t r, double u, T* weights) {
    random_kernels<T>().exponentials(logits.data() + r * rows.length, maxima[static_cast<std::size_t>(r)], weights,
                                     static_cast<std::size_t>(rows.length));
    double total = 0;
    for (std::int64_t i = 0; i < rows.length; ++i) total += static_cast<double>(weights[i]);
    return search(weights, rows.length, total, u);
  });
}

template <class T>
IndexTensor Generator::categorical_from_probabilities(const Tensor<T>& probabilities) {
  constexpr const char* name = "Generator::categorical_from_probabilities";
  const Rows rows = rows_of(name, shape_of(probabilities));
  check_values(name, probabilities, T(0), largest<T>, false, "probabilities are finite and not negative");
  std::vector<double> totals(static_cast<std::size_t>(rows.count));
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T* p = probabilities.data() + r * rows.length;
    double& total = totals[static_cast<std::size_t>(r)];
    for (std::int64_t i = 0; i < rows.length; ++i) total += static_cast<double>(p[i]);
    if (!(total > 0) || !std::isfinite(total)) fail<NumericalError>(name, "row ", r, " sums to ", total);
  }
  return draw_rows<T>(*this, rows, [&](std::int64_t r, double u, T*) {
    return search(probabilities.data() + r * rows.length, rows.length, totals[static_cast<std::size_t>(r)], u);
  });
}

template <class T>
Tensor<T> Generator::gamma(const Tensor<T>& concentration) {
  check_values("Generator::gamma", concentration, T(0), largest<T>, true, "concentrations are positive and finite");
  Tensor<T> out = empty_tensor<T>(shape_of(concentration));
  const detail::PhiloxStream stream = derive(*this);
  by_blocks(concentration.data(), out.data(), static_cast<std::int64_t>(out.size()),
            [&](const double* a, std::uint64_t first, double* y, std::size_t n) {
              detail::kernels<detail::PhiloxKernels>().log_gamma(stream, first, a, 1, y, n);
              random_kernels<double>().exponentials(y, 0, y, n);
            });
  return out;
}

template <class T>
Tensor<T> Generator::beta(const Tensor<T>& a, const Tensor<T>& b) {
  constexpr const char* name = "Generator::beta";
  if (shape_of(a) != shape_of(b)) fail<ShapeError>(name, "shapes differ: ", shape_of(a), " and ", shape_of(b));
  check_values(name, a, T(0), largest<T>, true, "concentrations are positive and finite");
  check_values(name, b, T(0), largest<T>, true, "concentrations are positive and finite");
  Tensor<T> out = empty_tensor<T>(shape_of(a));
  const detail::PhiloxStream first_stream = derive(*this), second_stream = derive(*this);
  by_blocks(a.data(), out.data(), static_cast<std::int64_t>(out.size()),
            [&](double* alpha, std::uint64_t first, double* y, std::size_t n) {
              const auto& kernels = detail::kernels<detail::PhiloxKernels>();
              kernels.log_gamma(first_stream, first, alpha, 1, y, n);
              for (std::size_t i = 0; i < n; ++i) alpha[i] = static_cast<double>(b.data()[first + i]);
              kernels.log_gamma(second_stream, first, alpha, 1, alpha, n);
              for (std::size_t i = 0; i < n; ++i) y[i] = alpha[i] - y[i];
              random_kernels<double>().exponentials(y, 0, y, n);
              for (std::size_t i = 0; i < n; ++i) y[i] = 1 / (1 + y[i]);
            });
  return out;
}

template <class T>
Tensor<T> Generator::dirichlet(const Tensor<T>& concentration) {
  constexpr const char* name = "Generator::dirichlet";
  const Rows rows = rows_of(name, shape_of(concentration));
  check_values(name, concentration, T(0), largest<T>, true, "concentrations are positive and finite");
  Tensor<double> logs = empty_tensor<double>(shape_of(concentration));
  for (std::size_t i = 0; i < logs.size(); ++i) logs.data()[i] = static_cast<double>(concentration.data()[i]);
  const detail::PhiloxStream stream = derive(*this);
  by_blocks(logs.data(), logs.data(), static_cast<std::int64_t>(logs.size()),
            [&](const double* a, std::uint64_t first, double* y, std::size_t n) {
              detail::kernels<detail::PhiloxKernels>().log_gamma(stream, first, a, 1, y, n);
            });
  Tensor<T> out = empty_tensor<T>(shape_of(concentration));
  for (std::int64_t r = 0; r < rows.count; ++r) {
    double* y = logs.data() + r * rows.length;
    random_kernels<double>().exponentials(y, *std::max_element(y, y + rows.length), y,
                                          static_cast<std::size_t>(rows.length));
    const double total = std::accumulate(y, y + rows.length, 0.0);
    for (std::int64_t i = 0; i < rows.length; ++i) out.data()[r * rows.length + i] = static_cast<T>(y[i] / total);
  }
  return out;
}

template <class T>
Tensor<T> Generator::poisson(const Tensor<T>& rate) {
  check_values("Generator::poisson", rate, T(0), T(0x1p40), false, "rates are in [0, 2^40]");
  Tensor<T> out = empty_tensor<T>(shape_of(rate));
  const detail::PhiloxStream stream = derive(*this);
  by_blocks(rate.data(), out.data(), static_cast<std::int64_t>(out.size()),
            [&](const double* mu, std::uint64_t first, double* y, std::size_t n) {
              detail::kernels<detail::PhiloxKernels>().poisson(stream, first, mu, 1, y, n);
            });
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                                        \
  template Tensor<T> Generator::uniform<T>(const Shape&);                              \
  template Tensor<T> Generator::uniform<T>(const Shape&, T, T);                        \
  template Tensor<T> Generator::normal<T>(const Shape&, T, T);                         \
  template Tensor<T> Generator::exponential<T>(const Shape&, T);                       \
  template Tensor<T> Generator::gumbel<T>(const Shape&);                               \
  template Tensor<T> Generator::bernoulli<T>(const Shape&, T);                         \
  template Tensor<T> Generator::bernoulli<T>(const Tensor<T>&);                        \
  template IndexTensor Generator::categorical<T>(const Tensor<T>&);                    \
  template IndexTensor Generator::categorical_from_probabilities<T>(const Tensor<T>&); \
  template Tensor<T> Generator::gamma<T>(const Tensor<T>&);                            \
  template Tensor<T> Generator::beta<T>(const Tensor<T>&, const Tensor<T>&);           \
  template Tensor<T> Generator::dirichlet<T>(const Tensor<T>&);                        \
  template Tensor<T> Generator::poisson<T>(const Tensor<T>&);                          \
  template void detail::fill_uniform<T>(Generator&, T*, std::int64_t, T, T);           \
  template void detail::fill_normal<T>(Generator&, T*, std::int64_t, T, T);            \
  template void detail::fill_exponential<T>(Generator&, T*, std::int64_t, T);          \
  template void detail::fill_gumbel<T>(Generator&, T*, std::int64_t);                  \
  template void detail::fill_bernoulli<T>(Generator&, const T*, std::size_t, T*, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
