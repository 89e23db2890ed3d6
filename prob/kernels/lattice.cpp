#include <tapestry/prob/kernels/lattice.hpp>

#include <tapestry/autodiff/kernels/dispatch.hpp>
#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

template <class T, std::size_t fixed>
void gather_rows(std::size_t stride, const std::uint32_t* offsets, const std::uint32_t* index, const T* weights,
                 const T* in, std::size_t first, std::size_t last, T* out) {
  // As many vectors of a row as stay in registers at a time.
  constexpr std::size_t width = fixed * lanes<T>;
  for (std::size_t at = 0; at < stride; at += width)
    for (std::size_t r = first; r < last; ++r) {
      Vec<T> sum[fixed] = {};
      for (std::uint32_t e = offsets[r]; e < offsets[r + 1]; ++e) {
        const T* from = in + index[e] * stride + at;
        const Vec<T> weight = splat<T>(weights[e]);
        for (std::size_t i = 0; i < fixed; ++i) sum[i] += weight * load<T>(from + i * lanes<T>);
      }
      for (std::size_t i = 0; i < fixed; ++i) store<T>(out + r * stride + at + i * lanes<T>, sum[i]);
    }
}

template <class T>
void gather(std::size_t stride, const std::uint32_t* offsets, const std::uint32_t* index, const T* weights, const T* in,
            std::size_t first, std::size_t last, T* out) {
  const std::size_t vectors = stride / lanes<T>;
  const auto f = vectors % 8 == 0   ? gather_rows<T, 8>
                 : vectors % 4 == 0 ? gather_rows<T, 4>
                 : vectors % 3 == 0 ? gather_rows<T, 3>
                 : vectors % 2 == 0 ? gather_rows<T, 2>
                                    : gather_rows<T, 1>;
  f(stride, offsets, index, weights, in, first, last, out);
}

template <class T>
void blur(std::size_t stride, const std::uint32_t* neighbours, const T* in, std::size_t first, std::size_t last,
          T* out) {
  for (std::size_t r = first; r < last; ++r) {
    const T* own = in + r * stride;
    const T* a = in + neighbours[2 * r] * stride;
    const T* b = in + neighbours[2 * r + 1] * stride;
    for (std::size_t i = 0; i < stride; i += lanes<T>)
      store<T>(out + r * stride + i, load<T>(own + i) * T(.5) + (load<T>(a + i) + load<T>(b + i)) * T(.25));
  }
}

template <class T>
constexpr LatticeKernels<T> table() {
  LatticeKernels<T> t{};
  t.gather = gather<T>;
  t.blur = blur<T>;
  return t;
}

}  // namespace

template <>
const LatticeKernels<float>& kernels() {
  static constexpr LatticeKernels<float> t = table<float>();
  return t;
}
template <>
const LatticeKernels<double>& kernels() {
  static constexpr LatticeKernels<double> t = table<double>();
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
