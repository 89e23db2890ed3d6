#include <tapestry/models/report/plot.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>

extern char** environ;

namespace tapestry {
namespace {

/// A folder for gnuplot's script and output.
class ScratchFolder {
 public:
  ScratchFolder() : path_((std::filesystem::temp_directory_path() / "tapestry-plot-").string()) {
    path_.append(6, 'X');  // where mkdtemp puts letters of its choice
    if (!mkdtemp(path_.data())) fail<IoError>("plot_svg", path_, ": cannot be made");
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string file(const char* name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

/// Runs a program and waits for it. @return its exit code, or nothing where it is not installed
std::optional<int> run_program(const std::string& program, const std::string& argument, const std::string& errors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::array<char*, 3> arguments{const_cast<char*>(program.c_str()), const_cast<char*>(argument.c_str()), nullptr};
  pid_t child = 0;
  const int code = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (code == ENOENT || code == EACCES) return std::nullopt;
  if (code != 0) fail<IoError>("plot_svg", program, " cannot be started");
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail<IoError>("plot_svg", program, " was lost");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Between double quotes of a gnuplot script.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + '"';
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// Marks of a curve's points, smaller where they are many.
std::string point(int shape, std::size_t count) {
  return " pointtype " + std::to_string(shape) + " pointsize " + (count > 30 ? "0.4" : "0.6");
}

std::string script(const Plot& plot, const std::string& terminal, const std::string& output) {
  // Colours that can be told apart by everybody, on light and on dark ground (after Okabe and Ito 2008).
  static constexpr std::array<const char*, 7> colors{"#0083c9", "#d55e00", "#009e73", "#cc79a7",
                                                     "#e69f00", "#56b4e9", "#8c8c8c"};
  // Discs, squares, triangles, diamonds, ...: where curves lie upon each other, and for those who see no colours.
  static constexpr std::array<int, 8> shapes{7, 5, 9, 13, 11, 6, 4, 8};
  std::ostringstream out;
  out.precision(12);
  out << "set encoding utf8\n"
      << "set terminal " << terminal << " noenhanced linewidth 1.3\nset output " << quoted(output)
      << "\nset key outside top center horizontal noenhanced samplen 2 width -2 font ',12'\n"
      << "set grid linecolor rgb '#808080' linewidth 0.4\nset border 3\nset tics nomirror\n";
  if (plot.log_x) out << "set logscale x\nset format x '%g'\n";
  if (plot.log_y) out << "set logscale y\nset format y '%g'\n";
  out << "set xlabel " << quoted(plot.x_label) << "\nset ylabel " << quoted(plot.y_label) << '\n';
  for (std::size_t c = 0; c < plot.curves.size(); ++c) {
    const Curve& curve = plot.curves[c];
    out << "$data" << c << " << END\n";
    for (std::size_t i = 0; i < curve.x.size(); ++i)
      if (std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]))
        out << curve.x[i] << ' ' << curve.y[i] << '\n';
      else
        out << '\n';
    out << "END\n";
  }
  for (std::size_t c = 0; c < plot.curves.size(); ++c)
    out << (c == 0 ? "plot " : ", ") << "$data" << c << " with " << (plot.points ? "linespoints" : "lines")
        << " linewidth 2 linecolor rgb '" << colors[c % colors.size()] << '\''
        << (plot.points ? point(shapes[c % shapes.size()], plot.curves[c].x.size()) : "") << " title "
        << quoted(plot.curves[c].name);
  out << '\n';
  return out.str();
}

/// What gnuplot draws on a terminal; nothing where it is not installed.
std::optional<std::string> drawn(const Plot& plot, const std::string& terminal) {
  if (plot.curves.empty()) fail<ShapeError>("plot_svg", "no curves");
  for (const Curve& curve : plot.curves) {
    if (curve.x.size() != curve.y.size())
      fail<ShapeError>("plot_svg", "curve '", curve.name, "' has ", curve.x.size(), " x and ", curve.y.size(), " y");
    bool any = false;
    for (std::size_t i = 0; i < curve.x.size(); ++i)
      any = any || (std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]) && (!plot.log_x || curve.x[i] > 0) &&
                    (!plot.log_y || curve.y[i] > 0));
    if (!any) fail<ShapeError>("plot_svg", "curve '", curve.name, "' has no point to draw");
  }
  const ScratchFolder folder;
  std::ofstream(folder.file("script")) << script(plot, terminal, folder.file("plot"));
  const std::optional<int> code = run_program("gnuplot", folder.file("script"), folder.file("errors"));
  if (!code) return std::nullopt;
  std::string bytes = read_all(folder.file("plot"));
  if (*code != 0 || bytes.empty()) fail<IoError>("plot_svg", "gnuplot: ", read_all(folder.file("errors")));
  return bytes;
}

}  // namespace

std::optional<std::string> plot_svg(const Plot& plot, const std::string& id) {
  // Names of two curves go on a line of the legend.
  const std::size_t height = 360 + 20 * ((plot.curves.size() + 1) / 2);
  std::optional<std::string> svg =
      drawn(plot, "svg size 560," + std::to_string(height) + " dynamic font 'sans-serif,14' name " + quoted(id));
  if (!svg) return svg;
  svg->erase(0, svg->find("<svg"));  // without the XML declaration, which has no place inside a page
  for (const char* black : {"black", "rgb(  0,   0,   0)"}) {
    replace_all(*svg, std::string("'") + black + "'", "'currentColor'");
    replace_all(*svg, std::string("\"") + black + "\"", "\"currentColor\"");
  }
  return svg;
}

bool write_plot(const std::filesystem::path& path, const Plot& plot) {
  const std::optional<std::string> png =
      drawn(plot, "pngcairo size 960,640 font 'sans-serif,12' background rgb '#ffffff'");
  if (!png) return false;
  detail::AtomicFile file("write_plot", path);
  file.write(png->data(), png->size());
  file.commit();
  return true;
}

}  // namespace tapestry
