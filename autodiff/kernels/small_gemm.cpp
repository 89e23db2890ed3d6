#include <tapestry/autodiff/kernels/small_gemm.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

// A row of the product, and of b, padded to `width` columns.
template <class T, int width>
struct Row {
  typedef T type __attribute__((vector_size(width * sizeof(T))));
};

template <class T, int width, int rows>
TAPESTRY_INLINE void multiply_rows(std::int64_t n, std::int64_t k, T alpha, const T* a, std::int64_t row,
                                   std::int64_t column, const T* b, std::int64_t ldb, T beta, T* c, std::int64_t ldc) {
  using V = typename Row<T, width>::type;
  V sum[rows] = {};
  for (std::int64_t p = 0; p < k; ++p) {
    V x;
    std::memcpy(&x, b + p * ldb, sizeof x);
    for (int r = 0; r < rows; ++r) sum[r] += a[r * row + p * column] * x;
  }
  for (int r = 0; r < rows; ++r) {
    T* out = c + r * ldc;
    V value = alpha * sum[r];
    if (n == width) {
      if (beta != T(0)) {
        V old;
        std::memcpy(&old, out, sizeof old);
        value += beta * old;
      }
      std::memcpy(out, &value, sizeof value);
    } else {
      T buffer[width];
      std::memcpy(buffer, &value, sizeof value);
      for (std::int64_t j = 0; j < n; ++j) out[j] = beta == T(0) ? buffer[j] : buffer[j] + beta * out[j];
    }
  }
}

template <class T, int width>
void multiply_width(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, SmallOperand<T> a,
                    SmallOperand<T> b, T beta, T* c, std::int64_t ldc, std::int64_t stride_c) {
  constexpr int block = width * sizeof(T) > 2 * vector_bytes ? 2 : 4;
  alignas(64) T packed[small_gemm_depth * width];
  const bool pack = n != width || b.column != 1;
  if (pack)
    for (std::int64_t p = 0; p < k; ++p)
      for (std::int64_t j = n; j < width; ++j) packed[p * width + j] = T(0);
  for (std::int64_t item = 0; item < batch; ++item) {
    const T* x = a.data + item * a.batch;
    const T* y = b.data + item * b.batch;
    T* z = c + item * stride_c;
    std::int64_t ldb = b.row;
    if (pack) {
      if (item == 0 || b.batch != 0)
        for (std::int64_t p = 0; p < k; ++p)
          for (std::int64_t j = 0; j < n; ++j) packed[p * width + j] = y[p * b.row + j * b.column];
      y = packed;
      ldb = width;
    }
    std::int64_t i = 0;
    for (; i + block <= m; i += block)
      multiply_rows<T, width, block>(n, k, alpha, x + i * a.row, a.row, a.column, y, ldb, beta, z + i * ldc, ldc);
    for (; i < m; ++i)
      multiply_rows<T, width, 1>(n, k, alpha, x + i * a.row, a.row, a.column, y, ldb, beta, z + i * ldc, ldc);
  }
}

template <class T>
void multiply(std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k, T alpha, SmallOperand<T> a,
              SmallOperand<T> b, T beta, T* c, std::int64_t ldc, std::int64_t stride_c) {
  const auto f = n <= 2   ? multiply_width<T, 2>
                 : n <= 4 ? multiply_width<T, 4>
                 : n <= 8 ? multiply_width<T, 8>
                          : multiply_width<T, 16>;
  f(batch, m, n, k, alpha, a, b, beta, c, ldc, stride_c);
}

}  // namespace

template <>
const SmallGemmKernels<float>& kernels() {
  static constexpr SmallGemmKernels<float> t{multiply<float>};
  return t;
}
template <>
const SmallGemmKernels<double>& kernels() {
  static constexpr SmallGemmKernels<double> t{multiply<double>};
  return t;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
