#include <tapestry/models/crf/dense_crf.hpp>

#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/dense/dense_mean_field.hpp>

namespace tapestry {
namespace {

/// An image of a batch as [height, width, channels].
template <class T>
Tensor<T> channels_last(const Var<T>& images, std::int64_t b) {
  const std::int64_t channels = images.extent(1), pixels = images.extent(2) * images.extent(3);
  Tensor<T> out = empty_tensor<T>({images.extent(2), images.extent(3), channels});
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t p = 0; p < pixels; ++p)
      out.data()[p * channels + c] = images.data()[(b * channels + c) * pixels + p];
  return out;
}

}  // namespace

template <class T>
DensePairwise<T>::DensePairwise(std::int64_t states, const DenseCrfOptions& settings) : options(settings) {
  if (states < 1) fail<ShapeError>("DenseCrf", states, " states");
  weights = Var<T>::filled({2, states}, static_cast<T>(settings.weight), true);
  Tensor<T> table = empty_tensor<T>({states, states});
  for (std::int64_t a = 0; a < states; ++a)
    for (std::int64_t b = 0; b < states; ++b)
      table.data()[a * states + b] = a == b ? static_cast<T>(settings.coupling) : T(0);
  compatibility = Var<T>(std::move(table), true);
}

template <class T>
Var<T> DensePairwise<T>::log_marginals(const Var<T>& scores, const Var<T>& images) const {
  const std::int64_t states = compatibility.extent(0);
  if (scores.rank() != 4 || scores.extent(1) != states || images.rank() != 4 || images.extent(0) != scores.extent(0) ||
      images.extent(2) != scores.extent(2) || images.extent(3) != scores.extent(3))
    fail<ShapeError>("DenseCrf", "images ", images.shape(), " and the network's scores ", scores.shape(), " for ",
                     states, " states");
  const std::int64_t height = scores.extent(2), width = scores.extent(3);
  const GaussianFilterOptions filtering{.normalize = true};
  const DenseMeanFieldOptions field{.iterations = mode.training ? options.iterations : options.test_iterations,
                                    .log_partition = false};
  const GaussianFilter<T> near(pixel_features<T>(height, width, static_cast<T>(options.position_deviation)), filtering);
  const Var<T> unary = transpose(scores, {0, 2, 3, 1});
  std::vector<Var<T>> parts;
  for (std::int64_t b = 0; b < scores.extent(0); ++b) {
    const GaussianFilter<T> far(pixel_features<T>(channels_last(images, b), static_cast<T>(options.far_deviation),
                                                  static_cast<T>(options.color_deviation)),
                                filtering);
    const auto result = dense_mean_field<T>(reshape(select(unary, 0, b), {height * width, states}), {near, far},
                                            weights, compatibility, field);
    parts.push_back(reshape(log(result.marginals), {height, width, states}));
  }
  return stack(parts);
}

template struct DensePairwise<float>;
template struct DensePairwise<double>;

}  // namespace tapestry
