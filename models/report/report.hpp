#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <tapestry/models/report/picture.hpp>
#include <tapestry/models/report/plot.hpp>

namespace tapestry {

/// A page of text, tables, pictures and plots: one HTML file that needs no network, light or dark as the reader's
/// device is, for phones and desktops. Parts come in the order in which they are added; text is escaped.
class Report {
 public:
  explicit Report(std::string title);

  Report& heading(const std::string& text);
  Report& paragraph(const std::string& text);
  /// Rows of cells; those that read as numbers are aligned right. @throws ShapeError unless all rows are as long as the
  /// header
  Report& table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);
  /// A picture with what it shows, its pixels as squares of `scale`.
  Report& picture(const Picture& picture, const std::string& caption, int scale = 1);
  /// A plot; where gnuplot is not installed, its numbers as a table, and a line that says why.
  Report& plot(const Plot& plot, const std::string& caption);

  std::string html() const;
  /// Writes a file that appears whole or not at all. @throws IoError
  void write(const std::filesystem::path& path) const;

 private:
  std::string title_, body_;
  int plots_ = 0;
};

}  // namespace tapestry
