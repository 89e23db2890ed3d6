#include <tapestry/graph/profile.hpp>

#include <algorithm>
#include <chrono>
#include <iomanip>
#include <map>
#include <ostream>
#include <sstream>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/pool.hpp>
#include <tapestry/graph/json_text.hpp>

namespace tapestry {
namespace {

using Clock = std::chrono::steady_clock;

class Profiler final : public detail::Observer {
 public:
  explicit Profiler(std::vector<Profile::Event>& events) : events_(events), start_(Clock::now()) {}

  double now() const { return std::chrono::duration<double, std::micro>(Clock::now() - start_).count(); }

  void begin(const detail::OperationBase& operation, std::uint32_t scope, bool backward) override {
    Open open;
    open.event.operation = operation.name();
    open.event.scope = detail::scope_name(scope);
    open.event.backward = backward;
    open.allocated = detail::thread_allocated_bytes();
    open.event.start = now();
    open_.push_back(std::move(open));
  }

  void end(const Shape& shape, std::size_t) override {
    const double time = now();
    Open open = std::move(open_.back());
    open_.pop_back();
    const std::uint64_t allocated = detail::thread_allocated_bytes() - open.allocated;
    open.event.shape = shape;
    open.event.total = time - open.event.start;
    open.event.self = open.event.total - open.inner_time;
    open.event.bytes = allocated - open.inner_bytes;
    if (!open_.empty()) {
      open_.back().inner_time += open.event.total;
      open_.back().inner_bytes += allocated;
    }
    events_.push_back(std::move(open.event));
  }

 private:
  struct Open {
    Profile::Event event;
    std::uint64_t allocated = 0;
    double inner_time = 0;
    std::uint64_t inner_bytes = 0;
  };
  std::vector<Profile::Event>& events_;
  std::vector<Open> open_;
  Clock::time_point start_;
};

std::vector<Profile::Row> sorted(const std::map<std::string, Profile::Row>& rows) {
  std::vector<Profile::Row> out;
  for (const auto& [name, row] : rows) {
    out.push_back(row);
    out.back().name = name;
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.self > b.self; });
  return out;
}

void print_rows(std::ostream& out, const char* title, const std::vector<Profile::Row>& rows, double elapsed) {
  std::size_t width = std::string(title).size();
  for (const Profile::Row& row : rows) width = std::max(width, row.name.size());
  const auto name = static_cast<int>(width + 2);
  out << std::left << std::setw(name) << title << std::right << std::setw(8) << "calls" << std::setw(14) << "total us"
      << std::setw(14) << "self us" << std::setw(8) << "self %" << std::setw(14) << "bytes" << '\n';
  for (const Profile::Row& row : rows)
    out << std::left << std::setw(name) << row.name << std::right << std::setw(8) << row.calls << std::setw(14)
        << row.total << std::setw(14) << row.self << std::setw(8) << (elapsed > 0 ? 100 * row.self / elapsed : 0)
        << std::setw(14) << row.bytes << '\n';
}

}  // namespace

std::vector<Profile::Row> Profile::by_operation() const {
  std::map<std::string, Row> rows;
  for (const Event& event : events_) {
    Row& row = rows[event.backward ? event.operation + " (backward)" : event.operation];
    ++row.calls;
    row.total += event.total;
    row.self += event.self;
    row.bytes += event.bytes;
  }
  return sorted(rows);
}

std::vector<Profile::Row> Profile::by_scope() const {
  std::map<std::string, Row> rows;
  for (const Event& event : events_) {
    Row& own = rows[event.scope.empty() ? "(none)" : event.scope];
    ++own.calls;
    own.self += event.self;
    own.bytes += event.bytes;
    if (event.scope.empty()) own.total += event.self;
    // Self times add up to totals whatever operations call each other.
    for (std::size_t end = event.scope.size(); end != 0 && end != std::string::npos;) {
      rows[event.scope.substr(0, end)].total += event.self;
      end = event.scope.rfind('/', end - 1);
    }
  }
  return sorted(rows);
}

void Profile::print(std::ostream& out) const {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1);
  print_rows(text, "operation", by_operation(), elapsed_);
  text << '\n';
  print_rows(text, "scope", by_scope(), elapsed_);
  text << "\nelapsed " << elapsed_ << " us\n";
  out << text.str();
}

void Profile::write_trace(std::ostream& out) const {
  std::ostringstream text;
  text << std::fixed << std::setprecision(3) << "{\"displayTimeUnit\": \"ns\", \"traceEvents\": [";
  const char* separator = "\n";
  for (const Event& event : events_) {
    text << separator << "{\"name\": " << detail::json_text(event.operation) << ", \"cat\": \""
         << (event.backward ? "backward" : "forward")
         << "\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": " << event.start << ", \"dur\": " << event.total
         << ", \"args\": {\"shape\": " << detail::json_text(to_string(event.shape)) << ", \"bytes\": " << event.bytes
         << ", \"scope\": " << detail::json_text(event.scope) << "}}";
    separator = ",\n";
  }
  out << text.str() << "\n]}\n";
}

void Profile::write_trace(const std::filesystem::path& file) const {
  std::ostringstream stream;
  write_trace(stream);
  const std::string text = stream.str();
  detail::AtomicFile out("write_trace", file);
  out.write(text.data(), text.size());
  out.commit();
}

Profile profile(const std::function<void()>& f) {
  Profile out;
  Profiler profiler(out.events_);
  const detail::UseObserver use(&profiler);
  f();
  out.elapsed_ = profiler.now();
  return out;
}

}  // namespace tapestry
