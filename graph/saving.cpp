#include <tapestry/graph/saving.hpp>

#include <algorithm>
#include <utility>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/npy.hpp>
#include <tapestry/autodiff/zip.hpp>

namespace tapestry {
namespace {

constexpr std::string_view suffix = ".npy";

template <class T>
Tensor<T> read_member(const detail::ZipReader& archive, const detail::ZipEntry& entry, std::string& start,
                      const std::string& place) {
  const detail::NpyHeader header =
      detail::parse_npy_header(start, entry.size, detail::npy_descr<T>(), "read_npz", place);
  Tensor<T> tensor = empty_tensor<T>(header.shape);
  archive.read(entry, {start.data(), static_cast<std::size_t>(header.data_offset)},
               {reinterpret_cast<char*>(tensor.data()), static_cast<std::size_t>(header.data_bytes)});
  return tensor;
}

bool names_type(std::string_view start, const char* descr) {
  return start.substr(0, 256).find("'" + std::string(descr) + "'") != std::string_view::npos;
}

}  // namespace

void save(const std::filesystem::path& path, const Archive& archive, std::map<std::string, std::string> metadata) {
  NamedTensors contents = archive.save();
  for (auto& [key, value] : metadata)
    if (!contents.metadata.emplace(key, std::move(value)).second)
      fail("save", path.string(), ": the metadata key '", key, "' is taken by the archive");
  write_safetensors(path, contents);
}

std::map<std::string, std::string> load(const std::filesystem::path& path, const Archive& archive,
                                        LoadOptions options) {
  NamedTensors contents = read_safetensors(path);
  archive.load(contents, path.string(), options);
  return std::move(contents.metadata);
}

void write_npz(const std::filesystem::path& path, const NamedTensors& contents, NpzOptions options) {
  detail::ZipWriter archive("write_npz", path, options.compress);
  for (const auto& [name, value] : contents.tensors)
    std::visit(
        [&, file = name + std::string(suffix)](const auto& x) {
          using T = typename std::decay_t<decltype(x)>::value_type;
          archive.add(file, detail::npy_header(detail::npy_descr<T>(), shape_of(x)),
                      {reinterpret_cast<const char*>(x.data()), x.size() * sizeof(T)});
        },
        value);
  archive.commit();
}

NamedTensors read_npz(const std::filesystem::path& path) {
  const detail::ZipReader archive("read_npz", path);
  NamedTensors out;
  for (const detail::ZipEntry& entry : archive.entries()) {
    if (!entry.name.ends_with(suffix))
      fail<IoError>("read_npz", path.string(), ", offset ", entry.header_offset, ": member '", entry.name,
                    "' is no .npy file");
    std::string name = entry.name.substr(0, entry.name.size() - suffix.size());
    if (out.tensors.contains(name))
      fail<IoError>("read_npz", path.string(), ", offset ", entry.header_offset, ": member '", name, "' occurs twice");
    const std::string place = path.string() + ", member '" + name + "'";
    std::string start = archive.prefix(entry, detail::longest_npy_header);
    NamedTensors::Value value;
    if (names_type(start, "<f8"))
      value = read_member<double>(archive, entry, start, place);
    else if (names_type(start, "<i8"))
      value = read_member<std::int64_t>(archive, entry, start, place);
    else
      value = read_member<float>(archive, entry, start, place);
    out.tensors.emplace(std::move(name), std::move(value));
  }
  return out;
}

}  // namespace tapestry
