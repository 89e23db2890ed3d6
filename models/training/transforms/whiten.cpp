#include <tapestry/models/training/transforms/whiten.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <tapestry/autodiff/blas.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/lapack.hpp>

namespace tapestry {

template <class T>
Whitener<T> Whitener<T>::fit(const Tensor<T>& data, const WhitenOptions& options) {
  const Shape shape = shape_of(data);
  if (shape.rank() != 2 || shape[0] == 0) fail<ShapeError>("Whitener", "data ", shape, " is not [n, d] with n > 0");
  const std::int64_t n = shape[0], d = shape[1], kept = options.components == 0 ? d : options.components;
  if (kept < 0 || kept > d) fail<ShapeError>("Whitener", kept, " components of ", d);
  if (!(options.epsilon >= 0)) fail<NumericalError>("Whitener", "epsilon ", options.epsilon);

  auto centred = empty_tensor<double>(shape), mean = empty_tensor<double>({d}),
       covariance = empty_tensor<double>({d, d});
  std::copy(data.data(), data.data() + data.size(), centred.data());
  std::fill(mean.data(), mean.data() + d, 0.);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < d; ++k) mean.data()[k] += centred.data()[i * d + k];
  for (std::int64_t k = 0; k < d; ++k) {
    mean.data()[k] /= static_cast<double>(n);
    if (!std::isfinite(mean.data()[k])) fail<NumericalError>("Whitener", "feature ", k, " is not finite");
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t k = 0; k < d; ++k) centred.data()[i * d + k] -= mean.data()[k];
  detail::gemm<double>(true, false, d, d, n, 1. / static_cast<double>(n), centred.data(), d, centred.data(), d, 0.,
                       covariance.data(), d);
  auto values = empty_tensor<double>({d});
  if (detail::syevd(d, covariance.data(), d, values.data()) != 0)
    fail<NumericalError>("Whitener", "the eigenvalues of the covariance were not found");

  // The k-th axis, largest variance first, its sign such that its largest entry is positive.
  Whitener result;
  result.variances_ = empty_tensor<double>({kept});
  auto axes = empty_tensor<double>({kept, d}), forward = empty_tensor<double>({d, kept}),
       backward = empty_tensor<double>({kept, d});
  for (std::int64_t k = 0; k < kept; ++k) {
    std::vector<double> axis;
    for (std::int64_t i = 0; i < d; ++i) axis.push_back(covariance.data()[i * d + d - 1 - k]);
    const auto largest =
        std::max_element(axis.begin(), axis.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double sign = *largest < 0 ? -1. : 1.;
    const double variance = std::max(0., values.data()[d - 1 - k]);
    const double deviation = std::sqrt(variance + options.epsilon);
    result.variances_.data()[k] = variance;
    for (std::int64_t i = 0; i < d; ++i) {
      const double a = sign * axis[static_cast<std::size_t>(i)];
      axes.data()[k * d + i] = a;
      forward.data()[i * kept + k] = deviation > 0 ? a / deviation : 0;
      backward.data()[k * d + i] = a * deviation;
    }
  }
  const auto finish = [](const Tensor<double>& matrix) {
    auto out = empty_tensor<T>(shape_of(matrix));
    std::transform(matrix.data(), matrix.data() + matrix.size(), out.data(),
                   [](double x) { return static_cast<T>(x); });
    return out;
  };
  if (options.kind == Whitening::zca) {
    auto to = empty_tensor<double>({d, d}), from = empty_tensor<double>({d, d});
    detail::gemm<double>(false, false, d, d, kept, 1., forward.data(), kept, axes.data(), d, 0., to.data(), d);
    detail::gemm<double>(true, false, d, d, kept, 1., axes.data(), d, backward.data(), d, 0., from.data(), d);
    forward = std::move(to);
    backward = std::move(from);
  }
  result.mean_ = finish(mean);
  result.forward_ = finish(forward);
  result.backward_ = finish(backward);
  return result;
}

template <class T>
Tensor<T> Whitener<T>::apply(const Tensor<T>& data) const {
  const Shape shape = shape_of(data), map = shape_of(forward_);
  if (shape.rank() != 2 || shape[1] != map[0]) fail<ShapeError>("Whitener", "data ", shape, " with a map ", map);
  auto centred = empty_tensor<T>(shape), result = empty_tensor<T>({shape[0], map[1]});
  for (std::int64_t i = 0; i < shape.elements(); ++i) centred.data()[i] = data.data()[i] - mean_.data()[i % shape[1]];
  detail::gemm<T>(false, false, shape[0], map[1], map[0], T(1), centred.data(), map[0], forward_.data(), map[1], T(0),
                  result.data(), map[1]);
  return result;
}

template <class T>
Tensor<T> Whitener<T>::invert(const Tensor<T>& data) const {
  const Shape shape = shape_of(data), map = shape_of(backward_);
  if (shape.rank() != 2 || shape[1] != map[0]) fail<ShapeError>("Whitener", "data ", shape, " with a map ", map);
  auto result = empty_tensor<T>({shape[0], map[1]});
  for (std::int64_t i = 0; i < shape[0]; ++i)
    std::copy(mean_.data(), mean_.data() + map[1], result.data() + i * map[1]);
  detail::gemm<T>(false, false, shape[0], map[1], map[0], T(1), data.data(), map[0], backward_.data(), map[1], T(1),
                  result.data(), map[1]);
  return result;
}

template class Whitener<float>;
template class Whitener<double>;

}  // namespace tapestry
