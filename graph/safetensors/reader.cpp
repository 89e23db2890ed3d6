#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <tapestry/graph/safetensors.hpp>
#include <tapestry/graph/safetensors/header.hpp>

namespace tapestry {
namespace {

using namespace detail::safetensors;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16, fraction = bits & 0x3ffu, exponent = bits >> 10 & 31u;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13);
}

template <class T>
Tensor<T> read_exact(const Source& source, std::uint64_t offset, const Shape& shape) {
  Tensor<T> out = empty_tensor<T>(shape);
  source.read(offset, out.data(), out.size() * sizeof(T));
  return out;
}

/// In blocks, so that the narrow numbers take no memory beside the wide ones.
template <class Convert>
Tensor<float> read_halves(const Source& source, std::uint64_t offset, const Shape& shape, Convert convert) {
  Tensor<float> out = empty_tensor<float>(shape);
  std::uint16_t block[4096];
  for (std::size_t i = 0; i < out.size();) {
    const std::size_t n = std::min<std::size_t>(out.size() - i, std::size(block));
    source.read(offset + 2 * i, block, 2 * n);
    for (std::size_t k = 0; k < n; ++k) out.data()[i++] = convert(block[k]);
  }
  return out;
}

NamedTensors read(const Source& source) {
  std::uint64_t start = 0;
  Contents contents = read_header(source, start);
  NamedTensors out;
  out.metadata = std::move(contents.metadata);
  for (const Item& item : contents.items) {
    const std::uint64_t at = start + item.begin;
    auto& value = out.tensors[item.name];
    switch (item.type) {
      case Type::f64:
        value = read_exact<double>(source, at, item.shape);
        break;
      case Type::f32:
        value = read_exact<float>(source, at, item.shape);
        break;
      case Type::i64:
        value = read_exact<std::int64_t>(source, at, item.shape);
        break;
      case Type::f16:
        value = read_halves(source, at, item.shape, from_f16);
        break;
      case Type::bf16:
        value = read_halves(source, at, item.shape, from_bf16);
        break;
    }
  }
  return out;
}

}  // namespace

NamedTensors parse_safetensors(std::string_view bytes) {
  return read({"bytes", bytes.size(), [&](std::uint64_t offset, void* out, std::size_t n) {
                 if (n > 0) std::memcpy(out, bytes.data() + offset, n);
               }});
}

NamedTensors read_safetensors(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    fail<IoError>("read_safetensors", path.string(), ": ", error ? error.message() : "not a regular file");
  std::ifstream in(path, std::ios::binary);
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (!in || error) fail<IoError>("read_safetensors", path.string(), ": cannot be opened");
  return read({path.string(), size, [&](std::uint64_t offset, void* out, std::size_t n) {
                 in.seekg(static_cast<std::streamoff>(offset));
                 if (n > 0 && !in.read(static_cast<char*>(out), static_cast<std::streamsize>(n)))
                   fail<IoError>("read_safetensors", path.string(), ": cannot read ", n, " bytes at byte ", offset);
               }});
}

}  // namespace tapestry
