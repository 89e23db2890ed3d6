#include <tapestry/graph/program/saving.hpp>

#include <zlib.h>

#include <array>
#include <cstring>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/input_file.hpp>
#include <tapestry/graph/program/description.hpp>
#include <tapestry/graph/program/state.hpp>

namespace tapestry {
namespace detail {
namespace {

struct Header {
  std::array<char, 8> magic{'T', 'A', 'P', 'E', 'S', 'T', 'R', 'Y'};
  std::uint32_t version = description_version;
  std::uint32_t element_bits = 0;
  std::uint64_t bytes = 0;     // that follow the header
  std::uint64_t checksum = 0;  // their CRC-32
};
static_assert(sizeof(Header) == 32);

std::uint64_t checksum(const std::string& bytes) {
  return ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

}  // namespace
}  // namespace detail

template <class T>
void save_program(const Program<T>& program, const std::filesystem::path& file) {
  const std::string bytes = detail::describe(program.state().source);
  detail::Header header;
  header.element_bits = 8 * sizeof(T);
  header.bytes = bytes.size();
  header.checksum = detail::checksum(bytes);
  detail::AtomicFile out("save_program", file);
  out.write(&header, sizeof header);
  out.write(bytes.data(), bytes.size());
  out.commit();
}

template <class T>
Program<T> load_program(const std::filesystem::path& file, std::size_t most_bytes) {
  const detail::InputFile in("load_program", file);
  detail::Header header;
  if (in.bytes() < sizeof header) fail<IoError>("load_program", in.place(), " is not a program: it is too short");
  in.read(0, &header, sizeof header);
  if (header.magic != detail::Header().magic) fail<IoError>("load_program", in.place(), " is not a program");
  if (header.version < 1 || header.version > detail::description_version)
    fail<IoError>("load_program", in.place(), " has version ", header.version, " of the format; known are 1 to ",
                  detail::description_version);
  if (header.element_bits != 8 * sizeof(T))
    fail<IoError>("load_program", in.place(), " is a program of ", header.element_bits, " bit numbers, not ",
                  8 * sizeof(T));
  if (header.bytes != in.bytes() - sizeof header)
    fail<IoError>("load_program", in.place(), " is damaged: it should have ", header.bytes,
                  " bytes after the header, has ", in.bytes() - sizeof header);
  std::string bytes = in.read(sizeof header, header.bytes);
  if (detail::checksum(bytes) != header.checksum)
    fail<IoError>("load_program", in.place(), " is damaged: the checksum differs");
  auto state = std::make_unique<typename Program<T>::State>();
  state->build(detail::read_description(std::move(bytes), detail::dtype_of<T>, most_bytes, header.version));
  return Program<T>(std::move(state));
}

template void save_program(const Program<float>&, const std::filesystem::path&);
template void save_program(const Program<double>&, const std::filesystem::path&);
template Program<float> load_program(const std::filesystem::path&, std::size_t);
template Program<double> load_program(const std::filesystem::path&, std::size_t);

}  // namespace tapestry
