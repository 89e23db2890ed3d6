#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/columns.hpp>

#include <cstdlib>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("read_columns: sentences of any length, blanks, tabs, several empty lines") {
  const TemporaryFolder folder;
  ColumnCorpus copy;
  {
    const auto corpus = read_columns(folder.write_gz("c.gz", "\n\nHe PRP B-NP\r\nran\tVBD  B-VP\n \n\n. . O"));
    copy = corpus;
  }
  CHECK(copy.sentences() == 2);
  CHECK(copy.tokens() == 3);
  CHECK(copy.columns() == 3);
  CHECK(copy.sentence_length(0) == 2);
  CHECK(copy.sentence_begin(1) == 2);
  CHECK(copy.cell(1, 1) == "VBD");
  CHECK(copy.cell(2, 2) == "O");
}

TEST_CASE("read_columns: errors name file and line") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& content, int columns = 0) {
    return thrown<IoError>([&] { read_columns(folder.write("f", content), columns); });
  };
  CHECK(contains(message(""), "f: no token"));
  CHECK(contains(message("\n\n"), "f: no token"));
  CHECK(contains(message("a b c\nd e\n"), "f:2: 2 columns where 3 are expected"));
  CHECK(contains(message("a b c\n", 2), "f:1: 3 columns where 2 are expected"));
  CHECK(contains(message("a b\n\nc \xFF\n"), "f:3:3: not UTF-8"));
}

TEST_CASE("read_columns: CoNLL-2000") {
  const char* const data = std::getenv("TAPESTRY_DATA");
  if (!data) {
    MESSAGE("TAPESTRY_DATA is not set: not run");
    return;
  }
  const auto corpus = read_columns(std::filesystem::path(data) / "conll2000/train.txt.gz", 3);
  CHECK(corpus.sentences() == 8936);
  CHECK(corpus.tokens() == 211727);
}
