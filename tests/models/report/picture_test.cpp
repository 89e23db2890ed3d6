#include <tapestry/models/report/picture.hpp>

#include <limits>

#include <doctest/doctest.h>
#include <png.h>

#include <tapestry/autodiff/error.hpp>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

/// Decoded by libpng's reader.
std::vector<Color> decode(const std::string& bytes, png_image& image) {
  image = png_image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  image.format = PNG_FORMAT_RGB;
  std::vector<Color> out(image.width * image.height);
  REQUIRE(png_image_finish_read(&image, nullptr, out.data(), 0, nullptr));
  return out;
}

}  // namespace

TEST_CASE("picture: PNG files hold the pixels") {
  Picture picture(2, 3, {1, 2, 3});
  picture.at(0, 2) = {255, 0, 7};
  picture.at(1, 0) = {9, 200, 0};
  const TemporaryFolder folder;
  write_png(folder.file("a.png"), picture);
  png_image image;
  const auto pixels = decode(folder.read("a.png"), image);
  CHECK(image.width == 3);
  CHECK(image.height == 2);
  for (std::int64_t i = 0; i < 6; ++i) CHECK(pixels[static_cast<std::size_t>(i)] == picture.at(i / 3, i % 3));
  CHECK_THROWS_AS(write_png(folder.file("absent/a.png"), picture), IoError);
}

TEST_CASE("picture: values to colours") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Picture grey = grey_picture(Tensor<double>{{-1, 0.2, 3, nan}});
  CHECK(grey.at(0, 0) == Color{0, 0, 0});
  CHECK(grey.at(0, 1) == Color{51, 51, 51});
  CHECK(grey.at(0, 2) == Color{255, 255, 255});
  CHECK(grey.at(0, 3) == Color{220, 0, 0});
  const Picture heat = heat_map(Tensor<float>{{0, 1, 5}}, 0.0f, 5.0f);
  CHECK(heat.at(0, 0) == Color{68, 1, 84});
  CHECK(heat.at(0, 1) == Color{65, 68, 135});
  CHECK(heat.at(0, 2) == Color{253, 231, 37});
  const Picture sign = signed_map(Tensor<double>{{-2, 0, 2}}, 2.0);
  CHECK(sign.at(0, 0) == Color{33, 102, 172});
  CHECK(sign.at(0, 1) == Color{247, 247, 247});
  CHECK(sign.at(0, 2) == Color{178, 24, 43});
  const Tensor<double> channels{{{1.0, 0.0}}, {{0.2, 0.0}}, {{-1.0, 0.0}}};
  CHECK(color_picture(channels).at(0, 0) == Color{255, 51, 0});
  const Picture labels = label_picture(IndexTensor{{0, 1}, {8, -1}});
  CHECK(labels.at(0, 0) == labels.at(1, 0));
  CHECK(labels.at(0, 1) == label_color(1));
  CHECK(labels.at(1, 1) == Color{150, 150, 150});
  CHECK_THROWS_AS(grey_picture(Tensor<double>(Tensor<double>::shape_type{3}, 0.0)), ShapeError);
  CHECK_THROWS_AS(color_picture(Tensor<double>{{1.0, 2.0}}), ShapeError);
}

TEST_CASE("picture: tiles and enlargement") {
  const std::vector<Picture> pictures{Picture(1, 2, {1, 0, 0}), Picture(2, 1, {2, 0, 0}), Picture(1, 1, {3, 0, 0})};
  const Picture all = tiles(pictures, 2, 1, {9, 9, 9});
  CHECK(all.height() == 7);
  CHECK(all.width() == 7);
  CHECK(all.at(0, 0) == Color{9, 9, 9});
  CHECK(all.at(1, 2) == Color{1, 0, 0});
  CHECK(all.at(2, 4) == Color{2, 0, 0});
  CHECK(all.at(2, 5) == Color{9, 9, 9});
  CHECK(all.at(4, 1) == Color{3, 0, 0});
  const Picture large = enlarge(all, 3);
  CHECK(large.height() == 21);
  CHECK(large.at(5, 8) == all.at(1, 2));
  CHECK_THROWS_AS(tiles({}, 1), ShapeError);
  CHECK_THROWS_AS(enlarge(all, 0), ShapeError);
  CHECK_THROWS_AS(Picture(0, 3), ShapeError);
  CHECK_THROWS_AS(Picture(2, 2).paste(all, 0, 0), ShapeError);
}
