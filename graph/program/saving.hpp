#pragma once

#include <cstddef>
#include <filesystem>

#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/graph/program/program.hpp>

namespace tapestry {

/// Writes a program with the values of its variables and constants, so that it runs without the code that made it. The
/// format is described in docs/captured_programs.md.
/// @throws GraphError naming all operations that can't be saved, IoError
template <class T>
void save_program(const Program<T>& program, const std::filesystem::path& file);

/// Reads what save_program() wrote; the variables are new leaves. Operations that are not the library's own must have
/// been made known by register_operation().
/// @param most_bytes what one of its values may take
/// @throws IoError for a file that is damaged, of another type or of a later version, or that has unknown operations
template <class T>
Program<T> load_program(const std::filesystem::path& file, std::size_t most_bytes = std::size_t{1} << 34);

}  // namespace tapestry
