#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/shape.hpp>

/// The header of a safetensors file: what its reader and its writer share.
namespace tapestry::detail::safetensors {

/// The reference implementation's limit on the header.
constexpr std::uint64_t longest_header = 100'000'000;
/// Bytes of the header's length, in front of it.
constexpr std::uint64_t prefix = 8;
constexpr const char* metadata_key = "__metadata__";

/// A name from a file, fit for a message.
std::string in_quotes(std::string_view name);

enum class Type { f64, f32, f16, bf16, i64 };

/// A tensor that has been checked.
struct Item {
  std::string name;
  Type type;
  Shape shape;
  std::uint64_t begin, end;
};

struct Contents {
  std::vector<Item> items;  ///< in the order of the data
  std::map<std::string, std::string> metadata;
};

/// Where bytes come from.
struct Source {
  std::string name;
  std::uint64_t size;
  /// Bytes from an offset; the range is inside.
  std::function<void(std::uint64_t, void*, std::size_t)> read;

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<IoError>("read_safetensors", name, ": ", parts...);
  }
};

/// The header, checked against itself and the number of bytes. `data_start` is where the data begin.
/// @throws IoError
Contents read_header(const Source& source, std::uint64_t& data_start);

}  // namespace tapestry::detail::safetensors
