#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <tapestry/autodiff/tensor_io.hpp>
#include <tapestry/graph/archive.hpp>

namespace tapestry {

/// Writes an archive in safetensors format; the file appears whole or not at all. @throws IoError
void save(const std::filesystem::path& path, const Archive& archive, std::map<std::string, std::string> metadata = {});
/// Reads an archive back, and returns the file's metadata. Nothing is changed where anything does not fit.
/// @throws IoError for what is no such file, and listing all differences from what is expected
std::map<std::string, std::string> load(const std::filesystem::path& path, const Archive& archive,
                                        LoadOptions options = {});

/// The parameters and buffers of a module.
template <Module M>
void save(const std::filesystem::path& path, const M& module, std::map<std::string, std::string> metadata = {}) {
  save(path, weights(module), std::move(metadata));
}
template <Module M>
std::map<std::string, std::string> load(const std::filesystem::path& path, M& module, LoadOptions options = {}) {
  return load(path, weights(module), options);
}

/// NumPy's archives (.npz) of arrays of type float32, float64 and int64. @throws IoError
void write_npz(const std::filesystem::path& path, const NamedTensors& contents, NpzOptions options = {});
/// @throws IoError, also for arrays of other types
NamedTensors read_npz(const std::filesystem::path& path);

/// The parameters and buffers of a module as an .npz archive, an array each.
template <Module M>
void export_npz(const std::filesystem::path& path, const M& module, NpzOptions options = {}) {
  write_npz(path, weights(module).save(), options);
}
/// @throws IoError as load()
template <Module M>
void import_npz(const std::filesystem::path& path, M& module, LoadOptions options = {}) {
  weights(module).load(read_npz(path), path.string(), options);
}

}  // namespace tapestry
