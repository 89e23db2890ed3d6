#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

// NumPy's files. T is float, double or std::int64_t, and a file of another type, of other byte order or in Fortran
// order is refused, not converted. Every error names the file and the offset in it; nothing is allocated for what a
// header claims before the size of the file confirms it. Files appear whole or not at all.

/// @throws IoError
template <class T>
void save_npy(const std::filesystem::path& path, const Tensor<T>& tensor);
/// @throws IoError
template <class T>
Tensor<T> load_npy(const std::filesystem::path& path);

struct NpzOptions {
  /// Deflate the members, as numpy.savez_compressed does.
  bool compress = false;
};

/// Named arrays in one file, each at most 4 GiB, like the file. @throws IoError
template <class T>
void save_npz(const std::filesystem::path& path, const std::map<std::string, Tensor<T>>& tensors,
              NpzOptions options = {});
/// All arrays of a file. @throws IoError
template <class T>
std::map<std::string, Tensor<T>> load_npz(const std::filesystem::path& path);

}  // namespace tapestry
