#include <cstddef>
#include <cstdint>

#include "fuzz/program_properties.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::check_program({reinterpret_cast<const char*>(data), size});
  return 0;
}
