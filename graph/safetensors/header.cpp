#include <tapestry/graph/safetensors/header.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

namespace tapestry::detail::safetensors {

std::string in_quotes(std::string_view name) {
  std::string out = "\"";
  for (const char c : name.substr(0, 64)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + (name.size() > 64 ? "...\"" : "\"");
}

namespace {

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

}  // namespace

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

}  // namespace tapestry::detail::safetensors
