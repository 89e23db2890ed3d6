#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

struct Color {
  std::uint8_t red = 0, green = 0, blue = 0;
  friend bool operator==(const Color&, const Color&) = default;
};

/// A picture of 8-bit red, green and blue.
class Picture {
 public:
  /// @throws ShapeError unless both extents are positive
  Picture(std::int64_t height, std::int64_t width, Color fill = {});

  std::int64_t height() const noexcept { return height_; }
  std::int64_t width() const noexcept { return width_; }
  Color& at(std::int64_t row, std::int64_t column) { return pixels_[static_cast<std::size_t>(row * width_ + column)]; }
  const Color& at(std::int64_t row, std::int64_t column) const {
    return pixels_[static_cast<std::size_t>(row * width_ + column)];
  }
  const Color* data() const noexcept { return pixels_.data(); }

  /// Copies another picture in, its upper left corner there. @throws ShapeError if it does not fit
  void paste(const Picture& other, std::int64_t row, std::int64_t column);

 private:
  std::int64_t height_, width_;
  std::vector<Color> pixels_;
};

/// Values [height, width] in shades from black (low and below) to white (high and above); NaN is red.
template <class T>
Picture grey_picture(const Tensor<T>& values, T low = 0, T high = 1);
/// Channels [3, height, width] as red, green and blue, each from 0 to 1.
template <class T>
Picture color_picture(const Tensor<T>& channels);
/// Values [height, width] in colours: from dark violet over green to yellow (after Matplotlib's viridis); NaN is red.
template <class T>
Picture heat_map(const Tensor<T>& values, T low, T high);
/// Values around zero [height, width]: blue for -limit, white for zero, red for +limit.
template <class T>
Picture signed_map(const Tensor<T>& values, T limit);
/// A colour of its own for each label [height, width] (they repeat from the ninth on); negative ones are grey.
Picture label_picture(const IndexTensor& labels);
/// The colour that label_picture() gives a label.
Color label_color(std::int64_t label);

/// Each pixel as a square. @throws ShapeError unless factor is positive
Picture enlarge(const Picture& picture, std::int64_t factor);
/// Pictures in rows of `columns`, each in a cell of the largest one's size, `gap` pixels apart.
/// @throws ShapeError without pictures or columns
Picture tiles(std::span<const Picture> pictures, std::int64_t columns, std::int64_t gap = 2,
              Color background = {128, 128, 128});

/// The bytes of a PNG file.
std::string format_png(const Picture& picture);
/// Writes a file that appears whole or not at all. @throws IoError
void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace tapestry
