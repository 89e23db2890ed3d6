#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <tapestry/models/training/progress.hpp>

namespace tapestry {

/// Metrics by step in a CSV file: columns step and the names of the first entry. Every line is flushed. Opened on an
/// existing log, it goes on there.
class CsvLog {
 public:
  /// @throws IoError
  explicit CsvLog(const std::filesystem::path& path, bool append = false);
  /// @throws Error if the names are not those of the first entry; IoError if it cannot be written
  void write(std::int64_t step, const Metrics& metrics);

 private:
  std::string path_;
  std::ofstream out_;
  std::vector<std::string> names_;
  bool has_names_ = false;
};

/// Metrics by step as JSON, an object a line: {"step": 1, "loss": 0.5}. Every line is flushed; what JSON has no number
/// for (NaN, infinities) is null.
class JsonLog {
 public:
  explicit JsonLog(const std::filesystem::path& path, bool append = false);
  void write(std::int64_t step, const Metrics& metrics);

 private:
  std::string path_;
  std::ofstream out_;
};

/// Drops the entries of a log (of either kind) after a step, and a last line that was not finished: what a run that
/// continues from there writes again. No file is no error. @throws IoError
void trim_log(const std::filesystem::path& path, std::int64_t last_step);

/// {"name": value, ...} in one line; numbers with all their digits.
std::string to_json(const Metrics& metrics);
/// A string as JSON writes it, in quotes.
std::string json_string(std::string_view text);

}  // namespace tapestry
