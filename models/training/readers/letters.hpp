#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// Handwritten words, letter by letter (Kassel's data as distributed by Taskar et al. 2003).
struct LetterWords {
  static constexpr std::int64_t height = 16;
  static constexpr std::int64_t width = 8;
  static constexpr std::int64_t letters = 26;

  std::vector<std::uint8_t> pixels;   ///< [letters, 16, 8] of 0 and 1, all words after one another
  std::vector<std::int64_t> labels;   ///< 0 for a to 25 for z
  std::vector<std::int64_t> offsets;  ///< first letter of each word, and the number of letters
  std::vector<std::int64_t> folds;    ///< of each word

  std::int64_t words() const noexcept { return static_cast<std::int64_t>(folds.size()); }
};

/// Reads the words of letter.data, plain or gzipped: tab-separated id, letter, next id (-1 at a word's end), word,
/// position, fold, and 128 pixels.
/// @throws IoError with file and line: a field that is missing or no number, a letter outside a..z, a pixel outside
/// 0 and 1, a word that does not continue with the id or the position announced.
LetterWords read_letters(const std::filesystem::path& path);

}  // namespace tapestry
