#pragma once

#include <algorithm>
#include <cmath>

#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/models/layers/convolution.hpp>
#include <tapestry/models/training/readers/idx.hpp>
#include <tapestry/models/training/transforms/binarise.hpp>

#include "program.hpp"

/// Images and the label of each of their pixels.
struct LabelledImages {
  tapestry::Tensor<float> images;  ///< [n, channels, height, width]
  tapestry::IndexTensor labels;    ///< [n, height, width]
  std::int64_t states = 2;

  std::int64_t size() const { return static_cast<std::int64_t>(labels.shape()[0]); }
  std::int64_t channels() const { return static_cast<std::int64_t>(images.shape()[1]); }
  std::int64_t height() const { return static_cast<std::int64_t>(labels.shape()[1]); }
  std::int64_t width() const { return static_cast<std::int64_t>(labels.shape()[2]); }

  /// Some of the images, in the given order.
  LabelledImages pick(const std::int64_t* which, std::int64_t n) const {
    LabelledImages out{tapestry::empty_tensor<float>({n, channels(), height(), width()}),
                       tapestry::empty_tensor<std::int64_t>({n, height(), width()}), states};
    const std::int64_t pixels = height() * width(), values = channels() * pixels;
    for (std::int64_t i = 0; i < n; ++i) {
      std::copy_n(images.data() + which[i] * values, values, out.images.data() + i * values);
      std::copy_n(labels.data() + which[i] * pixels, pixels, out.labels.data() + i * pixels);
    }
    return out;
  }
  /// All images cut into strips of so many rows (what is left over at the bottom is dropped).
  LabelledImages strips(std::int64_t rows) const {
    const std::int64_t each = height() / rows;
    LabelledImages out{tapestry::empty_tensor<float>({size() * each, channels(), rows, width()}),
                       tapestry::empty_tensor<std::int64_t>({size() * each, rows, width()}), states};
    float* value = out.images.data();
    std::int64_t* label = out.labels.data();
    for (std::int64_t i = 0; i < size(); ++i)
      for (std::int64_t s = 0; s < each; ++s) {
        for (std::int64_t c = 0; c < channels(); ++c, value += rows * width())
          std::copy_n(images.data() + ((i * channels() + c) * height() + s * rows) * width(), rows * width(), value);
        std::copy_n(labels.data() + (i * height() + s * rows) * width(), rows * width(), label);
        label += rows * width();
      }
    return out;
  }
};

/// Square images of discs, rectangles and triangles (labels 1 to 3) before a ground (0), each kind in its colour, under
/// noise that hides most of a single pixel's label.
inline LabelledImages draw_shapes(std::int64_t n, std::int64_t side, tapestry::Generator& random, float noise = 0.45f) {
  static constexpr float colors[4][3] = {
      {0.3f, 0.3f, 0.35f}, {0.8f, 0.4f, 0.3f}, {0.35f, 0.75f, 0.4f}, {0.4f, 0.4f, 0.85f}};
  LabelledImages out{random.normal<float>({n, 3, side, side}, 0.0f, noise),
                     tapestry::empty_tensor<std::int64_t>({n, side, side}), 4};
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t* const labels = out.labels.data() + i * side * side;
    std::fill_n(labels, side * side, 0);
    for (std::int64_t shape = 2 + random.integer(3); shape > 0; --shape) {
      const std::int64_t kind = 1 + random.integer(3);
      const double size = static_cast<double>(side) * (0.12 + 0.13 * random.uniform());
      const double cy = static_cast<double>(side) * random.uniform(), cx = static_cast<double>(side) * random.uniform();
      const double stretch = 0.6 + 0.8 * random.uniform();
      for (std::int64_t y = 0; y < side; ++y)
        for (std::int64_t x = 0; x < side; ++x) {
          const double dy = (static_cast<double>(y) - cy) / size, dx = (static_cast<double>(x) - cx) / size;
          const bool inside = kind == 1   ? dy * dy + dx * dx < 1
                              : kind == 2 ? std::abs(dy) < stretch && std::abs(dx) < 1 / stretch
                                          : dy < 1 && dy > 2 * std::abs(dx) - 1;
          if (inside) labels[y * side + x] = kind;
        }
    }
    for (std::int64_t c = 0; c < 3; ++c)
      for (std::int64_t p = 0; p < side * side; ++p)
        out.images.data()[(i * 3 + c) * side * side + p] += colors[labels[p]][c];
  }
  return out;
}

/// The first n images of a file of binarised MNIST as labels; as images the same with a share of the pixels flipped.
inline LabelledImages noisy_digits(const std::string& data, const std::string& file, std::int64_t n, float flipped,
                                   tapestry::Generator& random) {
  using namespace tapestry;
  const auto path = data_file(data, "binarized_mnist", file,
                              "MNIST as binarised by Larochelle and Salakhutdinov (http://www.cs.toronto.edu/~larocheh/"
                              "public/datasets/binarized_mnist/, as IDX files of 0 and 1)");
  const Tensor<float> all = read_idx<float>(path);
  if (all.dimension() != 3 || all.shape()[0] < 1) fail<IoError>("--data", path.string(), ": no images");
  n = std::min(n, static_cast<std::int64_t>(all.shape()[0]));
  const auto height = static_cast<std::int64_t>(all.shape()[1]), width = static_cast<std::int64_t>(all.shape()[2]);
  LabelledImages out{empty_tensor<float>({n, 1, height, width}), empty_tensor<std::int64_t>({n, height, width}), 2};
  std::copy_n(all.data(), out.images.size(), out.images.data());
  for (std::size_t i = 0; i < out.images.size(); ++i) {
    if (all.data()[i] != 0 && all.data()[i] != 1)
      fail<IoError>("--data", path.string(), ": pixel ", i, " is ", all.data()[i], ", neither 0 nor 1");
    out.labels.data()[i] = all.data()[i] > 0;
  }
  out.images = flip_bits(out.images, flipped, random);
  return out;
}

/// Sees one pixel at a time.
struct PixelNetwork {
  tapestry::Conv2d<float> hidden, output;
  PixelNetwork(std::int64_t channels, std::int64_t states, tapestry::Generator& random)
      : hidden(channels, 16, 1, random), output(16, states, 1, random) {}
  tapestry::Var<float> forward(const tapestry::Var<float>& images) const {
    return output.forward(relu(hidden.forward(images)));
  }
  void members(tapestry::Members& m) { m("hidden", hidden)("output", output); }
};
