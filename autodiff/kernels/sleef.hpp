#pragma once

#include <sleef.h>

#include <tapestry/autodiff/kernels/math.hpp>

// SLEEF's functions on Packs (https://sleef.org), each with the bound in its name: u10 is 1.0 ulp. Only what a file
// asks for with TAPESTRY_SLEEF is declared. For kernel files only.
namespace tapestry::detail::TAPESTRY_ARCH {

#if defined(__AVX512F__)
#define TAPESTRY_SLEEF_FLOAT(name, bound) Sleef_##name##f16_##bound##avx512f
#define TAPESTRY_SLEEF_DOUBLE(name, bound) Sleef_##name##d8_##bound##avx512f
using SleefFloat = __m512;
using SleefDouble = __m512d;
#elif defined(__AVX2__)
#define TAPESTRY_SLEEF_FLOAT(name, bound) Sleef_##name##f8_##bound##avx2
#define TAPESTRY_SLEEF_DOUBLE(name, bound) Sleef_##name##d4_##bound##avx2
using SleefFloat = __m256;
using SleefDouble = __m256d;
#elif defined(__SSE2__)
#define TAPESTRY_SLEEF_FLOAT(name, bound) Sleef_##name##f4_##bound##sse2
#define TAPESTRY_SLEEF_DOUBLE(name, bound) Sleef_##name##d2_##bound##sse2
using SleefFloat = __m128;
using SleefDouble = __m128d;
#else
#define TAPESTRY_SLEEF_FLOAT(name, bound) Sleef_##name##f4_##bound
#define TAPESTRY_SLEEF_DOUBLE(name, bound) Sleef_##name##d2_##bound
using SleefFloat = Vec<float>;
using SleefDouble = Vec<double>;
#endif

#define TAPESTRY_SLEEF(name, bound)                                               \
  template <class T, int U>                                                       \
  TAPESTRY_INLINE Pack<T, U> sleef_##name(const Pack<T, U>& x) {                  \
    Pack<T, U> y;                                                                 \
    for (int u = 0; u < U; ++u) {                                                 \
      if constexpr (single<T>)                                                    \
        y.v[u] = (Vec<T>)TAPESTRY_SLEEF_FLOAT(name, bound)((SleefFloat)x.v[u]);   \
      else                                                                        \
        y.v[u] = (Vec<T>)TAPESTRY_SLEEF_DOUBLE(name, bound)((SleefDouble)x.v[u]); \
    }                                                                             \
    return y;                                                                     \
  }
#define TAPESTRY_SLEEF_BINARY(name, bound)                                                             \
  template <class T, int U>                                                                            \
  TAPESTRY_INLINE Pack<T, U> sleef_##name(const Pack<T, U>& a, const Pack<T, U>& b) {                  \
    Pack<T, U> y;                                                                                      \
    for (int u = 0; u < U; ++u) {                                                                      \
      if constexpr (single<T>)                                                                         \
        y.v[u] = (Vec<T>)TAPESTRY_SLEEF_FLOAT(name, bound)((SleefFloat)a.v[u], (SleefFloat)b.v[u]);    \
      else                                                                                             \
        y.v[u] = (Vec<T>)TAPESTRY_SLEEF_DOUBLE(name, bound)((SleefDouble)a.v[u], (SleefDouble)b.v[u]); \
    }                                                                                                  \
    return y;                                                                                          \
  }

}  // namespace tapestry::detail::TAPESTRY_ARCH
