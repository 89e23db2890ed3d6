#include <tapestry/models/features/dictionary.hpp>

#include <map>
#include <random>
#include <string>

#include <doctest/doctest.h>

using namespace tapestry;

TEST_CASE("Dictionary: numbers by first appearance, as a map does") {
  std::mt19937 random(3);
  Dictionary dictionary;
  std::map<std::string, std::int32_t> reference;
  for (int i = 0; i < 20000; ++i) {
    std::string text(random() % 40, 'a');
    for (char& c : text) c = static_cast<char>(random() % 3);
    const auto known = reference.find(text);
    CHECK(dictionary.find(text) == (known == reference.end() ? Dictionary::unknown : known->second));
    const auto id = reference.try_emplace(text, static_cast<std::int32_t>(reference.size())).first->second;
    CHECK(dictionary.add(text) == id);
    CHECK(dictionary[id] == text);
  }
  CHECK(dictionary.size() == static_cast<std::int32_t>(reference.size()));
  const Dictionary copy = dictionary;
  for (const auto& [text, id] : reference) CHECK(copy.find(text) == id);
}

TEST_CASE("Dictionary: several at once give what one by one gives") {
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) texts.push_back("feature " + std::to_string(i % 130));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  Dictionary one, many;
  std::vector<std::int32_t> ids(views.size()), again(views.size());
  many.add(views, ids.data());
  for (std::size_t i = 0; i < views.size(); ++i) CHECK(one.add(views[i]) == ids[i]);
  many.find(views, again.data());
  CHECK(again == ids);
  std::int32_t id = 0;
  const std::string_view other = "other";
  many.find({&other, 1}, &id);
  CHECK(id == Dictionary::unknown);
  CHECK(Dictionary().find("x") == Dictionary::unknown);
}
