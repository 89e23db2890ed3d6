#pragma once

#include <filesystem>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// Reads an array in IDX format (LeCun's MNIST files: two zero bytes, the element type, the rank, big-endian extents,
/// big-endian elements), plain or gzipped. T is std::uint8_t, std::int64_t, float or double; elements keep their
/// values.
/// @throws IoError with file and offset: wrong magic, truncated or oversized data, or a type that T cannot hold.
template <class T>
Tensor<T> read_idx(const std::filesystem::path& path);

}  // namespace tapestry
