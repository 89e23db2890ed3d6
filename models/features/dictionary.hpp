#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tapestry {

/// Numbers distinct strings 0, 1, ... in the order they come. Strings are kept in one arena.
class Dictionary {
 public:
  static constexpr std::int32_t unknown = -1;

  std::int32_t size() const noexcept { return static_cast<std::int32_t>(starts_.size()) - 1; }
  /// The string's number; a new one if it was not there. @throws Error beyond 2^31 - 1 strings.
  std::int32_t add(std::string_view text);
  /// The string's number, or `unknown`.
  std::int32_t find(std::string_view text) const noexcept;
  /// add() of several at once; faster, as their memory accesses overlap.
  void add(std::span<const std::string_view> texts, std::int32_t* ids);
  void find(std::span<const std::string_view> texts, std::int32_t* ids) const noexcept;
  /// The string of a number; valid until the next add().
  std::string_view operator[](std::int32_t id) const noexcept {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(arena_).substr(starts_[i], starts_[i + 1] - starts_[i]);
  }

 private:
  struct Slot {
    std::uint32_t tag;  // upper half of the hash
    std::int32_t id;    // -1: free
  };
  std::int32_t add_hashed(std::string_view text, std::uint64_t hash);
  std::int32_t find_hashed(std::string_view text, std::uint64_t hash) const noexcept;
  void grow();

  std::string arena_;
  std::vector<std::size_t> starts_{0};
  std::vector<Slot> slots_;
};

}  // namespace tapestry
