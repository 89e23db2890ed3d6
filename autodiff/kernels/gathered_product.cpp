#include <tapestry/autodiff/kernels/gathered_product.hpp>

#include <tapestry/autodiff/kernels/simd.hpp>

namespace tapestry::detail::TAPESTRY_ARCH {
namespace {

using Int = std::int64_t;

// Accumulators of a tile fill the registers: 32 of them with AVX-512, else 16.
#if defined(__AVX512F__)
constexpr int most_vectors = 4;
#else
constexpr int most_vectors = 2;
#endif
constexpr int most_rows(int vectors) {
  return vectors > 2 ? 6 : most_vectors == 2 && vectors == 2 ? 6 : 8;
}
// Rows of a panel that stay in the nearest cache while all tiles use them: 32 KiB.
constexpr Int depth_block = 128;

template <class T, int vectors, int rows>
void tile(const T* a, const Int* row, const Int* depth, Int k, const T* b, Int n, T* c, const Int* to,
          bool accumulate) {
  constexpr Int width = Int(lanes<T>);
  const T* x[rows];
  for (int r = 0; r < rows; ++r) x[r] = a + row[r];
  Vec<T> sum[rows][vectors] = {};
  for (Int p = 0; p < k; ++p, b += vectors * width) {
    Vec<T> y[vectors];
    for (int v = 0; v < vectors; ++v) y[v] = load<T>(b + v * width);
    const Int d = depth[p];
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v) sum[r][v] += x[r][d] * y[v];
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    T* out = c + to[r];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v, out += width) {
      const auto left = static_cast<std::size_t>(n - v * width);
      const Vec<T> old = accumulate ? load_partial<T>(out, left) : Vec<T>{};
      store_partial<T>(out, sum[r][v] + old, left);
    }
  }
}

template <class T>
using Tile = void (*)(const T*, const Int*, const Int*, Int, const T*, Int, T*, const Int*, bool);

template <class T, int vectors>
Tile<T> tile_of(Int rows) {
  switch (rows) {
    case 1:
      return tile<T, vectors, 1>;
    case 2:
      return tile<T, vectors, 2>;
    case 3:
      return tile<T, vectors, 3>;
    case 4:
      return tile<T, vectors, 4>;
    case 5:
      return tile<T, vectors, 5>;
    case 6:
      return tile<T, vectors, 6>;
    case 7:
      return tile<T, vectors, (most_rows(vectors) > 6 ? 7 : 6)>;
    default:
      return tile<T, vectors, most_rows(vectors)>;
  }
}

// Rows are shared out evenly among the tiles: a last tile of one or two rows would wait for its own sums.
template <class T, int vectors>
void multiply_vectors(const T* a, const Int* row, Int m, const Int* depth, Int k, const T* packed, Int n, T* c,
                      const Int* to, bool accumulate) {
  constexpr Int most = most_rows(vectors);
  const Int tiles = (m + most - 1) / most;
  if (tiles == 0) return;
  const Int rows = m / tiles, larger = m % tiles;
  const Tile<T> small = tile_of<T, vectors>(rows), large = tile_of<T, vectors>(rows + 1);
  for (Int p = 0; p < k || p == 0; p += depth_block) {
    const Int block = k - p < depth_block ? k - p : depth_block;
    const T* b = packed + p * vectors * Int(lanes<T>);
    const bool add = accumulate || p > 0;
    Int i = 0;
    for (Int t = 0; t < tiles; ++t) {
      (t < larger ? large : small)(a, row + i, depth + p, block, b, n, c, to + i, add);
      i += t < larger ? rows + 1 : rows;
    }
  }
}

template <class T>
void multiply(const T* a, const Int* row, Int m, const Int* depth, Int k, const T* packed, Int n, T* c, const Int* to,
              bool accumulate) {
  const Int vectors = (n + Int(lanes<T>) - 1) / Int(lanes<T>);
  switch (vectors) {
    case 0:
      return;
    case 1:
      return multiply_vectors<T, 1>(a, row, m, depth, k, packed, n, c, to, accumulate);
    case 2:
      return multiply_vectors<T, 2>(a, row, m, depth, k, packed, n, c, to, accumulate);
#if defined(__AVX512F__)
    case 3:
      return multiply_vectors<T, 3>(a, row, m, depth, k, packed, n, c, to, accumulate);
#endif
    default:
      return multiply_vectors<T, most_vectors>(a, row, m, depth, k, packed, n, c, to, accumulate);
  }
}

template <class T>
Int stride(Int n) {
  return (n + Int(lanes<T>) - 1) / Int(lanes<T>) * Int(lanes<T>);
}

template <class T>
void pack(const T* b, Int row, Int column, Int k, Int n, T* packed) {
  const Int width = stride<T>(n);
  if (column == 1) {
    for (Int p = 0; p < k; ++p, packed += width) {
      for (Int j = 0; j < width; j += Int(lanes<T>)) {
        const Int left = n - j;
        store<T>(packed + j, load_partial<T>(b + p * row + j,
                                             static_cast<std::size_t>(left < Int(lanes<T>) ? left : Int(lanes<T>))));
      }
    }
    return;
  }
  // Columns in groups of eight: their cache lines are used up before they leave.
  for (Int first = 0; first < n; first += 8) {
    const Int last = first + 8 < n ? first + 8 : n;
    for (Int p = 0; p < k; ++p)
      for (Int j = first; j < last; ++j) packed[p * width + j] = b[p * row + j * column];
  }
  for (Int p = 0; p < k; ++p)
    for (Int j = n; j < width; ++j) packed[p * width + j] = T(0);
}

template <class T>
constexpr GatheredProductKernels<T> table{most_vectors * Int(lanes<T>), stride<T>, pack<T>, multiply<T>};

}  // namespace

template <>
const GatheredProductKernels<float>& kernels() {
  return table<float>;
}
template <>
const GatheredProductKernels<double>& kernels() {
  return table<double>;
}

}  // namespace tapestry::detail::TAPESTRY_ARCH
