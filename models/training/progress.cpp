#include <tapestry/models/training/progress.hpp>

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace tapestry {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.5g", value);
  return text;
}

int terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto s = static_cast<long long>(std::llround(seconds));
  char text[32];
  if (s < 60)
    std::snprintf(text, sizeof text, "%llds", s);
  else if (s < 3600)
    std::snprintf(text, sizeof text, "%lld:%02lld", s / 60, s % 60);
  else
    std::snprintf(text, sizeof text, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  return text;
}

ProgressLine::ProgressLine(std::string_view title, const Options& options)
    : ProgressLine(std::cerr, isatty(STDERR_FILENO) != 0, title, options) {}

ProgressLine::ProgressLine(std::ostream& out, bool terminal, std::string_view title, const Options& options)
    : out_(out), terminal_(terminal), title_(title), options_(options), start_(Clock::now()) {}

ProgressLine::~ProgressLine() {
  finish();
}

void ProgressLine::update(std::int64_t done, const Metrics& metrics) {
  if (finished_) return;
  done_ = done;
  metrics_ = metrics;
  dirty_ = true;
  const auto now = Clock::now();
  const double since = std::chrono::duration<double>(now - shown_).count();
  if (!any_shown_ || since >= (terminal_ ? options_.terminal_period : options_.plain_period)) show(now);
}

void ProgressLine::finish() {
  if (finished_) return;
  if (dirty_) show(Clock::now());
  if (terminal_ && any_shown_) out_ << '\n' << std::flush;
  finished_ = true;
}

void ProgressLine::show(Clock::time_point now) {
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const double rate = elapsed > 0 ? static_cast<double>(done_ - options_.before) / elapsed : 0;
  std::string line = title_;
  line += ' ' + std::to_string(done_);
  if (options_.total > 0) {
    line += '/' + std::to_string(options_.total);
    line += " (" + std::to_string(100 * done_ / options_.total) + "%)";
  }
  line += ' ' + format_duration(elapsed);
  if (rate > 0) {
    line += rate >= 1 ? ", " + number(rate) + "/s" : ", " + number(1 / rate) + " s each";
    if (options_.total > done_)
      line += ", " + format_duration(static_cast<double>(options_.total - done_) / rate) + " left";
  }
  for (const auto& [name, value] : metrics_) line += "  " + name + ' ' + number(value);
  if (terminal_) {
    const auto width =
        static_cast<std::size_t>(std::max(2, (options_.width > 0 ? options_.width : terminal_width()) - 1));
    if (line.size() > width) {
      std::size_t cut = width;
      while (cut > 0 && (static_cast<unsigned char>(line[cut]) & 0xC0) == 0x80) --cut;  // not within a character
      line.resize(cut);
    }
    const std::size_t length = line.size();
    line.append(std::max(drawn_, length) - length, ' ');
    out_ << '\r' << line << std::flush;
    drawn_ = length;
  } else {
    out_ << line << '\n' << std::flush;
  }
  shown_ = now;
  any_shown_ = true;
  dirty_ = false;
}

}  // namespace tapestry
