#include <tapestry/autodiff/zip.hpp>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <utility>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {
namespace {

constexpr std::uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50;
constexpr std::uint64_t local_bytes = 30, central_bytes = 46, end_bytes = 22;
constexpr std::uint16_t encrypted = 1, has_descriptor = 8, utf8 = 1 << 11;
constexpr std::uint32_t see_zip64 = 0xffffffffu;
// Deflate makes at best one bit of 258 bytes and two bits of another (a match of length 258 at one bit each).
constexpr std::uint64_t best_ratio = 1032;
constexpr std::size_t chunk = 1 << 16;

std::uint16_t get16(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(bytes[at]) | static_cast<unsigned char>(bytes[at + 1])
                                                                                << 8);
}
std::uint32_t get32(std::string_view bytes, std::size_t at) {
  return get16(bytes, at) | static_cast<std::uint32_t>(get16(bytes, at + 2)) << 16;
}
void put16(std::string& out, std::uint32_t value) {
  out += static_cast<char>(value & 0xff);
  out += static_cast<char>(value >> 8 & 0xff);
}
void put32(std::string& out, std::uint32_t value) {
  put16(out, value & 0xffff);
  put16(out, value >> 16);
}

std::uint32_t sum(std::uint32_t before, const char* data, std::size_t bytes) {
  return static_cast<std::uint32_t>(crc32_z(before, reinterpret_cast<const Bytef*>(data), bytes));
}

struct Inflate {
  Inflate() { ready = inflateInit2(&stream, -MAX_WBITS) == Z_OK; }
  ~Inflate() {
    if (ready) inflateEnd(&stream);
  }
  Inflate(const Inflate&) = delete;
  Inflate& operator=(const Inflate&) = delete;
  z_stream stream{};
  bool ready = false;
};

struct Deflate {
  Deflate() { ready = deflateInit2(&stream, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK; }
  ~Deflate() {
    if (ready) deflateEnd(&stream);
  }
  Deflate(const Deflate&) = delete;
  Deflate& operator=(const Deflate&) = delete;
  z_stream stream{};
  bool ready = false;
};

// Decompresses from `offset` on until `out` is full; whether the stream went on to its end exactly there.
enum class Inflated { broken, full, ended };
Inflated inflate_into(const InputFile& file, std::uint64_t offset, std::uint64_t compressed,
                      std::span<const std::span<char>> out) {
  Inflate state;
  if (!state.ready) return Inflated::broken;
  std::array<char, chunk> input;
  std::uint64_t left = compressed;
  std::size_t part = 0, filled = 0;
  char extra = 0;
  while (true) {
    while (part < out.size() && filled == out[part].size()) {
      ++part;
      filled = 0;
    }
    if (state.stream.avail_in == 0 && left > 0) {
      const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left, chunk));
      file.read(offset, input.data(), bytes);
      offset += bytes;
      left -= bytes;
      state.stream.next_in = reinterpret_cast<Bytef*>(input.data());
      state.stream.avail_in = static_cast<uInt>(bytes);
    }
    // After the last byte a place for one more shows whether the stream ends there.
    const bool full = part == out.size();
    const std::size_t room = full ? 1 : std::min<std::size_t>(out[part].size() - filled, 1u << 30);
    state.stream.next_out = reinterpret_cast<Bytef*>(full ? &extra : out[part].data() + filled);
    state.stream.avail_out = static_cast<uInt>(room);
    const int status = inflate(&state.stream, Z_NO_FLUSH);
    const std::size_t made = room - state.stream.avail_out;
    if (full && made > 0) return Inflated::full;
    filled += made;
    if (status == Z_STREAM_END) {
      while (part < out.size() && filled == out[part].size()) {
        ++part;
        filled = 0;
      }
      return part == out.size() && left == 0 && state.stream.avail_in == 0 ? Inflated::ended : Inflated::broken;
    }
    if (status != Z_OK || (made == 0 && state.stream.avail_in == 0 && left == 0)) return Inflated::broken;
  }
}

}  // namespace

ZipReader::ZipReader(std::string operation, const std::filesystem::path& path) : file_(std::move(operation), path) {
  const std::uint64_t directory = find_directory();
  std::vector<const ZipEntry*> order;
  for (ZipEntry& entry : entries_) {
    if (entry.header_offset >= directory || directory - entry.header_offset < local_bytes)
      wrong(entry.header_offset, "a member begins outside of the archive");
    locate(entry);
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(),
            [](const ZipEntry* a, const ZipEntry* b) { return a->header_offset < b->header_offset; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::uint64_t end = i + 1 < order.size() ? order[i + 1]->header_offset : directory;
    if (order[i]->data_offset > end || order[i]->compressed > end - order[i]->data_offset)
      wrong(order[i]->header_offset, "member '" + order[i]->name + "' overlaps what follows it");
  }
}

void ZipReader::wrong(std::uint64_t offset, const std::string& what) const {
  fail<IoError>(file_.operation(), file_.place(), ", offset ", offset, ": ", what);
}

std::uint64_t ZipReader::find_directory() {
  const std::uint64_t bytes = file_.bytes();
  if (bytes < end_bytes) wrong(bytes, "the file is too short for an archive");
  const std::uint64_t tail = std::min<std::uint64_t>(bytes, end_bytes + 0xffff);
  const std::string text = file_.read(bytes - tail, tail);
  std::size_t at = text.size() - end_bytes;
  while (get32(text, at) != end_signature || get16(text, at + 20) != text.size() - at - end_bytes)
    if (at-- == 0) wrong(bytes, "the archive's end record is missing: no archive, or cut short");
  const std::uint64_t end = bytes - tail + at;
  const std::uint16_t count = get16(text, at + 10);
  const std::uint32_t size = get32(text, at + 12), offset = get32(text, at + 16);
  if (count == 0xffff || size == see_zip64 || offset == see_zip64) wrong(end, "zip64 archives are not supported");
  if (get16(text, at + 4) != 0 || get16(text, at + 6) != 0 || get16(text, at + 8) != count)
    wrong(end, "archives in several volumes are not supported");
  if (offset > end || end - offset != size) wrong(end, "the directory is not where the end record says");

  const std::string directory = file_.read(offset, size);
  std::size_t entry_at = 0;
  for (std::uint16_t i = 0; i < count; ++i) {
    const std::uint64_t place = offset + entry_at;
    if (directory.size() - entry_at < central_bytes || get32(directory, entry_at) != central_signature)
      wrong(place, "an entry of the directory is broken");
    const std::size_t name = get16(directory, entry_at + 28), extra = get16(directory, entry_at + 30);
    const std::size_t comment = get16(directory, entry_at + 32);
    if (directory.size() - entry_at - central_bytes < name + extra + comment)
      wrong(place, "an entry of the directory is cut short");
    ZipEntry entry;
    entry.name = directory.substr(entry_at + central_bytes, name);
    entry.method = get16(directory, entry_at + 10);
    entry.checksum = get32(directory, entry_at + 16);
    entry.compressed = get32(directory, entry_at + 20);
    entry.size = get32(directory, entry_at + 24);
    entry.header_offset = get32(directory, entry_at + 42);
    if (entry.compressed == see_zip64 || entry.size == see_zip64 || entry.header_offset == see_zip64)
      wrong(place, "zip64 members are not supported");
    if (get16(directory, entry_at + 8) & encrypted) wrong(place, "encrypted members are not supported");
    if (entry.method != 0 && entry.method != 8)
      wrong(place, "compression method " + std::to_string(entry.method) + " is not supported");
    if (entry.method == 0 ? entry.size != entry.compressed : entry.size > best_ratio * entry.compressed)
      wrong(place, "a member cannot have the size that is given");
    entries_.push_back(std::move(entry));
    entry_at += central_bytes + name + extra + comment;
  }
  if (entry_at != directory.size()) wrong(offset + entry_at, "something follows the directory's entries");
  return offset;
}

// Sizes are those of the directory: NumPy reserves zip64 fields in the local headers, whatever the size.
void ZipReader::locate(ZipEntry& entry) const {
  const std::string header = file_.read(entry.header_offset, local_bytes);
  if (get32(header, 0) != local_signature) wrong(entry.header_offset, "a member's header is broken");
  if (get16(header, 8) != entry.method || get16(header, 6) & encrypted)
    wrong(entry.header_offset, "a member's header contradicts the directory");
  const std::uint32_t compressed = get32(header, 18), size = get32(header, 22);
  if (!(get16(header, 6) & has_descriptor) &&
      ((compressed != see_zip64 && compressed != entry.compressed) || (size != see_zip64 && size != entry.size)))
    wrong(entry.header_offset, "a member's header contradicts the directory");
  const std::uint64_t name = get16(header, 26), extra = get16(header, 28);
  if (file_.bytes() - entry.header_offset - local_bytes < name + extra)
    wrong(entry.header_offset, "a member's header is cut short");
  if (file_.read(entry.header_offset + local_bytes, name) != entry.name)
    wrong(entry.header_offset, "a member has another name in the directory");
  entry.data_offset = entry.header_offset + local_bytes + name + extra;
}

std::string ZipReader::prefix(const ZipEntry& entry, std::uint64_t bytes) const {
  std::string out(std::min<std::uint64_t>(bytes, entry.size), '\0');
  if (entry.method == 0) {
    file_.read(entry.data_offset, out.data(), out.size());
  } else {
    const std::span<char> part(out);
    if (inflate_into(file_, entry.data_offset, entry.compressed, {&part, 1}) == Inflated::broken)
      wrong(entry.data_offset, "the compressed data of member '" + entry.name + "' is broken");
  }
  return out;
}

void ZipReader::read(const ZipEntry& entry, std::span<char> head, std::span<char> rest) const {
  if (entry.method == 0) {
    file_.read(entry.data_offset, head.data(), head.size());
    file_.read(entry.data_offset + head.size(), rest.data(), rest.size());
  } else {
    const std::array<std::span<char>, 2> parts{head, rest};
    if (inflate_into(file_, entry.data_offset, entry.compressed, parts) != Inflated::ended)
      wrong(entry.data_offset, "the compressed data of member '" + entry.name + "' is broken");
  }
  if (sum(sum(0, head.data(), head.size()), rest.data(), rest.size()) != entry.checksum)
    wrong(entry.data_offset, "the data of member '" + entry.name + "' does not have the checksum that is given");
}

ZipWriter::ZipWriter(std::string operation, const std::filesystem::path& path, bool compress)
    : operation_(operation), place_(path.string()), compress_(compress), file_(std::move(operation), path) {}

void ZipWriter::check_size(std::uint64_t bytes) const {
  if (bytes >= see_zip64) fail<IoError>(operation_, place_, ": more than 4 GiB need zip64, which is not supported");
}

void ZipWriter::add(const std::string& name, std::string_view head, std::string_view rest) {
  if (name.size() > 0xffff || entries_.size() + 1 >= 0xffff)
    fail<IoError>(operation_, place_, ": too many members, or a name that is too long");
  check_size(written_ + local_bytes + name.size() + head.size() + rest.size());
  ZipEntry entry;
  entry.name = name;
  entry.header_offset = written_;
  entry.checksum = sum(sum(0, head.data(), head.size()), rest.data(), rest.size());
  entry.size = entry.compressed = static_cast<std::uint32_t>(head.size() + rest.size());
  std::string packed;
  if (compress_) {
    entry.method = 8;
    Deflate state;
    if (!state.ready) fail<IoError>(operation_, place_, ": no memory to compress");
    packed.resize(deflateBound(&state.stream, entry.size));
    state.stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    state.stream.avail_out = static_cast<uInt>(std::min<std::size_t>(packed.size(), std::numeric_limits<uInt>::max()));
    for (const std::string_view part : {head, rest}) {
      // zlib does not write to its input.
      state.stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
      state.stream.avail_in = static_cast<uInt>(part.size());
      deflate(&state.stream, part.data() == rest.data() ? Z_FINISH : Z_NO_FLUSH);
    }
    packed.resize(state.stream.total_out);
    check_size(written_ + local_bytes + name.size() + packed.size());
    entry.compressed = static_cast<std::uint32_t>(packed.size());
  }
  std::string header;
  const bool ascii = std::all_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  put32(header, local_signature);
  put16(header, 20);
  put16(header, ascii ? 0 : utf8);
  put16(header, entry.method);
  put32(header, 0x00210000);  // 1980-01-01: the same arrays make the same file
  put32(header, entry.checksum);
  put32(header, entry.compressed);
  put32(header, entry.size);
  put16(header, static_cast<std::uint32_t>(name.size()));
  put16(header, 0);
  header += name;
  file_.write(header.data(), header.size());
  if (compress_) {
    file_.write(packed.data(), packed.size());
  } else {
    file_.write(head.data(), head.size());
    file_.write(rest.data(), rest.size());
  }
  written_ += header.size() + entry.compressed;
  entries_.push_back(std::move(entry));
}

void ZipWriter::commit() {
  std::string directory;
  for (const ZipEntry& entry : entries_) {
    const bool ascii =
        std::all_of(entry.name.begin(), entry.name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    put32(directory, central_signature);
    put16(directory, 20);
    put16(directory, 20);
    put16(directory, ascii ? 0 : utf8);
    put16(directory, entry.method);
    put32(directory, 0x00210000);
    put32(directory, entry.checksum);
    put32(directory, entry.compressed);
    put32(directory, entry.size);
    put16(directory, static_cast<std::uint32_t>(entry.name.size()));
    for (int i = 0; i < 4; ++i) put16(directory, 0);  // extra, comment, volume, attributes
    put32(directory, 0);
    put32(directory, static_cast<std::uint32_t>(entry.header_offset));
    directory += entry.name;
  }
  check_size(written_ + directory.size());
  const auto bytes = static_cast<std::uint32_t>(directory.size());
  put32(directory, end_signature);
  put32(directory, 0);
  put16(directory, static_cast<std::uint32_t>(entries_.size()));
  put16(directory, static_cast<std::uint32_t>(entries_.size()));
  put32(directory, bytes);
  put32(directory, static_cast<std::uint32_t>(written_));
  put16(directory, 0);
  file_.write(directory.data(), directory.size());
  file_.commit();
}

}  // namespace tapestry::detail
