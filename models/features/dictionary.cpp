#include <tapestry/models/features/dictionary.hpp>

#include <algorithm>
#include <cstring>
#include <limits>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr std::size_t batch = 32;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

template <class Word>
std::uint64_t load_word(const char* p) {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

/// Sixteen bytes a step through the two halves of a wide product (the idea of wyhash).
std::uint64_t hash_bytes(std::string_view text) {
  constexpr std::uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD1B54A32D192ED03u;
  const char* p = text.data();
  std::size_t n = text.size();
  std::uint64_t h = k0 ^ n;
  for (; n > 16; p += 16, n -= 16) h = mix(load_word<std::uint64_t>(p) ^ k1, load_word<std::uint64_t>(p + 8) ^ h);
  std::uint64_t low = 0, high = 0;
  if (n >= 8) {
    low = load_word<std::uint64_t>(p);
    high = load_word<std::uint64_t>(p + n - 8);
  } else if (n >= 4) {
    low = load_word<std::uint32_t>(p);
    high = load_word<std::uint32_t>(p + n - 4);
  } else if (n > 0) {
    low =
        load_word<std::uint8_t>(p) << 16 | load_word<std::uint8_t>(p + n / 2) << 8 | load_word<std::uint8_t>(p + n - 1);
  }
  return mix(mix(low ^ k1, high ^ h), k0);
}

}  // namespace

std::int32_t Dictionary::add(std::string_view text) {
  return add_hashed(text, hash_bytes(text));
}

std::int32_t Dictionary::find(std::string_view text) const noexcept {
  return find_hashed(text, hash_bytes(text));
}

void Dictionary::add(std::span<const std::string_view> texts, std::int32_t* ids) {
  std::uint64_t hashes[batch];
  for (; !texts.empty(); texts = texts.subspan(std::min(batch, texts.size())), ids += batch) {
    const std::size_t n = std::min(batch, texts.size());
    for (std::size_t i = 0; i < n; ++i) {
      hashes[i] = hash_bytes(texts[i]);
      if (!slots_.empty()) __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
    }
    for (std::size_t i = 0; i < n; ++i) ids[i] = add_hashed(texts[i], hashes[i]);
  }
}

void Dictionary::find(std::span<const std::string_view> texts, std::int32_t* ids) const noexcept {
  std::uint64_t hashes[batch];
  for (; !texts.empty(); texts = texts.subspan(std::min(batch, texts.size())), ids += batch) {
    const std::size_t n = std::min(batch, texts.size());
    for (std::size_t i = 0; i < n; ++i) {
      hashes[i] = hash_bytes(texts[i]);
      if (!slots_.empty()) __builtin_prefetch(&slots_[hashes[i] & (slots_.size() - 1)]);
    }
    for (std::size_t i = 0; i < n; ++i) ids[i] = find_hashed(texts[i], hashes[i]);
  }
}

std::int32_t Dictionary::find_hashed(std::string_view text, std::uint64_t hash) const noexcept {
  if (slots_.empty()) return unknown;
  const std::size_t mask = slots_.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask)
    if (slots_[at].tag == tag && (*this)[slots_[at].id] == text) return slots_[at].id;
  return unknown;
}

std::int32_t Dictionary::add_hashed(std::string_view text, std::uint64_t hash) {
  if (const std::int32_t id = find_hashed(text, hash); id >= 0) return id;
  if (size() == std::numeric_limits<std::int32_t>::max()) fail("Dictionary::add", "more than 2^31 - 1 strings");
  if (static_cast<std::size_t>(size()) * 2 >= slots_.size()) grow();
  const std::int32_t id = size();
  arena_.append(text);
  starts_.push_back(arena_.size());
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (slots_[at].id >= 0) at = (at + 1) & mask;
  slots_[at] = {static_cast<std::uint32_t>(hash >> 32), id};
  return id;
}

void Dictionary::grow() {
  std::vector<Slot> slots(std::max<std::size_t>(64, slots_.size() * 4), Slot{0, unknown});
  const std::size_t mask = slots.size() - 1;
  for (std::int32_t id = 0; id < size(); ++id) {
    const std::uint64_t hash = hash_bytes((*this)[id]);
    std::size_t at = hash & mask;
    while (slots[at].id >= 0) at = (at + 1) & mask;
    slots[at] = {static_cast<std::uint32_t>(hash >> 32), id};
  }
  slots_ = std::move(slots);
}

}  // namespace tapestry
