#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/io/uai.hpp>

using namespace tapestry;

namespace {

std::string refusal(const std::string& text) {
  try {
    parse_uai(text, "model.uai");
  } catch (const IoError& error) {
    return error.what();
  }
  return "accepted";
}

std::string evidence_refusal(const std::string& text) {
  try {
    parse_uai_evidence(text, {2, 3, 2}, "e");
  } catch (const IoError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a UAI model is read") {
  const auto model =
      parse_uai("MARKOV\r\n3\n2 1 3\n4\n2 2 0\n0\n1 1\n1 0\n\n6\n1 2 3 4 5 6e-1\n1\n 2.5\n1 +7\n2\n0 .5\n");
  CHECK(model.kind == ModelKind::markov);
  CHECK(model.cardinalities == std::vector<std::int64_t>{2, 1, 3});
  CHECK(model.scopes == std::vector<std::vector<std::int64_t>>{{2, 0}, {}, {1}, {0}});
  CHECK(model.tables == std::vector<std::vector<double>>{{1, 2, 3, 4, 5, .6}, {2.5}, {7}, {0, .5}});
  // The last variable of the scope is the fastest: variable 2 in state 2, variable 0 in state 0 is entry 4.
  CHECK(log_score(model, {1, 0, 2}) == doctest::Approx(std::log(.6 * 2.5 * 7 * .5)));
  CHECK(log_score(model, {0, 0, 2}) == -std::numeric_limits<double>::infinity());
}

TEST_CASE("numbers of UAI models are the nearest doubles, down to zero") {
  const auto tables = parse_uai("MARKOV\n1\n7\n1\n1 0\n7\n1e-400 2e-324 3e-324 4.9e-324 1E-05 -0 0.1e1\n").tables;
  CHECK(tables == std::vector<std::vector<double>>{{0, 0, 4.9e-324, 4.9e-324, 1e-5, 0, 1}});
  for (const char* number : {"1e400", "-1e-300", "1e-5000e", "inf", "1.5.2", "0x1"}) {
    CAPTURE(number);
    CHECK(refusal("MARKOV\n1\n2\n1\n1 0\n2\n1 " + std::string(number)).find("model.uai:7: ") != std::string::npos);
  }
}

TEST_CASE("malformed UAI models are refused with file and line") {
  CHECK(refusal("") == "read_uai: model.uai:1: a model starts with MARKOV or BAYES, not ''");
  CHECK(refusal("MARKOV\n\n2\n2 2\n1\n2 0 2\n") == "read_uai: model.uai:6: a variable of a factor is 2, outside 0..1");
  CHECK(refusal("MARKOV 2\n2 2\n1\n2 0 0\n4\n1 1 1 1") == "read_uai: model.uai:4: factor 0 names variable 0 twice");
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n2\n1 -0.5") == "read_uai: model.uai:6: factor 0 has a negative entry: -0.5");
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n2\n1\nnan") ==
        "read_uai: model.uai:7: a table's entry should be a finite number, not 'nan'");
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n2\n0 0") == "read_uai: model.uai:5: factor 0: all entries are zero");
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n2\n1  ") ==
        "read_uai: model.uai:6: the file ends where a table's entry should be");
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n3\n1 2 3") ==
        "read_uai: model.uai:5: factor 0 has 3 entries, its variables need 2");
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n2\n1 2\n3") == "read_uai: model.uai:7: text after the last of 1 tables: '3'");
  CHECK(refusal("MARKOV 1\n0\n0\n") ==
        "read_uai: model.uai:2: a variable's number of states is 0, outside 1..16777216");
  CHECK(refusal("BAYES 1\n2\n1\n1 0\n2\n.5 .7").find("model.uai:5: factor 0: row 0") != std::string::npos);
  CHECK(refusal("BAYES 2\n2 2\n2\n2 1 0\n2 0 1\n4\n1 0 1 0\n4\n1 0 1 0").find("its own ancestor") != std::string::npos);
  CHECK(refusal("BAYES 2\n2 2\n2\n1 0\n1 0\n2\n1 0\n2\n1 0").find("a second table for variable 0") !=
        std::string::npos);
}

TEST_CASE("refusals of UAI models name the faulty factor's line, and only what can be printed") {
  CHECK(refusal("BAYES 2\n2 2\n2\n1 0\n1 1\n2\n1 0\n2\n.9 .9").find("model.uai:8: factor 1: row 0") !=
        std::string::npos);
  CHECK(refusal("MA\x01RKOV") == "read_uai: model.uai:1: a model starts with MARKOV or BAYES, not 'MA?RKOV'");
  CHECK(refusal(std::string(41, 'x')).find(std::string(40, 'x') + "...'") != std::string::npos);
  CHECK(refusal("MARKOV\n2x\n").find("model.uai:2: the number of variables should be an integer, not '2x'") !=
        std::string::npos);
  CHECK(refusal("MARKOV\n50\n2 2\n").find("more than the rest of the file can hold") != std::string::npos);
  CHECK(refusal("MARKOV 1\n2\n1\n1 0\n2\n1 ++1").find("not '++1'") != std::string::npos);
}

TEST_CASE("a header that promises 10^12 entries is refused before anything is allocated") {
  CHECK(refusal("MARKOV\n1000000000000\n2\n") ==
        "read_uai: model.uai:2: the number of variables is 1000000000000, more than the rest of the file can hold");
  CHECK(refusal("MARKOV\n1\n2\n1000000000000\n").find("number of factors") != std::string::npos);
  CHECK(refusal("MARKOV\n1\n2\n1\n1000000000000 0\n").find("number of variables of a factor") != std::string::npos);
  std::string wide = "MARKOV\n40\n";
  for (int i = 0; i < 40; ++i) wide += "2 ";
  wide += "\n1\n40 ";
  for (int i = 0; i < 40; ++i) wide += std::to_string(i) + " ";
  CHECK(refusal(wide + "\n1099511627776\n1 1 1").find("can hold") != std::string::npos);
}

TEST_CASE("evidence is read in both forms") {
  const std::vector<std::int64_t> cardinalities = {2, 3, 2};
  const Evidence two = {{0, 1}, {1, 2}};
  CHECK(parse_uai_evidence("2 0 1 1 2", cardinalities) == std::vector<Evidence>{two});
  CHECK(parse_uai_evidence("2\n0 1\n1 2\n", cardinalities) == std::vector<Evidence>{two});
  CHECK(parse_uai_evidence("1\n2 0 1 1 2\n", cardinalities) == std::vector<Evidence>{two});
  CHECK(parse_uai_evidence("2\n2 0 1 1 2\n1 2 0", cardinalities) == std::vector<Evidence>{two, {{2, 0}}});
  CHECK(parse_uai_evidence("2\n1 0 0\n1 0 1", cardinalities) == std::vector<Evidence>{{{0, 0}}, {{0, 1}}});
  // Five words either way: the lines decide.
  const std::vector<Evidence> none_and_one = {{}, {{1, 2}}};
  CHECK(parse_uai_evidence("c\n 2\n\n0\r\nc\n1 1 2", cardinalities) == none_and_one);
  CHECK(parse_uai_evidence("2\n1 0 1\n0\n", cardinalities) == std::vector<Evidence>{{{0, 1}}, {}});
  CHECK(parse_uai_evidence("2 0\n1 1 2", cardinalities) == std::vector<Evidence>{two});
  CHECK(parse_uai_evidence("2\n0\n1\n1 2", cardinalities) == std::vector<Evidence>{two});
  CHECK(parse_uai_evidence("2\n0 1\n1 2", cardinalities) == std::vector<Evidence>{two});
  CHECK(parse_uai_evidence("0\n2 0\n", cardinalities) == std::vector<Evidence>{{}});
  CHECK(parse_uai_evidence("1 0", cardinalities) == std::vector<Evidence>{{}});
  CHECK(parse_uai_evidence(format_uai_evidence(two), cardinalities) == std::vector<Evidence>{two});

  CHECK(evidence_refusal("1 0\n2") == "read_uai_evidence: e:2: an observed state is 2, outside 0..1");
  CHECK(evidence_refusal("1 3 0") == "read_uai_evidence: e:1: an observed variable is 3, outside 0..2");
  CHECK(evidence_refusal("2 0 1 0 0").find("observed in states 1 and 0") != std::string::npos);
  CHECK(evidence_refusal("1000000000000 0 1").find("can hold") != std::string::npos);
  CHECK(evidence_refusal("1 1 ").find("the file ends") != std::string::npos);
  CHECK(evidence_refusal("1 1 0 1 5").find("text after the evidence") != std::string::npos);
}

TEST_CASE("lines that begin with c are comments, and count as lines") {
  CHECK(parse_uai("c an example\nMARKOV\nc 3\n  c 4\r\n1\n2\n1\n1 0\ncomment\n\n2\n .5 \nc\n1\nc").tables ==
        std::vector<std::vector<double>>{{.5, 1}});
  CHECK(refusal("c\nMARKOV\nc\n1\n2\n1\n1 0\n2\nc 1\n1 c 2") ==
        "read_uai: model.uai:10: a table's entry should be a finite number, not 'c'");
  CHECK(refusal("c MARKOV").find("model.uai:1: a model starts with") != std::string::npos);
  const std::vector<std::int64_t> cardinalities = {2, 3, 2};
  const std::vector<Evidence> none = {{}}, one = {{{1, 2}}};
  CHECK(parse_uai_evidence("", cardinalities) == none);
  CHECK(parse_uai_evidence(" \n\n", cardinalities) == none);
  CHECK(parse_uai_evidence("c nothing was seen\n", cardinalities) == none);
  CHECK(parse_uai_evidence("c 2 0 1\n1\nc 0 1\n1 2\nc", cardinalities) == one);
  CHECK(parse_uai_evidence("c\n1\n1 1 2\n", cardinalities) == one);
  CHECK(evidence_refusal("1 1 c\n2").find("e:1: an observed variable should be an integer, not 'c'") !=
        std::string::npos);
}

TEST_CASE("UAI files survive writing and reading") {
  const auto model = parse_uai("BAYES 2 3 2 2 1 1 2 1 0 2 0.1 0.9 6 0.1 0.2 0.7 1e-300 0.30000000000000004 0.7");
  const auto path = (std::filesystem::temp_directory_path() / "tapestry_uai_test.uai").string();
  write_uai(path, model);
  const auto again = read_uai(path);
  std::remove(path.c_str());
  CHECK(again.kind == model.kind);
  CHECK(again.cardinalities == model.cardinalities);
  CHECK(again.scopes == model.scopes);
  CHECK(again.tables == model.tables);
  CHECK_THROWS_AS(read_uai("/nonexistent/x.uai"), IoError);
  CHECK_THROWS_AS(write_uai("/nonexistent/x.uai", model), IoError);
  if (std::filesystem::exists("/dev/full")) CHECK_THROWS_AS(write_uai("/dev/full", model), IoError);
  auto negative = model;
  negative.tables[0][0] = -1;
  CHECK_THROWS_AS(format_uai(negative), NumericalError);
}

TEST_CASE("results are written in UAI's form") {
  CHECK(format_uai_pr(2 * std::log(10.0)) == "PR\n2\n");
  CHECK(format_uai_pr(-std::numeric_limits<double>::infinity()) == "PR\n-inf\n");
  CHECK(format_uai_mar({{.25, .75}, {1}}) == "MAR\n2 2 0.25 0.75 1 1\n");
  CHECK(format_uai_map({1, 0, 2}) == "MAP\n3 1 0 2\n");
}
