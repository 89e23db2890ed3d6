#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/csv.hpp>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("read_csv: quotes, separators, line ends, header") {
  const TemporaryFolder folder;
  const auto table = read_csv(folder.write_gz("t.gz", "name,text\r\na,\"x, \"\"y\"\"\nz\"\r\n\r\n\"\",\r\nlast,\"\""),
                              {.header = true});
  CHECK(table.header == std::vector<std::string>{"name", "text"});
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0] == std::vector<std::string>{"a", "x, \"y\"\nz"});
  CHECK(table.rows[1] == std::vector<std::string>{"", ""});
  CHECK(table.rows[2] == std::vector<std::string>{"last", ""});
  CHECK(read_csv(folder.write("semi", "a;b,c\n"), {.separator = ';'}).rows[0][1] == "b,c");
  CHECK(read_csv(folder.write("cr", "a,b\r")).rows[0][1] == "b");
}

TEST_CASE("read_csv_numbers: numbers of each type") {
  const TemporaryFolder folder;
  const auto path = folder.write("n", "1, -2,+3.5\n4e2,inf,\"6\"\n");
  const auto table = read_csv_numbers<double>(path);
  CHECK(shape_of(table) == Shape{2, 3});
  CHECK(table(0, 1) == -2);
  CHECK(table(0, 2) == 3.5);
  CHECK(table(1, 0) == 400);
  CHECK(table(1, 2) == 6);
  CHECK(read_csv_numbers<std::int64_t>(folder.write("i", "x,y\n1,2\n"), {.header = true})(0, 1) == 2);
  CHECK(shape_of(read_csv_numbers<float>(folder.write("h", "x,y\n"), {.header = true})) == Shape{0, 2});
}

TEST_CASE("read_csv: errors name file, line and field") {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& content) {
    return thrown<IoError>([&] { read_csv_numbers<std::int64_t>(folder.write("f", content)); });
  };
  CHECK(contains(message(""), "f: empty file"));
  CHECK(contains(message("1,2\n3,x\n"), "f:2: field 2: 'x' is not a number"));
  CHECK(contains(message("1,2\n\n3,4.5\n"), "f:3: field 2: '4.5' is not a number"));
  CHECK(contains(message("1,\n"), "f:1: field 2: '' is not a number"));
  CHECK(contains(message("1,+-2\n"), "f:1: field 2"));
  CHECK(contains(message("99999999999999999999\n"), "f:1: field 1"));
  CHECK(contains(message("1,2\n3\n"), "f:2: 1 fields where the first line has 2"));
  CHECK(contains(message("1,\"2\n3\n"), "f:1: field 2: a quote is never closed"));
  CHECK(contains(message("\"1\n\"2,3\n"), "text after a closing quote"));
  CHECK(contains(thrown<IoError>([&] { read_csv(folder.write("g", "\"a\nb\",c\nd\n")); }), "g:3: 1 fields"));
  CHECK(contains(message("1\n\xE9\n"), "f:2:1: not UTF-8"));
}
