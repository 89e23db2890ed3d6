#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/features/template.hpp>

#include <set>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("parse_template: CRF++ notation") {
  const auto feature = parse_template("U05:%x[-1,0]/%x[0,12]");
  CHECK(feature.name == "U05");
  REQUIRE(feature.cells.size() == 2);
  CHECK(feature.cells[0].offset == -1);
  CHECK(feature.cells[0].column == 0);
  CHECK(feature.cells[1].offset == 0);
  CHECK(feature.cells[1].column == 12);
  for (const char* bad : {"", "U00", "%x[0,0]", "U:%x[a,0]", "U:%x[0]", "U:%x[0,-1]", "U:%x[0,0", "U:%x[0,0]x",
                          "U:%x[0,0]/", "U:%x[0,0]/w"})
    CHECK_THROWS_AS(parse_template(bad), Error);
}

TEST_CASE("parse_templates: comments and label bigrams give none, errors name the line") {
  CHECK(parse_templates("# words\nU00:%x[0,0]\n\nB\nU01:%x[1,0]  \r\n").size() == 2);
  CHECK(contains(thrown<Error>([] { parse_templates("U00:%x[0,0]\nU01\n"); }), "line 2"));
}

TEST_CASE("chunking_templates: nineteen templates with names of their own") {
  const auto templates = chunking_templates();
  CHECK(templates.size() == 19);
  std::set<std::string> names;
  for (const auto& t : templates) names.insert(t.name);
  CHECK(names.size() == 19);
  CHECK(names.count("w[-1]|w[0]") == 1);
  CHECK(names.count("pos[0]|pos[1]|pos[2]") == 1);
}
