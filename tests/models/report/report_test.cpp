#include <tapestry/models/report/report.hpp>

#include <cmath>
#include <cstdlib>

#include <doctest/doctest.h>
#include <png.h>

#include <tapestry/autodiff/error.hpp>

#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

/// The environment variable for as long as the object lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* const old = std::getenv(name)) old_ = old;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { setenv(name_, old_.c_str(), 1); }

 private:
  const char* name_;
  std::string old_;
};

bool installed(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

Plot parabola() {
  Plot plot{.x_label = "step", .y_label = "loss \"nats\""};
  plot.curves = {{"falling", {}, {}}, {"rising", {}, {}}};
  for (int i = 0; i < 20; ++i) {
    plot.curves[0].x.push_back(i);
    plot.curves[0].y.push_back(std::pow(20 - i, 2));
    plot.curves[1].x.push_back(i);
    plot.curves[1].y.push_back(i * i);
  }
  return plot;
}

/// How many pixels of a PNG file have (nearly) a colour.
int count(const std::string& bytes, Color color) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  image.format = PNG_FORMAT_RGB;
  std::vector<Color> pixels(image.width * image.height);
  REQUIRE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr));
  int n = 0;
  for (const Color& p : pixels)
    n += std::abs(p.red - color.red) + std::abs(p.green - color.green) + std::abs(p.blue - color.blue) < 12;
  return n;
}

Report sample() {
  Report report("A < B & \"C\"");
  report.heading("Results").paragraph("<script>alert(1)</script>");
  report.table({"model", "error", "time"}, {{"first", "12.5 %", "3 ms"}, {"second", "4 %", "-"}});
  report.picture(heat_map(Tensor<double>{{0, 1}, {2, 3}}, 0.0, 3.0), "a heat map", 40);
  report.plot(parabola(), "two curves");
  return report;
}

}  // namespace

TEST_CASE("report: text is escaped, pictures are inside, nothing is fetched") {
  const std::string html = sample().html();
  CHECK(contains(html, "<title>A &lt; B &amp; &quot;C&quot;</title>"));
  CHECK(contains(html, "&lt;script&gt;"));
  CHECK_FALSE(contains(html, "<script>"));
  CHECK(contains(html, "<td class=\"number\">12.5 %</td>"));
  CHECK(contains(html, "<td>first</td>"));
  CHECK(contains(html, "data:image/png;base64,iVBORw0KGgo"));
  CHECK(contains(html, "prefers-color-scheme: dark"));
  for (const char* fetched : {"src=\"http", "href=\"http", "url(http", "@import"}) CHECK_FALSE(contains(html, fetched));
  CHECK_THROWS_AS(Report("x").table({"a"}, {{"1", "2"}}), ShapeError);
}

TEST_CASE("report: plots") {
  Plot bad = parabola();
  bad.curves[0].x.pop_back();
  CHECK_THROWS_AS(plot_svg(bad), ShapeError);
  CHECK_THROWS_AS(plot_svg(Plot{}), ShapeError);
  bad.curves = {{"nothing", {1.0}, {std::nan("")}}};
  CHECK_THROWS_AS(plot_svg(bad), ShapeError);

  const TemporaryFolder folder;
  {
    const Environment path("PATH", folder.path().string());
    CHECK_FALSE(plot_svg(parabola()).has_value());
    CHECK_FALSE(write_plot(folder.file("none.png"), parabola()));
    CHECK_FALSE(std::filesystem::exists(folder.file("none.png")));
    const std::string html = Report("x").plot(parabola(), "two curves").html();
    CHECK(contains(html, "gnuplot is not installed"));
    CHECK(contains(html, "<td>falling</td><td class=\"number\">1</td><td class=\"number\">361</td>"));
  }
  if (!installed("gnuplot")) {
    MESSAGE("gnuplot is not installed: its drawings are not tested");
    return;
  }
  const auto svg = plot_svg(parabola(), "plot_7");
  REQUIRE(svg);
  CHECK(svg->starts_with("<svg"));
  for (const char* part : {"falling", "rising", "step", "loss", "plot_7", "currentColor"}) CHECK(contains(*svg, part));
  CHECK_FALSE(contains(*svg, "black"));
  CHECK(write_plot(folder.file("plot.png"), parabola()));
  const std::string png = folder.read("plot.png");
  CHECK(count(png, {255, 255, 255}) > 960 * 400);
  CHECK(count(png, {0x00, 0x83, 0xc9}) > 500);
  CHECK(count(png, {0xd5, 0x5e, 0x00}) > 500);
  CHECK_THROWS_AS(write_plot(folder.file("absent/plot.png"), parabola()), IoError);
}

TEST_SUITE("slow") {
  TEST_CASE("report: a browser draws it") {
    std::string browser;
    for (const char* program : {"chromium", "chromium-browser", "google-chrome"})
      if (browser.empty() && installed(program)) browser = program;
    if (browser.empty() || !installed("gnuplot")) {
      MESSAGE("Chromium or gnuplot is not installed: the report's look is not tested");
      return;
    }
    // The page judges itself: a script reads the drawn picture back, and measures curves and the page.
    std::string html = sample().html();
    const std::string script = R"(<script>onload = () => {
    const img = document.querySelector('img'), canvas = document.createElement('canvas');
    canvas.width = 2; canvas.height = 2;
    const ink = canvas.getContext('2d');
    ink.drawImage(img, 0, 0, 2, 2);
    const corner = ink.getImageData(0, 0, 1, 1).data;
    const curves = [...document.querySelectorAll('[id*="_plot_"] path')].filter(p => p.getBoundingClientRect().width > 100);
    const text = [...document.querySelectorAll('svg text')].filter(t => t.getBoundingClientRect().width > 5);
    document.body.dataset.seen = ['picture', img.width, corner[0], corner[1], corner[2], 'curves', curves.length,
      'labels', text.length > 10, 'fits', document.documentElement.scrollWidth <= innerWidth].join(' ');
  }</script></body>)";
    html.replace(html.find("</body>"), 7, script);
    const TemporaryFolder folder;
    folder.write("report.html", html);
    const auto browse = [&](const std::string& options, const std::string& output) {
      const std::string command = browser + " --headless --no-sandbox --disable-gpu --hide-scrollbars " + options +
                                  " --user-data-dir=" + folder.file("profile").string() + " file://" +
                                  folder.file("report.html").string() + " >" + folder.file(output).string() + " 2>" +
                                  folder.file("errors").string();
      REQUIRE(std::system(command.c_str()) == 0);
    };
    for (const std::string width : {"500", "1400"}) {
      browse("--window-size=" + width + ",1200 --dump-dom", "dom");
      const std::string dom = folder.read("dom");
      INFO(width << " pixels: " << dom.substr(dom.find("data-seen"), 100));
      CHECK(contains(dom, "data-seen=\"picture 80 68 1 84 curves 2 labels true fits true\""));
    }
    // What is on the screen, at the width of a phone and of a desktop: page, picture and both curves.
    for (const int width : {500, 1400})
      for (const bool dark : {false, true}) {
        const std::string shot = folder.file("shot.png").string();
        browse("--window-size=" + std::to_string(width) + ",1200 --screenshot=" + shot +
                   (dark ? " --blink-settings=preferredColorScheme=0" : ""),
               "output");
        const std::string bytes = folder.read("shot.png");
        INFO(width << (dark ? " dark" : " light"));
        CHECK(count(bytes, dark ? Color{0x14, 0x17, 0x1b} : Color{255, 255, 255}) > width * 600);
        CHECK(count(bytes, {253, 231, 37}) == 1600);
        CHECK(count(bytes, {0x00, 0x83, 0xc9}) > 300);
        CHECK(count(bytes, {0xd5, 0x5e, 0x00}) > 300);
      }
  }
}
