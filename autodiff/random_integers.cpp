#include <algorithm>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/random_streams.hpp>

namespace tapestry {
namespace {

std::uint64_t attempt_word(detail::PhiloxStream s, std::uint64_t element, std::uint64_t attempt) {
  s.stream = (s.stream & 0xffffffffu) | attempt << 32;
  return detail::philox_block(s, element)[0];
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
  const detail::PhiloxStream retry = detail::derive_stream(generator);
  detail::random_chunks<W>(
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
  const detail::PhiloxStream retry = detail::derive_stream(generator);
  const Generator::Reserved at = generator.reserve((static_cast<std::uint64_t>(n) * sizeof(W) + 15) / 16);
  for_words<W>(at.stream, at.position, n - 1, [&](std::int64_t first, const W* words, std::int64_t m) {
    for (std::int64_t i = 0; i < m; ++i) {
      const std::int64_t last = n - 1 - first - i;
      const auto other = below(static_cast<W>(last + 1), words[i], retry, static_cast<std::uint64_t>(last));
      std::swap(values[last], values[other]);
    }
  });
}

}  // namespace

std::int64_t Generator::integer(std::int64_t n) {
  if (n <= 0) fail<NumericalError>("Generator::integer", "n must be positive, got ", n);
  const std::uint64_t word = (*this)();
  const detail::PhiloxStream retry = detail::derive_stream(*this);
  return static_cast<std::int64_t>(below(static_cast<std::uint64_t>(n), word, retry, 0));
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

}  // namespace tapestry
