#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tapestry {

/// Points of one curve, in order. NaN interrupts it.
struct Curve {
  std::string name;
  std::vector<double> x, y;
};

/// A line plot with axes and a legend.
struct Plot {
  std::string x_label = {}, y_label = {};
  std::vector<Curve> curves = {};
  bool log_x = false, log_y = false;
  bool points = true;  ///< mark the points, not only the lines between them
};

/// The plot as an SVG element for a page, in the page's text colour, drawn by gnuplot; nothing where gnuplot is not
/// installed. `id` must be unique within the page: letters, digits, underscores.
/// @throws ShapeError for curves whose x and y differ in length or that have no finite point, IoError where gnuplot
/// fails
std::optional<std::string> plot_svg(const Plot& plot, const std::string& id = "plot");

/// The same on white ground as a PNG file, whole or not at all. @return false where gnuplot is not installed
/// @throws what plot_svg() throws, and IoError for a file that cannot be written
bool write_plot(const std::filesystem::path& path, const Plot& plot);

}  // namespace tapestry
