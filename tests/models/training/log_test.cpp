#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/log.hpp>

#include <limits>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("CsvLog: columns of the first entry, flushed, continued") {
  const TemporaryFolder folder;
  {
    CsvLog log(folder.file("log.csv"));
    log.write(1, {{"loss", 0.1}, {"a,b", 2}});
    CHECK(folder.read("log.csv") == "step,loss,\"a,b\"\n1,0.1,2\n");
    CHECK_THROWS_AS(log.write(2, {{"loss", 1}}), Error);
    CHECK_THROWS_AS(log.write(2, {{"a,b", 1}, {"loss", 1}}), Error);
  }
  CsvLog log(folder.file("log.csv"), true);
  CHECK_THROWS_AS(log.write(2, {{"other", 1}, {"a,b", 1}}), Error);
  log.write(2, {{"loss", 1. / 3}, {"a,b", 1e300}});
  CHECK(folder.read("log.csv") == "step,loss,\"a,b\"\n1,0.1,2\n2,0.3333333333333333,1e+300\n");
  CHECK(contains(thrown<IoError>([&] { CsvLog(folder.file("no/log.csv")); }), "no/log.csv: No such file"));
}

TEST_CASE("JsonLog: an object a line, appended to") {
  const TemporaryFolder folder;
  JsonLog(folder.file("log.jsonl")).write(3, {{"loss", 0.5}, {"q\"\\\n", std::numeric_limits<double>::quiet_NaN()}});
  JsonLog(folder.file("log.jsonl"), true).write(4, {});
  CHECK(folder.read("log.jsonl") == "{\"step\": 3, \"loss\": 0.5, \"q\\\"\\\\\\u000a\": null}\n{\"step\": 4}\n");
  CHECK_THROWS_AS(JsonLog(folder.path()), IoError);
  if (std::filesystem::exists("/dev/full")) {
    JsonLog full("/dev/full");
    CHECK(contains(thrown<IoError>([&] { full.write(1, {}); }), "/dev/full: No space left"));
  }
}

TEST_CASE("log: entries after a step and unfinished lines are dropped") {
  const TemporaryFolder folder;
  const auto csv = folder.write("log.csv", "step,loss\n1,0.5\n2,0.4\n10,0.1\n11,0.");
  const auto json = folder.write("log.jsonl", "{\"step\": 1, \"a\": 2}\n{\"step\": 3}\n{\"st");
  trim_log(csv, 2);
  trim_log(json, 2);
  trim_log(folder.file("absent"), 2);
  CHECK(folder.read("log.csv") == "step,loss\n1,0.5\n2,0.4\n");
  CHECK(folder.read("log.jsonl") == "{\"step\": 1, \"a\": 2}\n");
}
