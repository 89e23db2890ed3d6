#pragma once

#include <cstdlib>

namespace fuzz {

inline void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace fuzz
