#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include <tapestry/autodiff/shape.hpp>
#include <tapestry/autodiff/tape.hpp>

namespace tapestry {

/// A graph of operations, ready to be drawn or listed: of a tape, or of a captured program.
struct Drawing {
  enum class Kind { operation, leaf, constant, output };
  struct Node {
    std::string name;  ///< of the operation; what a leaf is
    Kind kind = Kind::operation;
    Shape shape;                      ///< of the result
    std::size_t bytes = 0;            ///< that the result takes, 0 where it was let go of
    std::string scope;                ///< names joined by '/'
    std::vector<std::size_t> inputs;  ///< earlier nodes
  };
  std::vector<Node> nodes;  ///< in the order of evaluation
};

struct DrawingOptions {
  /// Draw one of the steps of a loop, scopes "name[0]", "name[1]", ..., for all that have the same operations, also in
  /// loops within loops; with it, of what only those steps read, what that one reads.
  bool collapse_steps = true;
};

/// What a tape holds, with the leaves and constants that its operations read.
Drawing draw(const Tape& tape);

/// Graphviz' DOT language: a box for each operation with shape and bytes, a cluster for each scope.
void write_dot(const Drawing& drawing, std::ostream& out, const DrawingOptions& options = {});
/// The same to a file. @throws IoError
void write_dot(const Drawing& drawing, const std::filesystem::path& file, const DrawingOptions& options = {});
/// A line for each node: number, operation, shape, bytes, inputs, scope.
void write_table(const Drawing& drawing, std::ostream& out);

}  // namespace tapestry
