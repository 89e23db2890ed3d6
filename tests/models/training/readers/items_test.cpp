#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/items.hpp>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("read_items: attributes, values, escapes, sequences") {
  const TemporaryFolder folder;
  const auto corpus = read_items(folder.write_gz("i.gz", "B-NP\tw=a\\:b\tx:0.5\ty\\\\:2\t\nO\n\n\nO\tt\\x:-1e3\r\n"));
  CHECK(corpus.sequences() == 2);
  CHECK(corpus.items() == 3);
  CHECK(corpus.label(0) == "B-NP");
  REQUIRE(corpus.attributes_end(0) - corpus.attributes_begin(0) == 3);
  const auto* a = corpus.attributes_begin(0);
  CHECK(a[0].name == "w=a:b");
  CHECK(a[0].value == 1);
  CHECK(a[1].name == "x");
  CHECK(a[1].value == 0.5);
  CHECK(a[2].name == "y\\");
  CHECK(a[2].value == 2);
  CHECK(corpus.attributes_begin(1) == corpus.attributes_end(1));
  CHECK(corpus.attributes_begin(2)->name == "t\\x");
  CHECK(corpus.attributes_begin(2)->value == -1000);
  CHECK(corpus.has_values());
  CHECK_FALSE(read_items(folder.write("n", "O\ta:1\tb\n")).has_values());
}

TEST_CASE("read_items: errors name file and line") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& content) {
    return thrown<IoError>([&] { read_items(folder.write("f", content)); });
  };
  CHECK(contains(message(""), "f: no item"));
  CHECK(contains(message("O\ta\n\tb\n"), "f:2: the label is missing"));
  CHECK(contains(message("O\ta:x\n"), "f:1: the value 'x' of attribute 'a'"));
  CHECK(contains(message("O\ta:\n"), "f:1: the value '' of attribute 'a'"));
  CHECK(contains(message("O\ta:1:2\n"), "f:1: the value '1:2' of attribute 'a'"));
  CHECK(contains(message("O\ta:nan\n"), "f:1: the value 'nan'"));
  CHECK(contains(message("O\t:1\n"), "f:1: an attribute has no name"));
  CHECK(contains(message("O\ta\n\nO\t\xC3(\n"), "f:3:3: not UTF-8"));
}
