#include <tapestry/autodiff/npy.hpp>

#include <algorithm>
#include <limits>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {
namespace {

constexpr std::string_view magic = "\x93NUMPY";

/// The dictionary of a header: a Python literal, of which NumPy writes just this form.
class Dictionary {
 public:
  Dictionary(std::string_view text, std::uint64_t offset, const std::string& operation, const std::string& place)
      : text_(text), offset_(offset), operation_(operation), place_(place) {}

  void parse() {
    expect('{');
    while (!accept('}')) {
      const std::size_t start = at_;
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && descr.empty()) {
        if (peek() != '\'' && peek() != '"') wrong("the type is no plain type");
        descr = quoted();
      } else if (key == "fortran_order" && !has_order_) {
        has_order_ = true;
        fortran_order = truth();
      } else if (key == "shape" && !has_shape_) {
        has_shape_ = true;
        tuple();
      } else {
        at_ = start;
        wrong("an unknown or repeated key");
      }
      if (accept('}')) break;
      expect(',');
    }
    skip_space();
    if (at_ != text_.size()) wrong("something follows the dictionary");
    if (descr.empty() || !has_order_ || !has_shape_) wrong("descr, fortran_order or shape is missing");
  }

  std::string descr;
  bool fortran_order = false;
  Shape shape;

  [[noreturn]] void wrong(const char* what) const {
    fail<IoError>(operation_, place_, ", offset ", offset_ + at_, ": ", what);
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (at_ >= text_.size() || peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (accept(c)) return;
    const char what[] = {'\'', c, '\'', ' ', 'i', 's', ' ', 'm', 'i', 's', 's', 'i', 'n', 'g', '\0'};
    wrong(what);
  }
  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') wrong("a quoted word is missing");
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) wrong("a quote is not closed");
    const std::string word(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return word;
  }
  bool truth() {
    skip_space();
    for (const std::string_view word : {"True", "False"})
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return word == "True";
      }
    wrong("fortran_order is neither True nor False");
  }
  void tuple() {
    expect('(');
    while (!accept(')')) {
      std::int64_t extent = 0;
      const char first = peek();
      if (first < '0' || first > '9') wrong("an extent is no number");
      for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
        const int digit = text_[at_] - '0';
        if (extent > (std::numeric_limits<std::int64_t>::max() - digit) / 10) wrong("an extent is too large");
        extent = extent * 10 + digit;
      }
      if (shape.rank() == Shape::max_rank) wrong("too many axes");
      shape.push_back(extent);
      if (accept(')')) {
        // (3) is a number in Python; NumPy writes (3,).
        if (shape.rank() == 1) wrong("a shape of one axis needs a comma");
        break;
      }
      expect(',');
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint64_t offset_;
  const std::string& operation_;
  const std::string& place_;
  bool has_order_ = false, has_shape_ = false;
};

}  // namespace

template <>
const char* npy_descr<float>() {
  return "<f4";
}
template <>
const char* npy_descr<double>() {
  return "<f8";
}
template <>
const char* npy_descr<std::int64_t>() {
  return "<i8";
}

std::string npy_header(std::string_view descr, const Shape& shape) {
  std::string dictionary = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < shape.rank(); ++i) dictionary += (i ? ", " : "") + std::to_string(shape[i]);
  dictionary += shape.rank() == 1 ? ",), }" : "), }";
  const std::size_t prefix = magic.size() + 4;
  dictionary.append(63 - (prefix + dictionary.size()) % 64, ' ');
  dictionary += '\n';
  std::string header(magic);
  header += {'\x01', '\x00', static_cast<char>(dictionary.size() & 0xff), static_cast<char>(dictionary.size() >> 8)};
  return header + dictionary;
}

NpyHeader parse_npy_header(std::string_view bytes, std::uint64_t file_bytes, std::string_view descr,
                           const std::string& operation, const std::string& place) {
  const auto wrong = [&](std::uint64_t offset, const auto&... what) {
    fail<IoError>(operation, place, ", offset ", offset, ": ", what...);
  };
  const auto byte = [&](std::size_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])); };
  if (bytes.substr(0, magic.size()) != magic.substr(0, std::min(bytes.size(), magic.size())) || bytes.empty())
    wrong(0, "this is no .npy data");
  if (bytes.size() < magic.size() + 2) wrong(bytes.size(), "the file ends within the header");
  const std::uint64_t version = byte(6);
  if (version < 1 || version > 3 || byte(7) != 0) wrong(6, "unknown format version ", version, '.', byte(7));
  const std::size_t prefix = version == 1 ? 10 : 12;
  if (bytes.size() < prefix) wrong(bytes.size(), "the file ends within the header");
  std::uint64_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > longest_npy_header - prefix) wrong(8, "a header of ", length, " bytes is too long");
  if (prefix + length > bytes.size()) wrong(bytes.size(), "the file ends within the header of ", length, " bytes");
  Dictionary dictionary(bytes.substr(prefix, length), prefix, operation, place);
  dictionary.parse();
  NpyHeader header{dictionary.descr, dictionary.shape, prefix + length, 0};
  if (header.descr != descr) wrong(prefix, "elements of type '", header.descr, "' where '", descr, "' is read");
  if (dictionary.fortran_order && header.shape.rank() > 1) wrong(prefix, "the array is in Fortran order");
  // Extents may be huge in an array that has a 0 among them.
  std::uint64_t elements = 1;
  const std::uint64_t most = std::uint64_t{1} << 48;
  bool none = false;
  for (const std::int64_t extent : header.shape) none = none || extent == 0;
  for (const std::int64_t extent : header.shape) {
    const auto size = static_cast<std::uint64_t>(extent);
    if (size > most || (!none && elements > most / size)) wrong(prefix, "the shape ", header.shape, " is too large");
    elements = none ? 0 : elements * size;
  }
  header.data_bytes = elements * static_cast<std::uint64_t>(descr.back() - '0');
  const std::uint64_t rest = file_bytes - header.data_offset;
  if (header.data_bytes > rest)
    wrong(file_bytes, "the file ends ", header.data_bytes - rest, " bytes before the end of its array of shape ",
          header.shape);
  if (header.data_bytes < rest)
    wrong(header.data_offset + header.data_bytes, rest - header.data_bytes, " bytes follow the array of shape ",
          header.shape);
  return header;
}

}  // namespace tapestry::detail
