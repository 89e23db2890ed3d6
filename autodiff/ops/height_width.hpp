#pragma once

#include <cstdint>

namespace tapestry {

/// A setting for both axes of an image, or one for each.
struct HeightWidth {
  HeightWidth(std::int64_t both) : height(both), width(both) {}
  HeightWidth(std::int64_t along_height, std::int64_t along_width) : height(along_height), width(along_width) {}
  std::int64_t height, width;
};

}  // namespace tapestry
