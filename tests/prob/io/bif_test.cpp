#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

#include <zlib.h>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/io/bif.hpp>

using namespace tapestry;

namespace {

std::string refusal(const std::string& text) {
  try {
    parse_bif(text, "n.bif");
  } catch (const IoError& error) {
    return error.what();
  }
  return "accepted";
}

const std::string two_variables =
    "network x { }\n"
    "variable a { type discrete [ 2 ] { t, f }; }\n"
    "variable b { type discrete [ 3 ] { u, v, w }; }\n";

}  // namespace

TEST_CASE("a BIF network is read by rows, whole, and by default") {
  const auto rows = parse_bif(two_variables +
                              "probability ( a | b ) { (w) .1, .9; (u) .2, .8; (v) .3 .7; }\n"
                              "probability ( b ) { table 0.5, 0.25, 0.25; }");
  CHECK(rows.kind == ModelKind::bayes);
  CHECK(rows.names == std::vector<std::string>{"a", "b"});
  CHECK(rows.states[1] == std::vector<std::string>{"u", "v", "w"});
  CHECK(rows.scopes == std::vector<std::vector<std::int64_t>>{{1, 0}, {1}});
  CHECK(rows.tables == std::vector<std::vector<double>>{{.2, .8, .3, .7, .1, .9}, {.5, .25, .25}});
  CHECK(rows.variable("b") == 1);
  CHECK(rows.state(1, "w") == 2);
  CHECK_THROWS_AS(rows.variable("c"), IndexError);
  CHECK_THROWS_AS(rows.state(0, "u"), IndexError);

  const auto whole = parse_bif(two_variables +
                               "probability ( a b ) { table .2 .3 .1 .8 .7 .9; }\n"
                               "probability ( b ) { table 0.5, 0.25, 0.25; }");
  CHECK(whole.tables == rows.tables);

  const auto defaults = parse_bif(two_variables +
                                  "probability ( a | b ) { default .3, .7; (w) .1, .9; (u) .2, .8; }\n"
                                  "probability ( b ) { table 0.5, 0.25, 0.25; }");
  CHECK(defaults.tables == rows.tables);
}

TEST_CASE("malformed BIF networks are refused with file and line") {
  const std::string b = "probability ( b ) { table 0.5, 0.25, 0.25; }\n";
  CHECK(refusal(two_variables + b) == "read_bif: n.bif:4: variable a has no probability table");
  CHECK(refusal(two_variables + b + b) == "read_bif: n.bif:5: a second table of b; the first is in line 4");
  CHECK(refusal(two_variables + "probability ( c ) {") == "read_bif: n.bif:4: no variable is named c");
  CHECK(refusal(two_variables + b + "probability ( a | b ) {\n (x) 1, 0;") ==
        "read_bif: n.bif:6: variable b has no state named x");
  CHECK(refusal(two_variables + b + "probability ( a | b ) {\n (u) 1, 0, 0;") ==
        "read_bif: n.bif:6: a row of 3 probabilities, a has 2 states");
  CHECK(refusal(two_variables + b + "probability ( a | b ) {\n (u) 1, 0; }").find("has 1 rows, not 3") !=
        std::string::npos);
  CHECK(refusal(two_variables + b + "probability ( a | b ) {\n (u) 1,0; (v) 1,0; (u) 1,0; }").find("a row twice") !=
        std::string::npos);
  CHECK(refusal(two_variables + b + "probability ( a ) { table -1, 2; }").find("n.bif:5: a negative probability") !=
        std::string::npos);
  CHECK(refusal(two_variables + b + "probability ( a ) { table nan, 2; }").find("not 'nan'") != std::string::npos);
  CHECK(refusal(two_variables + b + "probability ( a ) { table .5, .6; }") ==
        "read_bif: n.bif:5: a: row 0 of the table of variable 0 sums to 1.1, not to one");
  CHECK(refusal(two_variables + "probability ( b | a ) { default .5,.5,0; }\nprobability ( a | b ) { default 1,0; }")
            .find("its own ancestor") != std::string::npos);
  CHECK(refusal("variable a { type discrete [ 1000000000000 ] { t, f }; }") ==
        "read_bif: n.bif:1: variable a has 2 states, not the 1000000000000 promised");
  CHECK(refusal("variable a { type discrete [ 2 ] { t, t }; }").find("two states named t") != std::string::npos);
  CHECK(refusal("network x {\n /* ").find("n.bif:2: the file ends inside a comment") != std::string::npos);
  for (const char* nothing : {"", " \n", "// of nothing\n"})
    CHECK(refusal(nothing).find("the file ends where network, variable or probability should be") != std::string::npos);
  CHECK(parse_bif("network empty { }").variables() == 0);
  CHECK(refusal("network \"x").find("inside a quoted name") != std::string::npos);

  std::string wide;
  for (int i = 0; i < 62; ++i) wide += "variable x" + std::to_string(i) + " { type discrete [ 2 ] { t, f }; }\n";
  std::string scope = "probability ( x0 | ";
  for (int i = 1; i < 40; ++i) scope += "x" + std::to_string(i) + (i < 39 ? ", " : " ) { default 1, 0; }");
  CHECK(refusal(wide + scope).find("most of them by default") != std::string::npos);
  for (int i = 40; i < 62; ++i) scope.insert(scope.find('|') + 1, " x" + std::to_string(i) + ",");
  CHECK(refusal(wide + scope).find("the table needs") != std::string::npos);
}

TEST_CASE("refusals of BIF networks: declarations, and lines after comments and quoted names") {
  const auto refused = [](const std::string& text, const std::string& message) {
    const std::string got = refusal(text);
    CAPTURE(got);
    CHECK(got.find(message) != std::string::npos);
  };
  refused(two_variables + "variable a { type discrete [ 2 ] { t, f }; }", "n.bif:4: a second variable named a");
  refused("variable a {\n type discrete [2] { t, f };\n type discrete [2] { u, v }; }", "n.bif:3: a second type");
  refused("variable a { type continuous [ 2 ] { t, f }; }", "is not discrete");
  refused("variable a { type discrete [ 2 ] { t, f, g }; }", "more than the 2 states promised");
  refused("variable a { type discrete [ 0 ] { }; }", "should be a positive integer");
  refused("variable a { property p = 1; }", "has no states");
  refused(two_variables + "probability ( a | a ) { default 1, 0; }", "names a variable twice");
  refused(two_variables + "probability ( a | b, b ) { default 1, 0; }", "names a variable twice");
  refused(two_variables + "probability ( b ) { table 1, 0, 0;\n table 1, 0, 0; }", "n.bif:5: a second table");
  refused(two_variables + "probability ( b ) { table 1, 0, 0, 0; }", "has 4 entries, not 3");
  refused("network x { type ; }", "expected property");
  refused(two_variables + "probability ( a | b ) { default 1, 0; }\nprobability ( b ) { table 1, 1, 1; }",
          "n.bif:5: b: row 0");
  refused("/* two\nlines */ // one\n?", "n.bif:3: expected network");
  refused("network \"two\nlines\" { }\n?", "n.bif:3: expected network");
}

TEST_CASE("rows of BIF tables with several parents, the last fastest") {
  const auto model =
      parse_bif(two_variables +
                "variable c { type discrete [ 2 ] { x, y }; }\n"
                "probability ( c | a, b ) { (f, w) .6, .4; (t, u) .1, .9; (t, v) .2, .8; (t, w) .3, .7;\n"
                "  (f, u) .4, .6; (f, v) .5, .5; }\n"
                "probability ( a ) { table 1, 0; }\nprobability ( b ) { table 1, 0, 0; }");
  CHECK(model.scopes[0] == std::vector<std::int64_t>{0, 1, 2});
  CHECK(model.tables[0] == std::vector<double>{.1, .9, .2, .8, .3, .7, .4, .6, .5, .5, .6, .4});
  CHECK(parse_bif(format_bif(model)).tables == model.tables);
}

TEST_CASE("what no BIF file can hold is not written") {
  auto model = parse_bif("variable a { type discrete [ 2 ] { t, f }; }\nprobability ( a ) { table .5, .5; }");
  auto markov = model, quote = model;
  markov.kind = ModelKind::markov;
  quote.names[0] = "a\"b";
  CHECK_THROWS_AS(format_bif(markov), NumericalError);
  CHECK_THROWS_AS(format_bif(quote), IoError);
}

TEST_CASE("BIF files survive writing and reading, gzipped too") {
  const auto model = parse_bif(
      "network x { }\nvariable \"a b\" { type discrete [ 2 ] { t, \"f;\" }; }\n"
      "variable b { type discrete [ 3 ] { u, v, w }; }\n"
      "probability ( \"a b\" | b ) { default .3, .7; (w) .1, .9; (u) .2, .8; }\n"
      "probability ( b ) { table 0.5, 0.25, 0.25; }");
  const auto path = (std::filesystem::temp_directory_path() / "tapestry_bif_test.bif.gz").string();
  const std::string text = format_bif(model);
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size()));
  gzclose(file);
  const auto again = read_bif(path);
  CHECK(again.names == model.names);
  CHECK(again.states == model.states);
  CHECK(again.scopes == model.scopes);
  CHECK(again.tables == model.tables);

  const auto size = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, size - 9);
  CHECK_THROWS_WITH_AS(read_bif(path), doctest::Contains("tapestry_bif_test.bif.gz"), IoError);
  std::remove(path.c_str());
}

TEST_CASE("published networks are read") {
  const char* data = std::getenv("TAPESTRY_DATA");
  if (data == nullptr) {
    MESSAGE("TAPESTRY_DATA is not set");
    return;
  }
  const std::vector<std::pair<std::string, std::size_t>> networks = {
      {"asia", 8}, {"cancer", 5}, {"earthquake", 5}, {"child", 20}, {"insurance", 27}, {"alarm", 37}};
  for (const auto& [name, variables] : networks) {
    const auto model = read_bif(std::string(data) + "/bif/" + name + ".bif.gz");
    CHECK(model.cardinalities.size() == variables);
    CHECK_NOTHROW(validate(model));
    CHECK(parse_bif(format_bif(model)).tables == model.tables);
  }
}
