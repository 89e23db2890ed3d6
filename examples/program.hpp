#pragma once

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/report/report.hpp>
#include <tapestry/models/training/log.hpp>

#include "options.hpp"

/// What the programs that train have in common: --seed, --threads, --minutes, --report, and how they end.
class ExampleProgram {
 public:
  std::uint64_t seed = 1;
  int threads = 0;
  double minutes = 0;
  std::string report, checkpoint;

  ExampleProgram& add_options(Options& options) {
    options.number("--seed", seed, "of all random numbers")
        .number("--threads", threads, "0: TAPESTRY_THREADS, or all cores")
        .number("--minutes", minutes, "stop training after so long; 0: no limit")
        .text("--report", report, "folder to write a report to: HTML, PNG and JSON");
    return *this;
  }
  ExampleProgram& add_checkpoint(Options& options) {
    options.text("--checkpoint", checkpoint, "folder to save to after each epoch, and to resume from");
    return *this;
  }
  /// After parsing. @throws Options::UsageError, and IoError where the report's folder cannot be made
  void start() {
    if (threads < 0 || minutes < 0) throw Options::UsageError("numbers must not be negative");
    if (threads > 0) tapestry::set_threads(threads);
    if (!report.empty()) {
      std::error_code code;
      std::filesystem::create_directories(report, code);
      if (code) tapestry::fail<tapestry::IoError>("--report", report, ": ", code.message());
    }
    start_ = Clock::now();
    std::signal(SIGINT, [](int) { interrupted_ = 1; });
  }
  /// Whether to stop training: the time is up, or Ctrl-C was pressed.
  bool stop() const { return interrupted_ || (minutes > 0 && seconds() > 60 * minutes); }
  static bool interrupted() { return interrupted_ != 0; }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  std::filesystem::path report_file(const std::string& name) const { return std::filesystem::path(report) / name; }

  /// Prints the last line, and puts the same numbers into the report's folder.
  void finish(const tapestry::Metrics& result) const { finish(tapestry::to_json(result)); }
  void finish(const std::string& json) const {
    if (!report.empty()) {
      std::ofstream out(report_file("result.json"));
      out << json << '\n';
      out.close();
      if (!out)
        tapestry::fail<tapestry::IoError>("--report", report_file("result.json").string(), ": cannot be written");
      std::cout << "report: " << report_file("index.html").string() << '\n';
    }
    std::cout << "result: " << json << std::endl;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static inline volatile std::sig_atomic_t interrupted_ = 0;
  Clock::time_point start_ = Clock::now();
};

/// A log of metrics by step: .csv, JSON lines, or nothing where no file is named.
class Log {
 public:
  /// `more`: goes on where the file ends.
  explicit Log(const std::string& file, bool more = false) {
    if (file.ends_with(".csv"))
      csv_.emplace(file, more);
    else if (!file.empty())
      json_.emplace(file, more);
  }
  void write(std::int64_t step, const tapestry::Metrics& metrics) const {
    if (csv_) csv_->write(step, metrics);
    if (json_) json_->write(step, metrics);
  }

 private:
  mutable std::optional<tapestry::CsvLog> csv_;
  mutable std::optional<tapestry::JsonLog> json_;
};

/// The path of a file of a data set. @throws IoError that says where the public original is
inline std::filesystem::path data_file(const std::string& data, const std::string& set, const std::string& name,
                                       const std::string& origin) {
  const auto path = std::filesystem::path(data) / set / name;
  if (data.empty() || !std::filesystem::exists(path))
    tapestry::fail<tapestry::IoError>("--data", path.string(), " is not there. Put ", name, " of ", origin,
                                      " into DIR/", set, " and give --data DIR or set TAPESTRY_DATA.");
  return path;
}

/// "a,b" as a and b.
inline std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    out.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

/// A table with columns as wide as what is in them.
inline void print_table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const std::string& h : header) widths.push_back(h.size());
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const std::string space(widths[c] - cells[c].size(), ' ');
      std::cout << (c == 0 ? cells[c] + space : "  " + space + cells[c]);
    }
    std::cout << '\n';
  };
  std::cout << '\n';
  line(header);
  for (const auto& row : rows) line(row);
  std::cout << std::endl;
}

/// A number with so many digits behind the point.
inline std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}
