#include <tapestry/models/training/readers/idx.hpp>

#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

namespace tapestry {
namespace {

constexpr const char* operation = "read_idx";

template <class Element, class T>
void convert(const unsigned char* bytes, std::size_t n, T* out) {
  using Bits =
      std::conditional_t<sizeof(Element) == 1, std::uint8_t,
                         std::conditional_t<sizeof(Element) == 2, std::uint16_t,
                                            std::conditional_t<sizeof(Element) == 4, std::uint32_t, std::uint64_t>>>;
  for (std::size_t i = 0; i < n; ++i) {
    Bits bits = 0;
    for (std::size_t b = 0; b < sizeof(Element); ++b)
      bits = static_cast<Bits>((static_cast<std::uint64_t>(bits) << 8) | bytes[i * sizeof(Element) + b]);
    out[i] = static_cast<T>(std::bit_cast<Element>(bits));
  }
}

std::size_t element_size(unsigned char type) {
  switch (type) {
    case 0x08:
    case 0x09:
      return 1;
    case 0x0B:
      return 2;
    case 0x0C:
    case 0x0D:
      return 4;
    case 0x0E:
      return 8;
    default:
      return 0;
  }
}

template <class T>
bool holds(unsigned char type) {
  if (std::is_same_v<T, std::uint8_t>) return type == 0x08;
  if (std::is_same_v<T, std::int64_t>) return type <= 0x0C;
  return true;
}

}  // namespace

template <class T>
Tensor<T> read_idx(const std::filesystem::path& path) {
  FileReader file(path);
  const std::string& name = file.path();
  unsigned char magic[4];
  const std::size_t got = file.read(magic, 4);
  if (got == 0) fail<IoError>(operation, name, ": empty file");
  if (got < 4) fail<IoError>(operation, name, ": offset ", got, ": ends inside the magic number");
  if (magic[0] != 0 || magic[1] != 0)
    fail<IoError>(operation, name, ": offset 0: not an IDX file (it starts with bytes ", int{magic[0]}, " ",
                  int{magic[1]}, ", not 0 0)");
  const std::size_t size = element_size(magic[2]);
  if (size == 0) fail<IoError>(operation, name, ": offset 2: unknown element type ", int{magic[2]});
  if (!holds<T>(magic[2]))
    fail<IoError>(operation, name, ": offset 2: elements of type ", int{magic[2]},
                  " do not fit the asked integer type");
  if (magic[3] == 0 || magic[3] > Shape::max_rank)
    fail<IoError>(operation, name, ": offset 3: rank ", int{magic[3]}, " is not within 1 and ", Shape::max_rank);

  Shape shape;
  std::uint64_t elements = 1;
  for (int axis = 0; axis < magic[3]; ++axis) {
    unsigned char bytes[4];
    if (file.read(bytes, 4) < 4)
      fail<IoError>(operation, name, ": offset ", file.offset(), ": ends inside the extents");
    std::uint32_t extent;
    convert<std::int32_t>(bytes, 1, &extent);
    if (extent != 0 && elements > (std::numeric_limits<std::uint64_t>::max() >> 8) / extent)
      fail<IoError>(operation, name, ": offset ", file.offset() - 4, ": extents overflow");
    elements *= extent;
    shape.push_back(extent);
  }

  // The header is not trusted with an allocation: the data is read first, in steps.
  const std::uint64_t expected = elements * size;
  std::string data;
  constexpr std::uint64_t step = std::uint64_t{1} << 24;
  while (data.size() < expected) {
    const std::size_t before = data.size();
    data.resize(before + static_cast<std::size_t>(std::min(expected - before, std::max(step, std::uint64_t{before}))));
    const std::size_t n = file.read(data.data() + before, data.size() - before);
    if (before + n < data.size())
      fail<IoError>(operation, name, ": offset ", file.offset(), ": truncated: ", shape, " needs ", expected,
                    " bytes of data, the file has ", before + n);
  }
  char extra;
  if (file.read(&extra, 1) != 0)
    fail<IoError>(operation, name, ": offset ", file.offset() - 1, ": more data than the ", expected, " bytes of ",
                  shape);

  auto tensor = empty_tensor<T>(shape);
  const auto* bytes = reinterpret_cast<const unsigned char*>(data.data());
  const auto n = static_cast<std::size_t>(elements);
  switch (magic[2]) {
    case 0x08:
      convert<std::uint8_t>(bytes, n, tensor.data());
      break;
    case 0x09:
      convert<std::int8_t>(bytes, n, tensor.data());
      break;
    case 0x0B:
      convert<std::int16_t>(bytes, n, tensor.data());
      break;
    case 0x0C:
      convert<std::int32_t>(bytes, n, tensor.data());
      break;
    case 0x0D:
      convert<float>(bytes, n, tensor.data());
      break;
    default:
      convert<double>(bytes, n, tensor.data());
  }
  return tensor;
}

template Tensor<std::uint8_t> read_idx(const std::filesystem::path&);
template Tensor<std::int64_t> read_idx(const std::filesystem::path&);
template Tensor<float> read_idx(const std::filesystem::path&);
template Tensor<double> read_idx(const std::filesystem::path&);

}  // namespace tapestry
