#include <tapestry/autodiff/registry.hpp>

#include <algorithm>
#include <numeric>
#include <random>

#include <tapestry/autodiff/ops/register.hpp>

namespace tapestry {

ExampleInput uniform_example(const Shape& shape, double low, double high) {
  return {shape, [=](const Shape& s, std::uint64_t seed) {
            std::mt19937_64 random(seed);
            std::uniform_real_distribution<double> uniform(low, high);
            Tensor<double> out = empty_tensor<double>(s);
            std::generate_n(out.data(), out.size(), [&] { return uniform(random); });
            return out;
          }};
}

ExampleInput distinct_example(const Shape& shape) {
  return {shape, [](const Shape& s, std::uint64_t seed) {
            std::mt19937_64 random(seed);
            Tensor<double> out = empty_tensor<double>(s);
            std::iota(out.data(), out.data() + out.size(), -0.5 * static_cast<double>(out.size()));
            std::shuffle(out.data(), out.data() + out.size(), random);
            std::for_each(out.data(), out.data() + out.size(), [](double& x) { x = 0.2 * x + 0.05; });
            return out;
          }};
}

ExampleInput positive_definite_example(const Shape& shape) {
  return {shape, [](const Shape& s, std::uint64_t seed) {
            const Tensor<double> a = uniform_example(s, -1, 1)(seed);
            Tensor<double> out = a;
            const std::int64_t n = s.rank() < 2 ? 0 : s.back(), batch = n == 0 ? 0 : s.elements() / (n * n);
            for (std::int64_t b = 0; b < batch; ++b)
              for (std::int64_t i = 0; i < n; ++i)
                for (std::int64_t j = 0; j < n; ++j) {
                  double dot = i == j ? 1 : 0;
                  for (std::int64_t k = 0; k < n; ++k)
                    dot += a.data()[(b * n + i) * n + k] * a.data()[(b * n + j) * n + k];
                  out.data()[(b * n + i) * n + j] = dot;
                }
            return out;
          }};
}

ExampleInput fixed_example(Tensor<double> values) {
  const Shape shape = shape_of(values);
  return {shape, [values = std::move(values)](const Shape& s, std::uint64_t) {
            Tensor<double> out = empty_tensor<double>(s);
            for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = values.data()[i % values.size()];
            return out;
          }};
}

const Registry& registry() {
  static const Registry all = [] {
    Registry r;
    detail::register_arithmetic(r);
    detail::register_elementary(r);
    detail::register_reductions(r);
    detail::register_shaping(r);
    detail::register_matmul(r);
    detail::register_slicing(r);
    detail::register_decompositions(r);
    detail::register_convolution(r);
    detail::register_indexing(r);
    detail::register_statistics(r);
    detail::register_losses(r);
    detail::register_pooling(r);
    detail::register_normalization(r);
    detail::register_recurrent(r);
    detail::register_sparse(r);
    return r;
  }();
  return all;
}

}  // namespace tapestry
