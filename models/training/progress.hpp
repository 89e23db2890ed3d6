#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tapestry {

/// Named numbers, in order: what is shown and logged of a step.
using Metrics = std::vector<std::pair<std::string, double>>;

/// A line that says how far a run is: share done, steps a second, time left, metrics. On a terminal the line is redrawn
/// in place; elsewhere a plain line is printed now and then.
class ProgressLine {
 public:
  struct Options {
    std::int64_t total = 0;        ///< steps; 0: unknown
    std::int64_t before = 0;       ///< steps that were done before, by a run that this one continues
    double terminal_period = 0.1;  ///< seconds between redraws
    double plain_period = 5;       ///< seconds between plain lines
    int width = 0;                 ///< columns of the terminal; 0: ask it
  };

  /// On standard error, as a terminal if it is one.
  explicit ProgressLine(std::string_view title, const Options& options);
  /// On any stream.
  ProgressLine(std::ostream& out, bool terminal, std::string_view title, const Options& options);
  /// Leaves the last state standing.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Steps done so far. Shown when it is time to.
  void update(std::int64_t done, const Metrics& metrics = {});
  /// Shows the last state and ends the line. Later updates are ignored.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void show(Clock::time_point now);

  std::ostream& out_;
  bool terminal_;
  std::string title_;
  Options options_;
  Clock::time_point start_, shown_{};
  std::int64_t done_ = 0;
  Metrics metrics_;
  std::size_t drawn_ = 0;
  bool any_shown_ = false, dirty_ = false, finished_ = false;
};

/// "7s", "3:05", "1:02:09"
std::string format_duration(double seconds);

}  // namespace tapestry
