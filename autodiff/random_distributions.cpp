#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <tapestry/autodiff/random_streams.hpp>

namespace tapestry {
namespace {

template <class T>
constexpr T largest = std::numeric_limits<T>::max();

/// Rows of the last axis, for operations that draw one thing for each.
struct Rows {
  Shape outer;
  std::int64_t count, length;
};
Rows rows_of(const char* operation, const Shape& shape) {
  if (shape.empty()) fail<ShapeError>(operation, "a tensor of rank 0 has no rows");
  Shape outer = shape;
  outer.erase(shape.rank() - 1);
  const Rows rows{outer, outer.elements(), shape.back()};
  if (rows.length == 0 && rows.count != 0) fail<ShapeError>(operation, "rows without elements: ", shape);
  return rows;
}

/// The first index whose cumulative weight exceeds u * total; a weight of 0 is never chosen.
template <class T>
std::int64_t search(const T* weights, std::int64_t n, double total, double u) {
  const double threshold = u * total;
  double cumulative = 0;
  std::int64_t last = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (!(weights[i] > T(0))) continue;
    last = i;
    cumulative += static_cast<double>(weights[i]);
    if (cumulative > threshold) break;
  }
  return last;
}

template <class T, class Row>
IndexTensor draw_rows(Generator& generator, const Rows& rows, Row row) {
  IndexTensor out = empty_tensor<std::int64_t>(rows.outer);
  Tensor<double> u = generator.uniform<double>({rows.count});
  const std::int64_t size = std::max<std::int64_t>(1, detail::random_grain / std::max<std::int64_t>(1, rows.length));
  detail::parallel_for(rows.count, size, [&](std::int64_t begin, std::int64_t end) {
    std::vector<T> scratch(static_cast<std::size_t>(rows.length));
    for (std::int64_t r = begin; r < end; ++r) out.data()[r] = row(r, u.data()[r], scratch.data());
  });
  return out;
}

/// Applies f(inputs as doubles, first element, results, count) in blocks, with conversion from and to T.
template <class T, class F>
void by_blocks(const T* in, T* out, std::int64_t n, F f) {
  detail::parallel_for(n, detail::random_grain, [&](std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t size = 256;
    alignas(64) double a[size], y[size];
    for (std::int64_t first = begin; first < end; first += size) {
      const std::int64_t count = std::min(size, end - first);
      for (std::int64_t i = 0; i < count; ++i) a[i] = static_cast<double>(in[first + i]);
      f(a, static_cast<std::uint64_t>(first), y, static_cast<std::size_t>(count));
      for (std::int64_t i = 0; i < count; ++i) out[first + i] = static_cast<T>(y[i]);
    }
  });
}

}  // namespace

template <class T>
IndexTensor Generator::categorical(const Tensor<T>& logits) {
  constexpr const char* name = "Generator::categorical";
  const Rows rows = rows_of(name, shape_of(logits));
  std::vector<T> maxima(static_cast<std::size_t>(rows.count));
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T* x = logits.data() + r * rows.length;
    T highest = -std::numeric_limits<T>::infinity();
    bool valid = true;
    for (std::int64_t i = 0; i < rows.length; ++i) {
      valid &= x[i] <= largest<T>;
      highest = x[i] > highest ? x[i] : highest;
    }
    if (!valid) fail<NumericalError>(name, "row ", r, " holds NaN or +inf");
    if (!(highest >= -largest<T>)) fail<NumericalError>(name, "every logit of row ", r, " is -inf");
    maxima[static_cast<std::size_t>(r)] = highest;
  }
  return draw_rows<T>(*this, rows, [&](std::int64_t r, double u, T* weights) {
    detail::random_kernels<T>().exponentials(logits.data() + r * rows.length, maxima[static_cast<std::size_t>(r)],
                                             weights, static_cast<std::size_t>(rows.length));
    double total = 0;
    for (std::int64_t i = 0; i < rows.length; ++i) total += static_cast<double>(weights[i]);
    return search(weights, rows.length, total, u);
  });
}

template <class T>
IndexTensor Generator::categorical_from_probabilities(const Tensor<T>& probabilities) {
  constexpr const char* name = "Generator::categorical_from_probabilities";
  const Rows rows = rows_of(name, shape_of(probabilities));
  detail::check_random_arguments(name, probabilities, T(0), largest<T>, false,
                                 "probabilities are finite and not negative");
  std::vector<double> totals(static_cast<std::size_t>(rows.count));
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const T* p = probabilities.data() + r * rows.length;
    double& total = totals[static_cast<std::size_t>(r)];
    for (std::int64_t i = 0; i < rows.length; ++i) total += static_cast<double>(p[i]);
    if (!(total > 0) || !std::isfinite(total)) fail<NumericalError>(name, "row ", r, " sums to ", total);
  }
  return draw_rows<T>(*this, rows, [&](std::int64_t r, double u, T*) {
    return search(probabilities.data() + r * rows.length, rows.length, totals[static_cast<std::size_t>(r)], u);
  });
}

template <class T>
Tensor<T> Generator::gamma(const Tensor<T>& concentration) {
  detail::check_random_arguments("Generator::gamma", concentration, T(0), largest<T>, true,
                                 "concentrations are positive and finite");
  Tensor<T> out = empty_tensor<T>(shape_of(concentration));
  const detail::PhiloxStream stream = detail::derive_stream(*this);
  by_blocks(concentration.data(), out.data(), static_cast<std::int64_t>(out.size()),
            [&](const double* a, std::uint64_t first, double* y, std::size_t n) {
              detail::kernels<detail::PhiloxKernels>().log_gamma(stream, first, a, 1, y, n);
              detail::random_kernels<double>().exponentials(y, 0, y, n);
            });
  return out;
}

template <class T>
Tensor<T> Generator::beta(const Tensor<T>& a, const Tensor<T>& b) {
  constexpr const char* name = "Generator::beta";
  if (shape_of(a) != shape_of(b)) fail<ShapeError>(name, "shapes differ: ", shape_of(a), " and ", shape_of(b));
  detail::check_random_arguments(name, a, T(0), largest<T>, true, "concentrations are positive and finite");
  detail::check_random_arguments(name, b, T(0), largest<T>, true, "concentrations are positive and finite");
  Tensor<T> out = empty_tensor<T>(shape_of(a));
  const detail::PhiloxStream first_stream = detail::derive_stream(*this), second_stream = detail::derive_stream(*this);
  by_blocks(a.data(), out.data(), static_cast<std::int64_t>(out.size()),
            [&](double* alpha, std::uint64_t first, double* y, std::size_t n) {
              const auto& kernels = detail::kernels<detail::PhiloxKernels>();
              kernels.log_gamma(first_stream, first, alpha, 1, y, n);
              for (std::size_t i = 0; i < n; ++i) alpha[i] = static_cast<double>(b.data()[first + i]);
              kernels.log_gamma(second_stream, first, alpha, 1, alpha, n);
              for (std::size_t i = 0; i < n; ++i) y[i] = alpha[i] - y[i];
              detail::random_kernels<double>().exponentials(y, 0, y, n);
              for (std::size_t i = 0; i < n; ++i) y[i] = 1 / (1 + y[i]);
            });
  return out;
}

template <class T>
Tensor<T> Generator::dirichlet(const Tensor<T>& concentration) {
  constexpr const char* name = "Generator::dirichlet";
  const Rows rows = rows_of(name, shape_of(concentration));
  detail::check_random_arguments(name, concentration, T(0), largest<T>, true, "concentrations are positive and finite");
  Tensor<double> logs = empty_tensor<double>(shape_of(concentration));
  for (std::size_t i = 0; i < logs.size(); ++i) logs.data()[i] = static_cast<double>(concentration.data()[i]);
  const detail::PhiloxStream stream = detail::derive_stream(*this);
  by_blocks(logs.data(), logs.data(), static_cast<std::int64_t>(logs.size()),
            [&](const double* a, std::uint64_t first, double* y, std::size_t n) {
              detail::kernels<detail::PhiloxKernels>().log_gamma(stream, first, a, 1, y, n);
            });
  Tensor<T> out = empty_tensor<T>(shape_of(concentration));
  for (std::int64_t r = 0; r < rows.count; ++r) {
    double* y = logs.data() + r * rows.length;
    detail::random_kernels<double>().exponentials(y, *std::max_element(y, y + rows.length), y,
                                                  static_cast<std::size_t>(rows.length));
    const double total = std::accumulate(y, y + rows.length, 0.0);
    for (std::int64_t i = 0; i < rows.length; ++i) out.data()[r * rows.length + i] = static_cast<T>(y[i] / total);
  }
  return out;
}

template <class T>
Tensor<T> Generator::poisson(const Tensor<T>& rate) {
  detail::check_random_arguments("Generator::poisson", rate, T(0), T(0x1p40), false, "rates are in [0, 2^40]");
  Tensor<T> out = empty_tensor<T>(shape_of(rate));
  const detail::PhiloxStream stream = detail::derive_stream(*this);
  by_blocks(rate.data(), out.data(), static_cast<std::int64_t>(out.size()),
            [&](const double* mu, std::uint64_t first, double* y, std::size_t n) {
              detail::kernels<detail::PhiloxKernels>().poisson(stream, first, mu, 1, y, n);
            });
  return out;
}

#define TAPESTRY_INSTANTIATE(T)                                                        \
  template IndexTensor Generator::categorical<T>(const Tensor<T>&);                    \
  template IndexTensor Generator::categorical_from_probabilities<T>(const Tensor<T>&); \
  template Tensor<T> Generator::gamma<T>(const Tensor<T>&);                            \
  template Tensor<T> Generator::beta<T>(const Tensor<T>&, const Tensor<T>&);           \
  template Tensor<T> Generator::dirichlet<T>(const Tensor<T>&);                        \
  template Tensor<T> Generator::poisson<T>(const Tensor<T>&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
