#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include <tapestry/autodiff/shape.hpp>

namespace tapestry {

/// What profile() measured.
class Profile {
 public:
  /// One evaluation of an operation, or one computation of its gradient. Times in microseconds.
  struct Event {
    std::string operation;
    std::string scope;
    bool backward = false;
    Shape shape;  ///< of the result (the first of several)
    double start = 0;
    double total = 0;
    double self = 0;          ///< without the operations that it calls
    std::uint64_t bytes = 0;  ///< that it allocated, without those operations, by this thread
  };
  /// The sum over events of one name.
  struct Row {
    std::string name;
    std::int64_t calls = 0;
    double total = 0;
    double self = 0;
    std::uint64_t bytes = 0;
  };

  /// In the order in which they ended.
  const std::vector<Event>& events() const noexcept { return events_; }
  /// The whole run, in microseconds.
  double elapsed() const noexcept { return elapsed_; }
  /// A row for each operation ("matmul", "matmul (backward)"), the most expensive first.
  std::vector<Row> by_operation() const;
  /// A row for each scope; `total` includes scopes within it, `self` does not.
  std::vector<Row> by_scope() const;
  /// Both tables as text.
  void print(std::ostream& out) const;
  /// Chrome's trace-event JSON, for chrome://tracing and ui.perfetto.dev.
  void write_trace(std::ostream& out) const;
  /// The same to a file. @throws IoError
  void write_trace(const std::filesystem::path& file) const;

 private:
  friend Profile profile(const std::function<void()>& f);
  std::vector<Event> events_;
  double elapsed_ = 0;
};

/// Runs f and measures the operations that this thread evaluates and differentiates in it.
Profile profile(const std::function<void()>& f);

}  // namespace tapestry
