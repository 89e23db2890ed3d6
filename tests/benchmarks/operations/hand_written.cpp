#include "hand_written.hpp"

#include <tapestry/autodiff/kernels/math.hpp>

// Compiled for AVX-512.
namespace operations {

void hand_written_chain(const float* x, float* y, float* derivative, std::size_t n) {
  using namespace tapestry::detail::TAPESTRY_ARCH;
  constexpr int vectors = 8;
  constexpr std::size_t step = vectors * lanes<float>;
  for (std::size_t i = 0; i < n; i += step) {
    const Pack<float, vectors> a = load_pack<float, vectors>(x + i);
    const Pack<float, vectors> e = vexp(a), s = vsigmoid(a), t = vtanh(s * a + e);
    store_pack(y + i, t);
    store_pack(derivative + i, (1.f - t * t) * (s * (1.f - s) * a + s + e));
  }
}

}  // namespace operations
