#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tapestry/autodiff/shape.hpp>

namespace tapestry::detail {

/// What starts a .npy file (format 1.0 to 3.0: NumPy Enhancement Proposal 1).
struct NpyHeader {
  std::string descr;  ///< type and byte order, such as "<f4"
  Shape shape;
  std::uint64_t data_offset = 0;  ///< bytes before the elements
  std::uint64_t data_bytes = 0;   ///< of the elements
};

/// "<f4", "<f8" or "<i8".
template <class T>
const char* npy_descr();

/// The header of an array, padded to a multiple of 64 bytes.
std::string npy_header(std::string_view descr, const Shape& shape);

/// Reads the header in front of `bytes` (all of the file, or as much as a header can have), of a file of `file_bytes`
/// that must hold elements of type `descr` and nothing else. `place` names the file in messages.
/// @throws IoError
NpyHeader parse_npy_header(std::string_view bytes, std::uint64_t file_bytes, std::string_view descr,
                           const std::string& operation, const std::string& place);

/// No header that this library reads is longer.
inline constexpr std::uint64_t longest_npy_header = 1 << 16;

}  // namespace tapestry::detail
