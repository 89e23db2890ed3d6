#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// What a safetensors file holds: tensors by name, and strings by name.
struct NamedTensors {
  using Value = std::variant<Tensor<float>, Tensor<double>, IndexTensor>;
  std::map<std::string, Value> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a safetensors file (github.com/huggingface/safetensors, "Format"): F32, F64 and I64 as they are, F16 and BF16
/// as float. Names, types, shapes and offsets are checked against each other and the file's size before memory is
/// taken for a tensor; the data must be covered without gaps and overlaps.
/// @throws IoError naming the file, and the tensor or the offset
NamedTensors read_safetensors(const std::filesystem::path& path);
/// The same from bytes in memory.
NamedTensors parse_safetensors(std::string_view bytes);

/// Writes a file that appears whole or not at all. The same contents give the same bytes.
/// @throws IoError also for a name that is not UTF-8 or is "__metadata__"
void write_safetensors(const std::filesystem::path& path, const NamedTensors& contents);
/// The bytes of the file.
std::string format_safetensors(const NamedTensors& contents);

}  // namespace tapestry
