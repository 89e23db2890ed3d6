#include <tapestry/models/crf/grid_crf.hpp>

#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

namespace tapestry {
namespace {

/// exp(-beta |difference|^2) for the edges to the right and down: [batch, height, width - 1, 1, 1] and so on.
template <class T>
std::pair<Var<T>, Var<T>> contrasts(const Var<T>& images) {
  const std::int64_t batch = images.extent(0), channels = images.extent(1), height = images.extent(2),
                     width = images.extent(3);
  Tensor<T> right = empty_tensor<T>({batch, height, width - 1, 1, 1});
  Tensor<T> down = empty_tensor<T>({batch, height - 1, width, 1, 1});
  const T* const data = images.data();
  for (std::int64_t b = 0; b < batch; ++b) {
    T* const to_right = right.data() + b * height * (width - 1);
    T* const to_below = down.data() + b * (height - 1) * width;
    const auto difference = [&](std::int64_t y, std::int64_t x, std::int64_t offset) {
      T total = 0;
      for (std::int64_t c = 0; c < channels; ++c) {
        const T* const pixel = data + ((b * channels + c) * height + y) * width + x;
        total += (pixel[offset] - pixel[0]) * (pixel[offset] - pixel[0]);
      }
      return total;
    };
    T total = 0;
    const std::int64_t edges = height * (width - 1) + (height - 1) * width;
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x) {
        if (x + 1 < width) total += to_right[y * (width - 1) + x] = difference(y, x, 1);
        if (y + 1 < height) total += to_below[y * width + x] = difference(y, x, width);
      }
    const T beta = total > 0 ? static_cast<T>(edges) / (2 * total) : T(0);
    for (std::int64_t i = 0; i < height * (width - 1); ++i) to_right[i] = std::exp(-beta * to_right[i]);
    for (std::int64_t i = 0; i < (height - 1) * width; ++i) to_below[i] = std::exp(-beta * to_below[i]);
  }
  return {Var<T>(std::move(right)), Var<T>(std::move(down))};
}

}  // namespace

template <class T>
GridPairwise<T>::GridPairwise(std::int64_t states, const GridCrfOptions& options) : layout(options.layout) {
  if (states < 1) fail<ShapeError>("GridCrf", states, " states");
  Tensor<T> start = empty_tensor<T>({states, states});
  for (std::int64_t a = 0; a < states; ++a)
    for (std::int64_t b = 0; b < states; ++b)
      start.data()[a * states + b] = a == b ? static_cast<T>(options.coupling) : T(0);
  horizontal = Var<T>(start, true);
  vertical = Var<T>(start, true);
  if (options.contrast) contrast = Var<T>::filled({2, states, states}, 0, true);
}

template <class T>
GridPotentials<T> GridPairwise<T>::potentials(const Var<T>& scores, const Var<T>& images) const {
  if (scores.rank() != 4) fail<ShapeError>("GridCrf", "the network's scores ", scores.shape(), " must have four axes");
  GridPotentials<T> out{layout == GridLayout::states_first ? transpose(scores, {0, 2, 3, 1}) : scores, horizontal,
                        vertical};
  if (!contrast.defined()) return out;
  if (images.rank() != 4 || images.extent(0) != out.unary.extent(0) || images.extent(2) != out.unary.extent(1) ||
      images.extent(3) != out.unary.extent(2))
    fail<ShapeError>("GridCrf", "images ", images.shape(), " and the network's scores ", scores.shape());
  const auto [right, down] = contrasts(images);
  out.horizontal = horizontal + right * select(contrast, 0, 0);
  out.vertical = vertical + down * select(contrast, 0, 1);
  return out;
}

template struct GridPairwise<float>;
template struct GridPairwise<double>;

}  // namespace tapestry
