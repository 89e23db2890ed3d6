#pragma once

#include <cstddef>
#include <string>

#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

/// A program as it was captured in bytes, with the values of its variables and constants: what follows the header in a
/// file. @throws GraphError naming all operations that can't be saved
std::string describe(ProgramGraph graph);
/// The version of the format that describe() writes.
inline constexpr std::uint32_t description_version = 2;
/// The reverse, of this version and all before; nothing of the bytes is believed.
/// @throws IoError, also for a value of more than `most_bytes`
ProgramGraph read_description(std::string bytes, DType type, std::size_t most_bytes,
                              std::uint32_t version = description_version);

}  // namespace tapestry::detail
