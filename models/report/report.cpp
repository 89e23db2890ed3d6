#include <tapestry/models/report/report.hpp>

#include <cstdlib>
#include <sstream>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  return out;
}

std::string base64(const std::string& bytes) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t k) { return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u; };
    const unsigned group = at(0) << 16 | at(1) << 8 | at(2);
    for (unsigned k = 0; k < 4; ++k) out += i + k <= bytes.size() ? digits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

bool is_number(const std::string& cell) {
  char* end = nullptr;
  std::strtod(cell.c_str(), &end);
  if (end == cell.c_str()) return false;
  const std::string rest(end);  // "12.3 %", "5 ms": still a number to the eye
  return rest.empty() || rest == "%" || rest.front() == ' ';
}

constexpr const char* style = R"(
:root { color-scheme: light dark; --line: #d0d4da; --soft: #5c6470; --back: #ffffff; --text: #1b1f24; --row: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a414a; --soft: #9aa4b0; --back: #14171b; --text: #e4e7eb; --row: #1d2126; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; font: 16px/1.5 system-ui, sans-serif;
  background: var(--back); color: var(--text); }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .95rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; border-bottom: 1px solid var(--line); }
tbody tr:nth-child(even) { background: var(--row); }
.number { text-align: right; }
figure { margin: 1rem 0; }
figcaption { color: var(--soft); font-size: .9rem; }
img { max-width: 100%; height: auto; image-rendering: pixelated; }
svg { display: block; width: 100%; max-width: 40rem; height: auto; }
@media (max-width: 40rem) { table { font-size: .85rem; } th, td { padding: .25rem .35rem; } }
)";

}  // namespace

Report::Report(std::string title) : title_(std::move(title)) {}

Report& Report::heading(const std::string& text) {
  body_ += "<h2>" + escaped(text) + "</h2>\n";
  return *this;
}

Report& Report::paragraph(const std::string& text) {
  body_ += "<p>" + escaped(text) + "</p>\n";
  return *this;
}

Report& Report::table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<bool> number(header.size(), !rows.empty());
  for (const auto& row : rows) {
    if (row.size() != header.size())
      fail<ShapeError>("Report::table", "a row of ", row.size(), " cells under a header of ", header.size());
    for (std::size_t c = 0; c < row.size(); ++c)
      number[c] = number[c] && (row[c].empty() || row[c] == "-" || is_number(row[c]));
  }
  const auto line = [&](const std::vector<std::string>& cells, const std::string& tag) {
    body_ += "<tr>";
    for (std::size_t c = 0; c < cells.size(); ++c)
      body_ += '<' + tag + (number[c] ? " class=\"number\">" : ">") + escaped(cells[c]) + "</" + tag + '>';
    body_ += "</tr>\n";
  };
  body_ += "<div class=\"wide\"><table><thead>\n";
  line(header, "th");
  body_ += "</thead><tbody>\n";
  for (const auto& row : rows) line(row, "td");
  body_ += "</tbody></table></div>\n";
  return *this;
}

Report& Report::picture(const Picture& picture, const std::string& caption, int scale) {
  if (scale < 1) fail<ShapeError>("Report::picture", "a scale of ", scale);
  std::ostringstream out;
  out << "<figure><img width=\"" << picture.width() * scale << "\" height=\"" << picture.height() * scale << "\" alt=\""
      << escaped(caption) << "\" src=\"data:image/png;base64," << base64(format_png(picture)) << "\"><figcaption>"
      << escaped(caption) << "</figcaption></figure>\n";
  body_ += out.str();
  return *this;
}

Report& Report::plot(const Plot& plot, const std::string& caption) {
  const std::string id = "plot_" + std::to_string(++plots_);
  if (const std::optional<std::string> svg = plot_svg(plot, id)) {
    body_ += "<figure>" + *svg + "<figcaption>" + escaped(caption) + "</figcaption></figure>\n";
    return *this;
  }
  paragraph(caption + " (numbers, as gnuplot is not installed to draw them):");
  std::vector<std::vector<std::string>> rows;
  const auto text = [](double v) {
    std::ostringstream out;
    out << v;
    return out.str();
  };
  for (const Curve& curve : plot.curves)
    for (std::size_t i = 0; i < curve.x.size(); ++i) rows.push_back({curve.name, text(curve.x[i]), text(curve.y[i])});
  return table({"", plot.x_label, plot.y_label}, rows);
}

std::string Report::html() const {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>" +
         escaped(title_) + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n<h1>" + escaped(title_) +
         "</h1>\n" + body_ + "</body>\n</html>\n";
}

void Report::write(const std::filesystem::path& path) const {
  const std::string text = html();
  detail::AtomicFile file("Report::write", path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace tapestry
