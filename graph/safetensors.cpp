#include <tapestry/graph/safetensors.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

/// The reference implementation's limit on the header.
constexpr std::uint64_t longest_header = 100'000'000;
constexpr std::uint64_t prefix = 8;
constexpr const char* metadata_key = "__metadata__";

/// A name from a file, fit for a message.
std::string in_quotes(std::string_view name) {
  std::string out = "\"";
  for (const char c : name.substr(0, 64)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + (name.size() > 64 ? "...\"" : "\"");
}

std::string list(const std::vector<std::uint64_t>& values) {
  std::string out = "[";
  for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), 20); ++i)
    out += (i ? ", " : "") + std::to_string(values[i]);
  return out + (values.size() > 20 ? ", ...]" : "]");
}

struct Entry {
  std::optional<std::string> dtype;
  std::optional<std::vector<std::uint64_t>> shape, offsets;
};

/// Receives the header's JSON piece by piece, so that nothing is built from it but what it may hold.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
  /// What is wrong, where something is.
  std::string problem;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool number_integer(number_integer_t) override { return unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return unexpected("a number that is no integer"); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::list) return unexpected("a number");
    numbers_.push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (!metadata.emplace(field_, value).second) return wrong("the key " + in_quotes(field_) + " occurs twice");
      return true;
    }
    if (place_ != Place::entry || field_ != "dtype") return unexpected("a string");
    if (entry_->dtype) return wrong("dtype occurs twice");
    entry_->dtype = value;
    return true;
  }

  bool key(string_t& name) override {
    field_ = name;
    if (place_ == Place::top) {
      name_ = name;
      if (!first_time(name)) return wrong("the name occurs twice");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::outside) {
      place_ = Place::top;
    } else if (place_ == Place::top) {
      place_ = name_ == metadata_key ? Place::metadata : Place::entry;
      if (place_ == Place::entry) entry_ = &entries[name_];
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::entry && !(entry_->dtype && entry_->shape && entry_->offsets))
      return wrong("dtype, shape and data_offsets are needed");
    place_ = place_ == Place::top ? Place::outside : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::entry || (field_ != "shape" && field_ != "data_offsets")) return unexpected("a list");
    place_ = Place::list;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    auto& values = field_ == "shape" ? entry_->shape : entry_->offsets;
    if (values) return wrong(field_ + " occurs twice");
    values = std::move(numbers_);
    numbers_.clear();
    place_ = Place::entry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    problem = "no valid JSON in the header, at byte " + std::to_string(prefix + position - (position > 0));
    return false;
  }

 private:
  enum class Place { outside, top, metadata, entry, list };

  bool first_time(const std::string& name) {
    if (name != metadata_key) return entries.find(name) == entries.end();
    return !std::exchange(has_metadata_, true);
  }
  bool unexpected(const std::string& what) {
    const bool inside = place_ != Place::outside && place_ != Place::top;
    return wrong("unexpected " + what + (inside ? " in " + in_quotes(field_) : ""));
  }
  bool wrong(const std::string& what) {
    problem = in_quotes(name_) + ": " + what;
    return false;
  }

  Place place_ = Place::outside;
  bool has_metadata_ = false;
  std::string name_, field_;
  Entry* entry_ = nullptr;
  std::vector<std::uint64_t> numbers_;
};

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

Item check(const Source& source, const std::string& name, const Entry& entry, std::uint64_t data_bytes) {
  const auto refuse = [&](const auto&... parts) { source.refuse("tensor ", in_quotes(name), ": ", parts...); };
  Item item{name, Type::f32, {}, 0, 0};
  std::uint64_t bytes = 0;
  if (*entry.dtype == "F64") {
    item.type = Type::f64, bytes = 8;
  } else if (*entry.dtype == "F32") {
    item.type = Type::f32, bytes = 4;
  } else if (*entry.dtype == "F16") {
    item.type = Type::f16, bytes = 2;
  } else if (*entry.dtype == "BF16") {
    item.type = Type::bf16, bytes = 2;
  } else if (*entry.dtype == "I64") {
    item.type = Type::i64, bytes = 8;
  } else {
    refuse("dtype ", in_quotes(*entry.dtype), " where F64, F32, F16, BF16 and I64 are read");
  }

  const auto& shape = *entry.shape;
  const auto& offsets = *entry.offsets;
  if (shape.size() > Shape::max_rank) refuse(shape.size(), " axes, more than ", Shape::max_rank);
  // The strides of an empty tensor must not overflow either, so zeros do not end the product.
  std::uint64_t product = 8;
  bool none = false;
  for (const std::uint64_t extent : shape) {
    none |= extent == 0;
    if (extent > 0 && product > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / extent)
      refuse("the shape ", list(shape), " overflows");
    product *= std::max<std::uint64_t>(extent, 1);
    item.shape.push_back(static_cast<std::int64_t>(extent));
  }
  const std::uint64_t needed = none ? 0 : product / 8 * bytes;

  if (offsets.size() != 2 || offsets[0] > offsets[1]) refuse("data_offsets ", list(offsets), " are no range");
  if (offsets[1] > data_bytes)
    refuse("data_offsets ", list(offsets), " beyond the file's ", data_bytes, " bytes of data");
  if (offsets[1] - offsets[0] != needed)
    refuse("shape ", list(shape), " of ", *entry.dtype, " takes ", needed, " bytes, data_offsets ", list(offsets),
           " hold ", offsets[1] - offsets[0]);
  item.begin = offsets[0];
  item.end = offsets[1];
  return item;
}

Contents read_header(const Source& source, std::uint64_t& data_start) {
  if (source.size < prefix) source.refuse(source.size, " bytes are too few for a header's length");
  std::uint64_t length = 0;
  source.read(0, &length, prefix);
  if (length > source.size - prefix)
    source.refuse("a header of ", length, " bytes in a file of ", source.size, " bytes");
  if (length > longest_header) source.refuse("a header of ", length, " bytes, more than ", longest_header);
  std::string header(length, '\0');
  source.read(prefix, header.data(), header.size());
  if (header.empty() || header.front() != '{') source.refuse("the header does not start with {, at byte ", prefix);
  // The JSON reader takes a zero for the end.
  if (const auto zero = header.find('\0'); zero != std::string::npos)
    source.refuse("a zero in the header, at byte ", prefix + zero);

  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header, &reader)) source.refuse(reader.problem);
  data_start = prefix + length;
  const std::uint64_t data_bytes = source.size - data_start;
  Contents contents;
  contents.metadata = std::move(reader.metadata);
  for (const auto& [name, entry] : reader.entries) contents.items.push_back(check(source, name, entry, data_bytes));

  std::sort(contents.items.begin(), contents.items.end(),
            [](const Item& a, const Item& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  std::uint64_t covered = 0;
  for (const Item& item : contents.items) {
    if (item.begin != covered)
      source.refuse("tensor ", in_quotes(item.name), ": its data start at ", item.begin, " where ", covered,
                    item.begin < covered ? " is taken already" : " comes next");
    covered = item.end;
  }
  if (covered != data_bytes) source.refuse(data_bytes - covered, " bytes after the last tensor's data");
  return contents;
}

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
