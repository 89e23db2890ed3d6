#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

struct CsvOptions {
  char separator = ',';
  char quote = '"';     ///< doubled inside a quoted field; quoted fields may hold separators and line ends
  bool header = false;  ///< the first record names the columns
};

/// A table of text fields; every record has as many fields as the first.
struct CsvTable {
  std::vector<std::string> header;  ///< empty without CsvOptions::header
  std::vector<std::vector<std::string>> rows;
};

/// Reads comma-separated values (RFC 4180, with a choice of separator), plain or gzipped; empty lines are skipped.
/// @throws IoError with file, line and field: not UTF-8, a quote that is never closed, rows of unequal lengths.
CsvTable read_csv(const std::filesystem::path& path, const CsvOptions& options = {});

/// A table of numbers, [rows, columns]. T is float, double or std::int64_t; blanks around a number are allowed.
/// @throws IoError as read_csv(), and where a field is not a number that T can hold.
template <class T>
Tensor<T> read_csv_numbers(const std::filesystem::path& path, const CsvOptions& options = {});

}  // namespace tapestry
