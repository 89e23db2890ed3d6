#include <tapestry/autodiff/kernels/random.hpp>

#include <tapestry/autodiff/kernels/random_math.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

/// Words that a fill has in flight; they stay in the first-level cache.
constexpr std::size_t buffer_words = random_granule;

#if defined(__AVX512F__)
#define TAPESTRY_INTERLEAVE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define TAPESTRY_INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif defined(__AVX2__)
#define TAPESTRY_INTERLEAVE_LOW 0, 4, 1, 5
#define TAPESTRY_INTERLEAVE_HIGH 2, 6, 3, 7
#else
#define TAPESTRY_INTERLEAVE_LOW 0, 2
#define TAPESTRY_INTERLEAVE_HIGH 1, 3
#endif

/// Whole vectors of blocks, for `blocks` a multiple of word_lanes.
TAPESTRY_INLINE void generate(PhiloxStream s, std::uint64_t position, std::uint32_t* out, std::size_t blocks) {
  const Words high = Words{} + s.stream;
  Words low = lane_numbers() + position;
  for (std::size_t b = 0; b < blocks; b += word_lanes) {
    const Blocks block = philox(s.key, low, high);
    const Words first = __builtin_shufflevector(block.first, block.second, TAPESTRY_INTERLEAVE_LOW);
    const Words second = __builtin_shufflevector(block.first, block.second, TAPESTRY_INTERLEAVE_HIGH);
    std::memcpy(out + 4 * b, &first, sizeof first);
    std::memcpy(out + 4 * b + 2 * word_lanes, &second, sizeof second);
    low += word_lanes;
  }
}

void words(PhiloxStream s, std::uint64_t position, std::uint32_t* out, std::size_t blocks) {
  const std::size_t whole = blocks / word_lanes * word_lanes;
  generate(s, position, out, whole);
  if (whole == blocks) return;
  std::uint32_t rest[4 * word_lanes];
  generate(s, position + whole, rest, word_lanes);
  std::memcpy(out + 4 * whole, rest, 16 * (blocks - whole));
}

template <class T>
TAPESTRY_INLINE Bits<T> load_bits(const std::uint32_t* p) {
  Bits<T> w;
  std::memcpy(&w, p, sizeof w);
  return w;
}

/// Elements that are made together: two of the widest vectors, 32 words.
template <class T>
constexpr std::size_t group = 128 / sizeof(T);

/// Calls transform(words, out, count, first index) for each granule, and for the rest, rounded up to whole groups.
template <class T, class Transform>
TAPESTRY_INLINE void granules(PhiloxStream s, std::uint64_t position, T* out, std::size_t n, Transform transform) {
  constexpr std::size_t step = buffer_words * 4 / sizeof(T), blocks = buffer_words / 4;
  alignas(64) std::uint32_t buffer[buffer_words];
  std::size_t i = 0;
  for (; i + step <= n; i += step, position += blocks) {
    generate(s, position, buffer, blocks);
    transform(buffer, out + i, step, i);
  }
  if (i == n) return;
  const std::size_t groups = (n - i + group<T> - 1) / group<T>;
  alignas(64) T rest[step];
  generate(s, position, buffer, 8 * groups);
  transform(buffer, rest, groups * group<T>, i);
  std::memcpy(out + i, rest, (n - i) * sizeof(T));
}

#define TAPESTRY_LAMBDA __attribute__((always_inline))

/// A function of one word, for each element.
template <class T, class Function>
TAPESTRY_INLINE void each(PhiloxStream s, std::uint64_t position, T* out, std::size_t n, Function f) {
  granules(s, position, out, n, [&](const std::uint32_t* w, T* y, std::size_t count, std::size_t) TAPESTRY_LAMBDA {
    for (std::size_t i = 0; i < count; i += lanes<T>) store<T>(y + i, f(load_bits<T>(w + i * sizeof(T) / 4)));
  });
}

template <class T>
void uniform(PhiloxStream s, std::uint64_t position, T low, T width, T below, T* out, std::size_t n) {
  if (low == T(0) && width == T(1)) return each(s, position, out, n, [](Bits<T> w) { return unit(w); });
  each(s, position, out, n, [=](Bits<T> w) { return vmin<T>(unit(w) * width + low, splat(below)); });
}

// The two words of a pair are half a group apart, so that no instruction set has to shuffle.
template <class T>
void normal(PhiloxStream s, std::uint64_t position, T mean, T deviation, T* out, std::size_t n) {
  granules(s, position, out, n, [=](const std::uint32_t* w, T* y, std::size_t count, std::size_t) TAPESTRY_LAMBDA {
    constexpr std::size_t half = group<T> / 2, width = sizeof(T) / 4;
    for (std::size_t g = 0; g < count; g += group<T>) {
      for (std::size_t i = g; i < g + half; i += lanes<T>) {
        const Pair<T> z = normal_pair<T>(load_bits<T>(w + i * width), load_bits<T>(w + (i + half) * width));
        store<T>(y + i, z.first * deviation + mean);
        store<T>(y + i + half, z.second * deviation + mean);
      }
    }
  });
}

template <class T>
void exponential_fill(PhiloxStream s, std::uint64_t position, T scale, T* out, std::size_t n) {
  each(s, position, out, n, [=](Bits<T> w) { return exponential_variate<T>(w) * scale; });
}

template <class T>
void gumbel(PhiloxStream s, std::uint64_t position, T* out, std::size_t n) {
  each(s, position, out, n, [](Bits<T> w) { return -log_positive<T>(exponential_variate<T>(w)); });
}

/// Whether the word's number is below p. The float's 32-bit threshold is computed in two exact halves, so that small
/// and large p alike are met to 2^-32.
TAPESTRY_INLINE Mask<float> below(Bits<float> w, Vec<float> p) {
  const Vec<float> inside = vmin<float>(p, splat(0x1.fffffep-1f)) * 65536.f;
  const Mask<float> high = __builtin_convertvector(inside, Mask<float>);
  const Mask<float> low =
      __builtin_convertvector((inside - __builtin_convertvector(high, Vec<float>)) * 65536.f, Mask<float>);
  const Bits<float> threshold = (Bits<float>)((high << 16) + low);
  return (Mask<float>)(w < threshold) | (p >= 1.f);
}
TAPESTRY_INLINE Mask<double> below(Bits<double> w, Vec<double> p) {
  return unit(w) < p;
}

template <class T>
void bernoulli(PhiloxStream s, std::uint64_t position, const T* p, std::size_t stride, T* out, std::size_t n) {
  if (stride == 0) {
    const Vec<T> all = splat(*p);
    return each(s, position, out, n, [=](Bits<T> w) { return below(w, all) ? splat(T(1)) : Vec<T>{}; });
  }
  granules(s, position, out, n,
           [=](const std::uint32_t* w, T* y, std::size_t count, std::size_t first) TAPESTRY_LAMBDA {
             for (std::size_t i = 0; i < count && first + i < n; i += lanes<T>) {
               const std::size_t left = n - first - i;
               const Vec<T> q = left < lanes<T> ? load_partial<T>(p + first + i, left) : load<T>(p + first + i);
               store<T>(y + i, below(load_bits<T>(w + i * sizeof(T) / 4), q) ? splat(T(1)) : Vec<T>{});
             }
           });
}

template <class T>
void exponentials(const T* x, T shift, T* y, std::size_t n) {
  std::size_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store<T>(y + i, exponential(load<T>(x + i) - shift));
  if (i < n) store_partial<T>(y + i, exponential(load_partial<T>(x + i, n - i) - shift), n - i);
}

/// Uniform numbers of attempt `attempt` (from 0) for each lane's element: the stream's upper half counts attempts.
TAPESTRY_INLINE Blocks attempt_blocks(PhiloxStream s, Words element, std::uint64_t attempt) {
  return philox(s.key, element, Words{} + ((s.stream & 0xffffffffu) | attempt << 32));
}

/// Marsaglia and Tsang, "A simple method for generating gamma variables", ACM TOMS 26, 2000; for a < 1 from a + 1 and a
/// power of a uniform number, here a term in the logarithm, so that tiny a do not underflow.
TAPESTRY_INLINE Vec<double> log_gamma_variate(PhiloxStream s, Words element, Vec<double> a) {
  const auto small = a < 1.0;
  const Vec<double> boosted = small ? a + 1.0 : a;
  const Vec<double> d = boosted - 1.0 / 3, c = 1.0 / square_root(d * 9.0);
  const Blocks start = attempt_blocks(s, element, 0);
  // Finite even where a is denormal, so that differences of logarithms are numbers.
  const Vec<double> boost =
      small ? vmax<double>(-exponential_variate<double>(start.first) / a, splat(-1e308)) : Vec<double>{};
  Vec<double> result{};
  Mask<double> open = Mask<double>{} - 1;
  for (std::uint64_t attempt = 1;; ++attempt) {
    const Blocks block = attempt_blocks(s, element, attempt);
    const Vec<double> x = normal_pair<double>(block.first, block.second).first;
    const Vec<double> root = x * c + 1.0;
    const auto positive = root > 0.0;
    const Vec<double> log_v = log_positive<double>(positive ? root : splat(1.0)) * 3.0, v = root * root * root;
    const Vec<double> log_u = -exponential_variate<double>(block.second << 32);
    const Mask<double> taken = open & positive & (log_u < x * x * 0.5 + (d - d * v) + d * log_v);
    result = taken ? log_positive<double>(d) + log_v : result;
    open &= ~taken;
    std::int64_t left = 0;
    for (std::size_t i = 0; i < word_lanes; ++i) left |= open[i];
    if (left == 0) return result + boost;
  }
}

void log_gamma(PhiloxStream s, std::uint64_t first, const double* a, std::size_t stride, double* out, std::size_t n) {
  for (std::size_t i = 0; i < n; i += word_lanes) {
    const std::size_t count = n - i < word_lanes ? n - i : word_lanes;
    const Vec<double> shape = stride == 0 ? splat(*a) : load_partial<double>(a + i, count, 1.0);
    store_partial<double>(out + i, log_gamma_variate(s, lane_numbers() + (first + i), shape), count);
  }
}

/// log(k!) of an integral k >= 0: Stirling's series, from k + 8 down where k is small.
TAPESTRY_INLINE Vec<double> log_factorial(Vec<double> k) {
  const auto small = k < 8.0;
  Vec<double> product = splat(1.0);
  for (int i = 1; i <= 8; ++i) product = product * (k + double(i));
  const Vec<double> x = small ? k + 9.0 : k + 1.0;
  const Vec<double> y = 1.0 / x, z = y * y;
  const Vec<double> series =
      y * polynomial<double>(z, 1. / 12, -1. / 360, 1. / 1260, -1. / 1680, 1. / 1188, -691. / 360360, 1. / 156);
  const Vec<double> value = (x - 0.5) * log_positive<double>(x) - x + 0.91893853320467274178 + series;
  return small ? value - log_positive<double>(product) : value;
}

/// Integers of a double vector below 2^51, towards minus infinity.
TAPESTRY_INLINE Vec<double> floor_small(Vec<double> x) {
  const Vec<double> shifted = x + 6755399441055744.0;
  const Vec<double> nearest = shifted - 6755399441055744.0;
  return nearest > x ? nearest - 1.0 : nearest;
}

/// Rates from 10 on by Hörmann's transformed rejection with squeeze ("The transformed rejection method for generating
/// Poisson random variables", Insurance: Mathematics and Economics 12, 1993, algorithm PTRS); below by inversion, which
/// looks for the uniform number among the cumulative probabilities.
TAPESTRY_INLINE Vec<double> poisson_variate(PhiloxStream s, Words element, Vec<double> rate) {
  const auto large = rate >= 10.0;
  const Vec<double> mu = large ? rate : splat(10.0), small_rate = large ? Vec<double>{} : rate;
  const Blocks start = attempt_blocks(s, element, 0);
  const Vec<double> u0 = unit(start.first);
  Vec<double> probability = exponential(-small_rate), cumulative = probability, k{};
  for (;;) {
    const Mask<double> above = (u0 >= cumulative) & (probability > 0x1p-60) & ~large;
    std::int64_t any = 0;
    for (std::size_t i = 0; i < word_lanes; ++i) any |= above[i];
    if (any == 0) break;
    k = above ? k + 1.0 : k;
    probability = above ? probability * small_rate / k : probability;
    cumulative = above ? cumulative + probability : cumulative;
  }

  const Vec<double> b = square_root(mu) * 2.53 + 0.931, a = b * 0.02483 - 0.059;
  const Vec<double> inverse_alpha = 1.1328 / (b - 3.4) + 1.1239, v_r = 0.9277 - 3.6224 / (b - 2.0);
  const Vec<double> log_mu = log_positive<double>(mu);
  Mask<double> open = large;
  for (std::uint64_t attempt = 1;; ++attempt) {
    std::int64_t left = 0;
    for (std::size_t i = 0; i < word_lanes; ++i) left |= open[i];
    if (left == 0) return k;
    const Blocks block = attempt_blocks(s, element, attempt);
    const Vec<double> u = open_unit(block.first) - 0.5, v = open_unit(block.second);
    const Vec<double> us = vmax<double>(0.5 - (u < 0.0 ? -u : u), splat(0x1p-54));
    const Vec<double> candidate = floor_small((2.0 * a / us + b) * u + mu + 0.43);
    const Mask<double> squeezed = (us >= 0.07) & (v <= v_r);
    const Mask<double> possible = (candidate >= 0.0) & ((us >= 0.013) | (v <= us));
    const Vec<double> safe = candidate >= 0.0 ? candidate : Vec<double>{};
    const Mask<double> accepted = possible & (log_positive<double>(v) + log_positive<double>(inverse_alpha) -
                                                  log_positive<double>(a / (us * us) + b) <=
                                              safe * log_mu - mu - log_factorial(safe));
    const Mask<double> taken = open & (squeezed | accepted);
    k = taken ? candidate : k;
    open &= ~taken;
  }
}

void poisson(PhiloxStream s, std::uint64_t first, const double* rate, std::size_t stride, double* out, std::size_t n) {
  for (std::size_t i = 0; i < n; i += word_lanes) {
    const std::size_t count = n - i < word_lanes ? n - i : word_lanes;
    const Vec<double> mu = stride == 0 ? splat(*rate) : load_partial<double>(rate + i, count);
    store_partial<double>(out + i, poisson_variate(s, lane_numbers() + (first + i), mu), count);
  }
}

template <class T>
constexpr RandomKernels<T> table() {
  return {uniform<T>, normal<T>, exponential_fill<T>, gumbel<T>, bernoulli<T>, exponentials<T>};
}

}  // namespace

template <>
const PhiloxKernels& kernels() {
  static constexpr PhiloxKernels t{words, log_gamma, poisson};
  return t;
}
template <>
const RandomKernels<float>& kernels() {
  static constexpr RandomKernels<float> t = table<float>();
  return t;
}
template <>
const RandomKernels<double>& kernels() {
  static constexpr RandomKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
