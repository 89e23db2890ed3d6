#include <tapestry/models/training/progress.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <sstream>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include "models/temporary_folder.hpp"

using namespace tapestry;

TEST_CASE("ProgressLine: on a terminal one line is redrawn and cut to the width") {
  std::ostringstream out;
  {
    ProgressLine line(out, true, "train", {.total = 10, .terminal_period = 0, .width = 40});
    line.update(1, {{"loss", 0.123456789}});
    line.update(10, {{"a metric of a very long name that does not fit", 1}});
    line.update(10);
  }
  const std::string text = out.str();
  CHECK(text.front() == '\r');
  CHECK(contains(text, "train 1/10 (10%) 0s"));
  CHECK(contains(text, "\rtrain 10/10 (100%) 0s"));
  CHECK(text.back() == '\n');
  CHECK(text.find('\n') == text.size() - 1);
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, '\r');) CHECK(part.size() <= 40);
  // The last line is shorter than the one before: blanks cover what that left.
  CHECK(text.size() - text.rfind('\r') == 1 + 39 + 1);
}

TEST_CASE("ProgressLine: a line is not cut within a character") {
  std::string title;
  for (int i = 0; i < 30; ++i) title += "\xc3\xa9";
  for (const int width : {20, 21}) {
    std::ostringstream out;
    ProgressLine(out, true, title, {.terminal_period = 0, .width = width}).update(1);
    CHECK(out.str() == "\r" + title.substr(0, width == 20 ? 18 : 20) + "\n");
  }
}

TEST_CASE("ProgressLine: elsewhere plain lines, the first and the last always") {
  std::ostringstream out;
  ProgressLine line(out, false, "epoch", {.plain_period = 1000});
  for (int i = 1; i <= 50; ++i) line.update(i, {{"loss", 100. / i}});
  line.finish();
  line.update(51);
  std::istringstream in(out.str());
  std::string first, last, more;
  std::getline(in, first);
  std::getline(in, last);
  CHECK(first.starts_with("epoch 1 "));
  CHECK(first.ends_with("loss 100"));
  CHECK(last.starts_with("epoch 50 "));
  CHECK(last.ends_with("loss 2"));
  CHECK_FALSE(std::getline(in, more));
  CHECK_FALSE(contains(out.str(), "\r"));
  std::ostringstream none;
  { ProgressLine silent(none, true, "x", {}); }
  CHECK(none.str().empty());
}

TEST_CASE("ProgressLine: rate and time left of a run that continues are those of its own steps") {
  std::ostringstream out;
  ProgressLine line(out, false, "train", {.total = 2000, .before = 1000, .plain_period = 0});
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  line.update(1001);
  // A step in 30 ms or more: at most 33 a second, and 999 steps to go take half a minute.
  double each = 0, rate = 0;
  const std::string text = out.str();
  const std::size_t comma = text.find(", ") + 2;
  (contains(text, "/s") ? rate : each) = std::stod(text.substr(comma));
  CHECK(std::max(rate, each > 0 ? 1 / each : 0) <= 34);
  CHECK(contains(text, "train 1001/2000 (50%)"));
  CHECK(contains(text, " left"));
  CHECK_FALSE(contains(text, ", 0s left"));
}

TEST_CASE("format_duration") {
  CHECK(format_duration(0.4) == "0s");
  CHECK(format_duration(59.6) == "1:00");
  CHECK(format_duration(3729) == "1:02:09");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
}
