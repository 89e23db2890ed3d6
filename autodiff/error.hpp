#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tapestry {

/// Base of everything the library throws. The message starts with the operation's name.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes, axes or ranks that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An index or a state that does not exist.
class IndexError : public Error {
 public:
  using Error::Error;
};

/// A value outside an operation's domain: not positive definite, singular, non-finite, not normalised.
class NumericalError : public Error {
 public:
  using Error::Error;
};

/// A file that cannot be read or written; the message names file and line, column or offset.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A misuse of the tape: cleared or freed graphs, changed values, foreign tapes.
class GraphError : public Error {
 public:
  using Error::Error;
};

/// Throws E with the message "operation: parts...".
template <class E = Error, class... Parts>
[[noreturn]] void fail(std::string_view operation, const Parts&... parts) {
  std::ostringstream out;
  out << operation << ": ";
  (out << ... << parts);
  throw E(out.str());
}

}  // namespace tapestry
