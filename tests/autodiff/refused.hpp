#pragma once

#include <functional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/variable.hpp>

// What is refused says which operation, which argument, and what was wrong with it, and leaves nothing on the tape.
namespace tapestry::testing {

inline Var<double> ones(const Shape& shape) {
  return Var<double>::filled(shape, 1.0, true);
}

struct Refused {
  const char* message;
  std::function<void()> run;
};

inline void check_messages(const std::vector<Refused>& rows) {
  for (const Refused& row : rows) {
    const std::size_t nodes = Tape::current().nodes();
    std::string message = "nothing was thrown";
    try {
      row.run();
    } catch (const Error& e) {
      message = e.what();
    }
    CHECK(message == row.message);
    CHECK(Tape::current().nodes() == nodes);
  }
}

}  // namespace tapestry::testing
