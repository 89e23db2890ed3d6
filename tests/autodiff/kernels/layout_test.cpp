#include <tapestry/autodiff/kernels/layout.hpp>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;

namespace {

template <class T>
std::vector<T> counting(std::size_t n) {
  std::vector<T> x(n);
  std::iota(x.begin(), x.end(), T(1));
  return x;
}

/// One element at a time, axis by axis.
template <class T>
void copy_slowly(const T* x, T* y, const StridedBox& box, bool accumulate, int axis = 0) {
  if (axis == box.axes) {
    *y = accumulate ? *y + *x : *x;
    return;
  }
  for (std::int64_t i = 0; i < box.extent[axis]; ++i)
    copy_slowly(x + i * box.from[axis], y + i * box.to[axis], box, accumulate, axis + 1);
}

}  // namespace

TEST_CASE_TEMPLATE("layout: transposition of all small and some large matrices", T, float, double) {
  for (const auto& isa : tables<LayoutKernels<T>>())
    for (const std::size_t rows : {0, 1, 3, 4, 5, 16, 19, 70})
      for (const std::size_t columns : {0, 1, 2, 4, 7, 8, 33, 130}) {
        INFO(isa.name, " ", rows, " ", columns);
        const std::size_t stride_x = columns + 3, stride_y = rows + 2;
        const std::vector<T> x = counting<T>(rows * stride_x);
        std::vector<T> y(columns * stride_y);
        isa.table->transpose(x.data(), rows, columns, stride_x, y.data(), stride_y);
        for (std::size_t c = 0; c < columns; ++c) {
          for (std::size_t r = 0; r < rows; ++r) CHECK(y[c * stride_y + r] == x[r * stride_x + c]);
          CHECK(y[c * stride_y + rows] == 0);
        }
      }
}

TEST_CASE_TEMPLATE("layout: copies between random boxes", T, float, double) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 300; ++trial) {
    const int axes = int(random() % 6);
    std::vector<std::int64_t> extent(axes), place(axes);
    for (auto& e : extent) e = 1 + std::int64_t(random() % 9);
    std::iota(place.begin(), place.end(), 0);
    std::shuffle(place.begin(), place.end(), random);
    // The target is dense or has gaps; the source is permuted, broadcast, stepped or flipped.
    std::vector<std::int64_t> to(axes), from(axes);
    std::int64_t to_size = 1, from_size = 1, offset = 0;
    for (int k = axes - 1; k >= 0; --k) {
      to[k] = to_size;
      to_size *= extent[k] + (random() % 4 == 0);
    }
    for (const auto k : place) {
      const auto kind = random() % 6;
      if (kind == 0) continue;
      const std::int64_t step = kind == 1 ? 2 : 1;
      from[k] = (kind == 2 ? -1 : 1) * from_size * step;
      if (kind == 2) offset += from_size * (extent[k] - 1);
      from_size *= extent[k] * step;
    }
    StridedBox box;
    for (int k = 0; k < axes; ++k) box.add(extent[k], from[k], to[k]);
    const std::vector<T> x = counting<T>(std::size_t(from_size));
    for (const bool accumulate : {false, true}) {
      std::vector<T> expected(std::size_t(to_size), T(7));
      copy_slowly(x.data() + offset, expected.data(), box, accumulate);
      for (const auto& isa : tables<LayoutKernels<T>>()) {
        std::vector<T> y(std::size_t(to_size), T(7));
        isa.table->copy(x.data() + offset, y.data(), box, accumulate);
        INFO(isa.name, " trial ", trial);
        CHECK(y == expected);
      }
    }
  }
}

TEST_CASE("layout: the gradient of a slice with steps goes back to its places") {
  for (const auto& isa : tables<LayoutKernels<double>>()) {
    INFO(isa.name);
    // x[1::2, ::-1] of a [4, 3] array
    const double g[] = {1, 2, 3, 4, 5, 6};
    std::vector<double> out(12, 1);
    StridedBox box;
    box.add(2, 3, 6);
    box.add(3, 1, -1);
    isa.table->copy(g, out.data() + 3 + 2, box, true);
    CHECK(out == std::vector<double>{1, 1, 1, 4, 3, 2, 1, 1, 1, 7, 6, 5});
  }
}

TEST_CASE("layout: an empty box moves nothing") {
  for (const auto& isa : tables<LayoutKernels<double>>()) {
    INFO(isa.name);
    StridedBox box;
    box.add(3, 0, 0);
    box.add(0, 1, 1);
    double y = 5;
    isa.table->copy(nullptr, &y, box, false);
    CHECK(y == 5);
  }
}

TEST_CASE_TEMPLATE("layout: gathered and scattered rows", T, float, double) {
  for (const auto& isa : tables<LayoutKernels<T>>())
    for (const std::size_t inner : {1, 3, 40}) {
      INFO(isa.name, " ", inner);
      const AxisView v{2, 5, inner};
      const std::vector<std::int64_t> index = {4, 0, 0, 2, 4, 4};
      const std::vector<T> x = counting<T>(2 * 5 * inner);
      std::vector<T> y(2 * 6 * inner), out(2 * 5 * inner, T(1));
      isa.table->gather(x.data(), v, index.data(), 6, y.data());
      isa.table->scatter_add(y.data(), index.data(), 6, out.data(), v);
      const T times[] = {2, 0, 1, 0, 3};
      for (std::size_t o = 0; o < 2; ++o)
        for (std::size_t i = 0; i < inner; ++i) {
          for (std::size_t k = 0; k < 6; ++k)
            CHECK(y[(o * 6 + k) * inner + i] == x[(o * 5 + std::size_t(index[k])) * inner + i]);
          for (std::size_t a = 0; a < 5; ++a)
            CHECK(out[(o * 5 + a) * inner + i] == 1 + times[a] * x[(o * 5 + a) * inner + i]);
        }
    }
}

TEST_CASE_TEMPLATE("layout: one index for each element", T, float, double) {
  for (const auto& isa : tables<LayoutKernels<T>>()) {
    INFO(isa.name);
    const T x[] = {1, 2, 3, 4, 5, 6};  // [1, 3, 2]
    const std::int64_t index[] = {2, 0, 1, 1, 2, 0, 0, 2};
    T y[8], out[6] = {};
    isa.table->gather_along(x, {1, 3, 2}, index, 4, y);
    CHECK(std::vector<T>(y, y + 8) == std::vector<T>{5, 2, 3, 4, 5, 2, 1, 6});
    isa.table->scatter_add_along(y, index, 4, out, {1, 3, 2});
    CHECK(std::vector<T>(out, out + 6) == std::vector<T>{1, 4, 3, 4, 10, 6});
  }
}
