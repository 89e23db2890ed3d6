#include <tapestry/models/training/log.hpp>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <iterator>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/csv.hpp>

namespace tapestry {
namespace {

std::string digits(double value) {
  char text[40];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

void open(std::ofstream& out, const std::string& path, bool append) {
  errno = 0;
  out.open(path, append ? std::ios::app : std::ios::trunc);
  if (!out) fail<IoError>("log", path, ": ", std::strerror(errno));
}

void put(std::ofstream& out, const std::string& path, const std::string& line) {
  errno = 0;
  out << line << std::flush;
  if (!out) fail<IoError>("log", path, ": ", errno ? std::strerror(errno) : "cannot be written");
}

}  // namespace

CsvLog::CsvLog(const std::filesystem::path& path, bool append) : path_(path.string()) {
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path, ignored);
  if (append && !ignored && size > 0) {
    names_ = read_csv(path, {.header = true}).header;
    names_.erase(names_.begin());
    has_names_ = true;
  }
  open(out_, path_, append);
}

void CsvLog::write(std::int64_t step, const Metrics& metrics) {
  std::string text;
  if (!has_names_) {
    text = "step";
    for (const auto& [name, value] : metrics) {
      names_.push_back(name);
      text += ',' + csv_field(name);
    }
    text += '\n';
  }
  if (metrics.size() != names_.size())
    fail("CsvLog::write", path_, ": ", metrics.size(), " metrics where the columns are ", names_.size());
  text += std::to_string(step);
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    if (metrics[i].first != names_[i])
      fail("CsvLog::write", path_, ": metric '", metrics[i].first, "' where column '", names_[i], "' is");
    text += ',' + digits(metrics[i].second);
  }
  has_names_ = true;
  put(out_, path_, text + '\n');
}

JsonLog::JsonLog(const std::filesystem::path& path, bool append) : path_(path.string()) {
  open(out_, path_, append);
}

void JsonLog::write(std::int64_t step, const Metrics& metrics) {
  std::string line = to_json(metrics);
  line.insert(1, "\"step\": " + std::to_string(step) + (metrics.empty() ? "" : ", "));
  put(out_, path_, line + '\n');
}

void trim_log(const std::filesystem::path& path, std::int64_t last_step) {
  if (!std::filesystem::exists(path)) return;
  std::ifstream in(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in) fail<IoError>("trim_log", path.string(), ": cannot be read");
  constexpr std::string_view json = "{\"step\": ";
  std::string kept;
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view number = std::string_view(text).substr(begin, end - begin);
    if (number.starts_with(json)) number.remove_prefix(json.size());
    std::int64_t step = 0;
    const bool entry = std::from_chars(number.data(), number.data() + number.size(), step).ec == std::errc();
    // The line of names in a CSV file is no entry.
    if (!entry || step <= last_step) kept.append(text, begin, end + 1 - begin);
  }
  if (kept == text) return;
  detail::AtomicFile file("trim_log", path);
  file.write(kept.data(), kept.size());
  file.commit();
}

std::string json_string(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr char hex[] = "0123456789abcdef";
      quoted += "\\u00";
      quoted += hex[static_cast<unsigned char>(c) >> 4];
      quoted += hex[c & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string to_json(const Metrics& metrics) {
  std::string text = "{";
  for (const auto& [name, value] : metrics) {
    if (text.size() > 1) text += ", ";
    text += json_string(name) + ": " + (std::isfinite(value) ? digits(value) : "null");
  }
  return text + '}';
}

}  // namespace tapestry
