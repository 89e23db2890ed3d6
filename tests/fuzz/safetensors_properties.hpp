#pragma once

#include <cstring>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/graph/safetensors.hpp>

#include "fuzz/require.hpp"

namespace fuzz {

inline bool same(const tapestry::NamedTensors& a, const tapestry::NamedTensors& b) {
  if (a.metadata != b.metadata || a.tensors.size() != b.tensors.size()) return false;
  for (const auto& [name, value] : a.tensors) {
    const auto other = b.tensors.find(name);
    if (other == b.tensors.end() || other->second.index() != value.index()) return false;
    const bool equal = std::visit(
        [&](const auto& x) {
          const auto& y = std::get<std::decay_t<decltype(x)>>(other->second);
          return tapestry::shape_of(x) == tapestry::shape_of(y) &&
                 (x.size() == 0 || std::memcmp(x.data(), y.data(), x.size() * sizeof(*x.data())) == 0);
        },
        value);
    if (!equal) return false;
  }
  return true;
}

/// For any bytes whatever: contents that survive writing and reading, or an IoError; memory for tensors never beyond
/// twice the file (half precision is widened). Whether the bytes were a file.
inline bool check_safetensors(std::string_view bytes) {
  const std::size_t before = tapestry::memory_statistics().in_use;
  tapestry::reset_peak_memory();
  const auto check_memory = [&] {
    require(tapestry::memory_statistics().peak <= before + 4 * bytes.size() + (std::size_t{1} << 18));
  };
  try {
    const auto contents = tapestry::parse_safetensors(bytes);
    check_memory();
    require(same(contents, tapestry::parse_safetensors(tapestry::format_safetensors(contents))));
    return true;
  } catch (const tapestry::IoError& error) {
    check_memory();
    require(std::string_view(error.what()).substr(0, 25) == "read_safetensors: bytes: ");
    return false;
  }
}

}  // namespace fuzz
