#include <tapestry/models/report/picture.hpp>

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr Color not_a_number{220, 0, 0};

std::uint8_t byte(double share) {
  return static_cast<std::uint8_t>(std::lround(255 * std::clamp(share, 0.0, 1.0)));
}

/// A colour between equally spaced ones.
template <std::size_t N>
Color between(const std::array<Color, N>& stops, double share) {
  const double at = std::clamp(share, 0.0, 1.0) * (N - 1);
  const std::size_t i = std::min(static_cast<std::size_t>(at), N - 2);
  const double rest = at - static_cast<double>(i);
  const auto mix = [&](std::uint8_t a, std::uint8_t b) { return byte((a + rest * (b - a)) / 255); };
  return {mix(stops[i].red, stops[i + 1].red), mix(stops[i].green, stops[i + 1].green),
          mix(stops[i].blue, stops[i + 1].blue)};
}

template <class T, class F>
Picture draw(const char* operation, const Tensor<T>& values, const F& color) {
  if (values.dimension() != 2) fail<ShapeError>(operation, "values ", shape_of(values), " must be [height, width]");
  Picture out(static_cast<std::int64_t>(values.shape()[0]), static_cast<std::int64_t>(values.shape()[1]));
  const T* from = values.data();
  for (std::int64_t y = 0; y < out.height(); ++y)
    for (std::int64_t x = 0; x < out.width(); ++x) out.at(y, x) = color(*from++);
  return out;
}

}  // namespace

Picture::Picture(std::int64_t height, std::int64_t width, Color fill) : height_(height), width_(width) {
  if (height < 1 || width < 1) fail<ShapeError>("Picture", "no picture of ", height, " by ", width, " pixels");
  pixels_.assign(static_cast<std::size_t>(height * width), fill);
}

void Picture::paste(const Picture& other, std::int64_t row, std::int64_t column) {
  if (row < 0 || column < 0 || row + other.height_ > height_ || column + other.width_ > width_)
    fail<ShapeError>("Picture::paste", other.height_, " by ", other.width_, " pixels at row ", row, ", column ", column,
                     " are not inside ", height_, " by ", width_);
  for (std::int64_t y = 0; y < other.height_; ++y) std::copy_n(&other.at(y, 0), other.width_, &at(row + y, column));
}

template <class T>
Picture grey_picture(const Tensor<T>& values, T low, T high) {
  return draw("grey_picture", values, [&](T v) {
    if (std::isnan(v)) return not_a_number;
    const std::uint8_t shade = byte(static_cast<double>((v - low) / (high - low)));
    return Color{shade, shade, shade};
  });
}

template <class T>
Picture color_picture(const Tensor<T>& channels) {
  if (channels.dimension() != 3 || channels.shape()[0] != 3)
    fail<ShapeError>("color_picture", "values ", shape_of(channels), " must be [3, height, width]");
  Picture out(static_cast<std::int64_t>(channels.shape()[1]), static_cast<std::int64_t>(channels.shape()[2]));
  const std::int64_t n = out.height() * out.width();
  const T* v = channels.data();
  const auto shade = [](T x) { return byte(std::isnan(x) ? 0.0 : static_cast<double>(x)); };
  for (std::int64_t i = 0; i < n; ++i)
    out.at(i / out.width(), i % out.width()) = {shade(v[i]), shade(v[n + i]), shade(v[2 * n + i])};
  return out;
}

template <class T>
Picture heat_map(const Tensor<T>& values, T low, T high) {
  static constexpr std::array<Color, 6> viridis{
      {{68, 1, 84}, {65, 68, 135}, {42, 120, 142}, {34, 168, 132}, {122, 209, 81}, {253, 231, 37}}};
  return draw("heat_map", values, [&](T v) {
    return std::isnan(v) ? not_a_number : between(viridis, static_cast<double>((v - low) / (high - low)));
  });
}

template <class T>
Picture signed_map(const Tensor<T>& values, T limit) {
  static constexpr std::array<Color, 3> blue_white_red{{{33, 102, 172}, {247, 247, 247}, {178, 24, 43}}};
  return draw("signed_map", values, [&](T v) {
    return std::isnan(v) ? not_a_number : between(blue_white_red, static_cast<double>((v / limit + 1) / 2));
  });
}

Color label_color(std::int64_t label) {
  static constexpr std::array<Color, 8> colors{{{38, 50, 72},
                                                {230, 159, 0},
                                                {86, 180, 233},
                                                {0, 158, 115},
                                                {240, 228, 66},
                                                {213, 94, 0},
                                                {204, 121, 167},
                                                {0, 114, 178}}};
  if (label < 0) return {150, 150, 150};
  return colors[static_cast<std::size_t>(label) % colors.size()];
}

Picture label_picture(const IndexTensor& labels) {
  return draw("label_picture", labels, label_color);
}

Picture enlarge(const Picture& picture, std::int64_t factor) {
  if (factor < 1) fail<ShapeError>("enlarge", "a factor of ", factor);
  Picture out(picture.height() * factor, picture.width() * factor);
  for (std::int64_t y = 0; y < out.height(); ++y)
    for (std::int64_t x = 0; x < out.width(); ++x) out.at(y, x) = picture.at(y / factor, x / factor);
  return out;
}

Picture tiles(std::span<const Picture> pictures, std::int64_t columns, std::int64_t gap, Color background) {
  if (pictures.empty() || columns < 1 || gap < 0)
    fail<ShapeError>("tiles", pictures.size(), " pictures in ", columns, " columns, ", gap, " pixels apart");
  std::int64_t height = 0, width = 0;
  for (const Picture& p : pictures) {
    height = std::max(height, p.height());
    width = std::max(width, p.width());
  }
  const auto n = static_cast<std::int64_t>(pictures.size());
  columns = std::min(columns, n);
  const std::int64_t rows = (n + columns - 1) / columns;
  Picture out(rows * (height + gap) + gap, columns * (width + gap) + gap, background);
  for (std::int64_t i = 0; i < n; ++i)
    out.paste(pictures[static_cast<std::size_t>(i)], gap + i / columns * (height + gap),
              gap + i % columns * (width + gap));
  return out;
}

std::string format_png(const Picture& picture) {
  static_assert(sizeof(Color) == 3);
  png_image image;
  std::memset(&image, 0, sizeof image);
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width());
  image.height = static_cast<png_uint_32>(picture.height());
  image.format = PNG_FORMAT_RGB;
  std::string out;
  png_alloc_size_t bytes = 0;
  for (int pass = 0; pass < 2; ++pass) {
    out.resize(bytes);
    if (!png_image_write_to_memory(&image, pass ? out.data() : nullptr, &bytes, 0, picture.data(), 0, nullptr))
      fail<IoError>("format_png", image.message);
  }
  out.resize(bytes);
  return out;
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
  const std::string bytes = format_png(picture);
  detail::AtomicFile file("write_png", path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

#define TAPESTRY_INSTANTIATE(T)                          \
  template Picture grey_picture(const Tensor<T>&, T, T); \
  template Picture color_picture(const Tensor<T>&);      \
  template Picture heat_map(const Tensor<T>&, T, T);     \
  template Picture signed_map(const Tensor<T>&, T);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
