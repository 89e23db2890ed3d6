#pragma once

#include <cstdint>

namespace tapestry::detail {

/// A well mixed number for each number (Steele, Lea, Flood 2014).
inline std::uint64_t split_mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace tapestry::detail
