#include <algorithm>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/graph/safetensors.hpp>
#include <tapestry/graph/safetensors/header.hpp>

namespace tapestry {
namespace {

using namespace detail::safetensors;

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

std::string json_string(const char* what, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::type_error&) {
    fail<IoError>("write_safetensors", what, " ", in_quotes(text), " is not UTF-8");
  }
}

struct Bytes {
  const char* dtype;
  const void* data;
  std::size_t size;
};
Bytes bytes_of(const Tensor<float>& x) {
  return {"F32", x.data(), x.size() * 4};
}
Bytes bytes_of(const Tensor<double>& x) {
  return {"F64", x.data(), x.size() * 8};
}
Bytes bytes_of(const IndexTensor& x) {
  return {"I64", x.data(), x.size() * 8};
}

/// Hands the file to `put` piece by piece. Wide types come first and the header's length is a multiple of 8, so that
/// all data are aligned for readers that map the file; then names are in order.
template <class Put>
void write(const NamedTensors& contents, Put put) {
  std::vector<const std::pair<const std::string, NamedTensors::Value>*> order;
  for (const auto& item : contents.tensors) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->second.index() > b->second.index(); });

  std::string header = "{", separator;
  if (!contents.metadata.empty()) {
    header += "\"" + std::string(metadata_key) + "\":{";
    for (const auto& [key, value] : contents.metadata) {
      header += separator + json_string("metadata key", key) + ":" + json_string("metadata value", value);
      separator = ",";
    }
    header += "}";
  }
  std::uint64_t offset = 0;
  std::vector<Bytes> data;
  for (const auto* item : order) {
    if (item->first == metadata_key) fail<IoError>("write_safetensors", "no tensor can be named ", metadata_key);
    data.push_back(std::visit([](const auto& x) { return bytes_of(x); }, item->second));
    header += separator + json_string("name", item->first) + ":{\"dtype\":\"" + data.back().dtype + "\",\"shape\":[";
    separator = ",";
    const Shape shape = std::visit([](const auto& x) { return shape_of(x); }, item->second);
    for (int i = 0; i < shape.rank(); ++i) header += (i ? "," : "") + std::to_string(shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(offset) + ",";
    offset += data.back().size;
    header += std::to_string(offset) + "]}";
  }
  header += "}";
  header.append((prefix - header.size() % prefix) % prefix, ' ');
  if (header.size() > longest_header)
    fail<IoError>("write_safetensors", "a header of ", header.size(), " bytes, more than ", longest_header);

  const std::uint64_t length = header.size();
  put(&length, prefix);
  put(header.data(), header.size());
  for (const Bytes& piece : data) put(piece.data, piece.size);
}

}  // namespace

std::string format_safetensors(const NamedTensors& contents) {
  std::string out;
  write(contents, [&](const void* data, std::size_t n) {
    if (n > 0) out.append(static_cast<const char*>(data), n);
  });
  return out;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& contents) {
  std::optional<detail::AtomicFile> file;
  write(contents, [&](const void* data, std::size_t n) {
    if (!file) file.emplace("write_safetensors", path);
    file->write(data, n);
  });
  file->commit();
}

}  // namespace tapestry
