#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tapestry {

/// Labelled items with attributes, in sequences. Copies share the text.
class ItemCorpus {
 public:
  struct Attribute {
    std::string_view name;
    double value = 1;
  };

  std::int64_t sequences() const noexcept { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int64_t items() const noexcept { return offsets_.back(); }
  /// First item of each sequence, and items().
  const std::vector<std::int64_t>& offsets() const noexcept { return offsets_; }
  std::string_view label(std::int64_t item) const noexcept { return labels_[static_cast<std::size_t>(item)]; }
  const Attribute* attributes_begin(std::int64_t item) const noexcept {
    return attributes_.data() + starts_[static_cast<std::size_t>(item)];
  }
  const Attribute* attributes_end(std::int64_t item) const noexcept { return attributes_begin(item + 1); }
  /// Whether any attribute has a value other than 1.
  bool has_values() const noexcept { return has_values_; }

 private:
  friend ItemCorpus read_items(const std::filesystem::path&);
  struct Storage {
    std::string text;
    std::deque<std::string> unescaped;
  };
  std::shared_ptr<const Storage> storage_;
  std::vector<std::string_view> labels_;
  std::vector<Attribute> attributes_;
  std::vector<std::int64_t> starts_{0};
  std::vector<std::int64_t> offsets_{0};
  bool has_values_ = false;
};

/// Reads CRFsuite's format, plain or gzipped: an item a line, label and attributes split by tabs, an attribute written
/// name or name:value, where a backslash stands before a colon or backslash of the name; an empty line after each sequence.
/// @throws IoError with file and line: not UTF-8, an empty label or name, a value that is not a finite number, no item.
ItemCorpus read_items(const std::filesystem::path& path);

}  // namespace tapestry
