#include <tapestry/autodiff/kernels/substitution.hpp>

#include <cmath>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "autodiff/kernels/architectures.hpp"

using namespace tapestry::detail;
using tapestry::test::tables;

TEST_CASE_TEMPLATE("substitution: solves lower triangular systems, and touches nothing else", T, float, double) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(-0.5, 0.5);
  for (const auto& isa : tables<SubstitutionKernels<T>>())
    for (const std::size_t n : {0, 1, 3, 4, 7, 64})
      for (const std::size_t columns : {0, 1, 5, 16, 63, 64, 130}) {
        INFO(isa.name, " ", n, " x ", columns);
        const std::size_t ld = n + 2, stride = columns + 3;
        std::vector<T> l(n * ld), b(n * stride);
        for (T& x : l) x = T(uniform(random));  // above the diagonal, too, where it must not count
        for (std::size_t i = 0; i < n; ++i) l[i * ld + i] = T(4);
        for (T& x : b) x = T(uniform(random));
        std::vector<T> x = b;
        isa.table->forward(l.data(), ld, n, x.data(), stride, columns);
        double worst = 0;
        bool untouched = true;
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < stride; ++j) {
            if (j >= columns) {
              untouched = untouched && x[i * stride + j] == b[i * stride + j];
              continue;
            }
            double product = 0;
            for (std::size_t k = 0; k <= i; ++k) product += double(l[i * ld + k]) * double(x[k * stride + j]);
            worst = std::max(worst, std::abs(product - double(b[i * stride + j])));
          }
        CHECK(worst < 16 * double(std::numeric_limits<T>::epsilon()));
        CHECK(untouched);
      }
}
