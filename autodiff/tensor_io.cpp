#include <tapestry/autodiff/tensor_io.hpp>

#include <algorithm>
#include <bit>
#include <string_view>
#include <utility>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/input_file.hpp>
#include <tapestry/autodiff/npy.hpp>
#include <tapestry/autodiff/zip.hpp>

namespace tapestry {
namespace {

static_assert(std::endian::native == std::endian::little, ".npy files are written little-endian");

constexpr std::string_view suffix = ".npy";

template <class T>
std::string_view contents(const Tensor<T>& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), tensor.size() * sizeof(T)};
}

}  // namespace

template <class T>
void save_npy(const std::filesystem::path& path, const Tensor<T>& tensor) {
  const std::string header = detail::npy_header(detail::npy_descr<T>(), shape_of(tensor));
  detail::AtomicFile file("save_npy", path);
  file.write(header.data(), header.size());
  file.write(tensor.data(), tensor.size() * sizeof(T));
  file.commit();
}

template <class T>
Tensor<T> load_npy(const std::filesystem::path& path) {
  const detail::InputFile file("load_npy", path);
  const std::string start = file.read(0, static_cast<std::size_t>(std::min(file.bytes(), detail::longest_npy_header)));
  const detail::NpyHeader header =
      detail::parse_npy_header(start, file.bytes(), detail::npy_descr<T>(), file.operation(), file.place());
  Tensor<T> tensor = empty_tensor<T>(header.shape);
  file.read(header.data_offset, tensor.data(), static_cast<std::size_t>(header.data_bytes));
  return tensor;
}

template <class T>
void save_npz(const std::filesystem::path& path, const std::map<std::string, Tensor<T>>& tensors, NpzOptions options) {
  detail::ZipWriter archive("save_npz", path, options.compress);
  for (const auto& [name, tensor] : tensors)
    archive.add(name + std::string(suffix), detail::npy_header(detail::npy_descr<T>(), shape_of(tensor)),
                contents(tensor));
  archive.commit();
}

template <class T>
std::map<std::string, Tensor<T>> load_npz(const std::filesystem::path& path) {
  const std::string operation = "load_npz";
  const detail::ZipReader archive(operation, path);
  std::map<std::string, Tensor<T>> tensors;
  for (const detail::ZipEntry& entry : archive.entries()) {
    std::string name = entry.name;
    if (!name.ends_with(suffix))
      fail<IoError>(operation, path.string(), ", offset ", entry.header_offset, ": member '", name,
                    "' is no .npy file");
    name.resize(name.size() - suffix.size());
    if (tensors.contains(name))
      fail<IoError>(operation, path.string(), ", offset ", entry.header_offset, ": member '", name, "' occurs twice");
    std::string start = archive.prefix(entry, detail::longest_npy_header);
    const detail::NpyHeader header = detail::parse_npy_header(start, entry.size, detail::npy_descr<T>(), operation,
                                                              path.string() + ", member '" + name + "'");
    Tensor<T> tensor = empty_tensor<T>(header.shape);
    archive.read(entry, {start.data(), static_cast<std::size_t>(header.data_offset)},
                 {reinterpret_cast<char*>(tensor.data()), static_cast<std::size_t>(header.data_bytes)});
    tensors.emplace(std::move(name), std::move(tensor));
  }
  return tensors;
}

#define TAPESTRY_INSTANTIATE(T)                                                                              \
  template void save_npy(const std::filesystem::path&, const Tensor<T>&);                                    \
  template Tensor<T> load_npy(const std::filesystem::path&);                                                 \
  template void save_npz(const std::filesystem::path&, const std::map<std::string, Tensor<T>>&, NpzOptions); \
  template std::map<std::string, Tensor<T>> load_npz(const std::filesystem::path&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
TAPESTRY_INSTANTIATE(std::int64_t)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
