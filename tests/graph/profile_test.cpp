#include <tapestry/graph/profile.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <tapestry/autodiff/autodiff.hpp>
#include "models/temporary_folder.hpp"

using namespace tapestry;

namespace {

using V = Var<double>;

const Profile::Row* find(const std::vector<Profile::Row>& rows, const std::string& name) {
  const auto at = std::find_if(rows.begin(), rows.end(), [&](const auto& row) { return row.name == name; });
  return at == rows.end() ? nullptr : &*at;
}

}  // namespace

TEST_CASE("profile: calls, times and bytes by operation and scope, forward and backward") {
  const V w = V::filled({30, 20}, 0.1, true), x = V::ones({10, 30});
  const Profile measured = profile([&] {
    const Scope net("net");
    V y;
    {
      const Scope layer("layer");
      y = tanh(matmul(x, w));
      y = tanh(y);
    }
    sum(y).backward();
  });
  const auto rows = measured.by_operation();
  REQUIRE(find(rows, "tanh") != nullptr);
  CHECK(find(rows, "tanh")->calls == 2);
  CHECK(find(rows, "tanh (backward)")->calls == 2);
  CHECK(find(rows, "matmul")->calls == 1);
  CHECK(find(rows, "matmul (backward)")->calls == 1);
  CHECK(find(rows, "tanh")->bytes >= 2 * 10 * 20 * 8);
  CHECK(find(rows, "tanh")->bytes < 2 * (10 * 20 * 8 + 2048));
  for (std::size_t i = 1; i < rows.size(); ++i) CHECK(rows[i - 1].self >= rows[i].self);
  double self = 0;
  for (const auto& row : rows) {
    CHECK(row.total >= row.self);
    CHECK(row.self >= 0);
    self += row.self;
  }
  CHECK(self <= measured.elapsed());
  const auto scopes = measured.by_scope();
  REQUIRE(find(scopes, "net/layer") != nullptr);
  CHECK(find(scopes, "net/layer")->calls == 6);
  CHECK(find(scopes, "net")->calls == 2);
  CHECK(find(scopes, "net")->total == doctest::Approx(self).epsilon(1e-9));
  CHECK(find(scopes, "net")->total >= find(scopes, "net/layer")->total);
  std::ostringstream out;
  measured.print(out);
  CHECK(out.str().find("tanh (backward)") != std::string::npos);
  CHECK(out.str().find("net/layer") != std::string::npos);
}

TEST_CASE("profile: operations inside of others count for themselves") {
  // The gradient of a gradient runs rules that are written in operations.
  const V x = V::filled({100}, 0.3, true);
  const Profile measured = profile([&] { grad(sum(tanh(x)), {x}, {.create_graph = true}); });
  const auto& events = measured.events();
  const auto outer =
      std::find_if(events.begin(), events.end(), [](const auto& e) { return e.operation == "tanh" && e.backward; });
  REQUIRE(outer != events.end());
  CHECK(outer->self < outer->total);
  CHECK(outer->bytes < 100 * sizeof(double));  // handles, no result
  CHECK(find(measured.by_operation(), "multiply") != nullptr);
}

TEST_CASE("profile: what f throws passes through; nothing is measured afterwards") {
  CHECK_THROWS_AS(profile([] { matmul(V::ones({2, 3}), V::ones({2, 3})); }), ShapeError);
  const Profile nothing = profile([] {});
  CHECK(nothing.events().empty());
  CHECK(nothing.by_operation().empty());
}

TEST_CASE("profile: Chrome's trace events are JSON with the events' times, shapes and scopes") {
  const V x = V::filled({3}, 0.3, true);
  const Profile measured = profile([&] {
    const Scope scope("a \"scope\"\n");
    sum(exp(x)).backward();
  });
  std::ostringstream out;
  measured.write_trace(out);
  const auto trace = nlohmann::json::parse(out.str());
  // What the format's description asks of complete events: name, categories, phase, times in microseconds, and numbers
  // of process and thread.
  CHECK(trace.at("displayTimeUnit") == "ns");
  const auto& events = trace.at("traceEvents");
  REQUIRE(events.size() == measured.events().size());
  REQUIRE(events.size() == 4);
  for (std::size_t i = 0; i < events.size(); ++i) {
    const auto& event = events[i];
    const Profile::Event& expected = measured.events()[i];
    CHECK(event.at("name") == expected.operation);
    CHECK(event.at("cat") == (expected.backward ? "backward" : "forward"));
    CHECK(event.at("ph") == "X");
    CHECK(event.at("pid").is_number_integer());
    CHECK(event.at("tid").is_number_integer());
    CHECK(std::abs(event.at("ts").get<double>() - expected.start) < 1e-3);
    CHECK(std::abs(event.at("dur").get<double>() - expected.total) < 1e-3);
    CHECK(event.at("args").at("shape") == to_string(expected.shape));
    CHECK(event.at("args").at("bytes") == expected.bytes);
    CHECK(event.at("args").at("scope") == expected.scope);
    CHECK(expected.scope == "a \"scope\"\n");
  }
  CHECK(events[0].at("name") == "exp");
  CHECK(events[0].at("args").at("shape") == "[3]");
  CHECK(events[3].at("cat") == "backward");
  // An event begins where those before it have ended, on one thread.
  for (std::size_t i = 1; i < events.size(); ++i)
    CHECK(events[i].at("ts").get<double>() >=
          events[i - 1].at("ts").get<double>() + events[i - 1].at("dur").get<double>() - 2e-3);
  CHECK(nlohmann::json::parse(([] {
          std::ostringstream none;
          profile([] {}).write_trace(none);
          return none.str();
        })())
            .at("traceEvents")
            .empty());

  const TemporaryFolder folder;
  measured.write_trace(folder.file("trace.json"));
  CHECK(folder.read("trace.json") == out.str());
  CHECK_THROWS_AS(measured.write_trace(folder.file("absent") / "trace.json"), IoError);
}

TEST_CASE("profile: the tables have calls, times, shares and bytes in their columns") {
  const V w = V::filled({30, 20}, 0.1, true), x = V::ones({10, 30});
  const Profile measured = profile([&] {
    const Scope net("net");
    // Rules of the gradient's gradient are operations within operations: their totals are more than their own times.
    grad(sum(tanh(matmul(x, w))), {w}, {.create_graph = true});
  });
  std::ostringstream out;
  measured.print(out);
  // "name  calls  total  self  share  bytes", the name and what stands behind it.
  const auto numbers = [&](const std::string& name) {
    const std::string text = out.str();
    const std::size_t at = text.find("\n" + name + "  ");
    REQUIRE(at != std::string::npos);
    std::istringstream line(text.substr(at + 1 + name.size(), text.find('\n', at + 1) - at - 1 - name.size()));
    std::vector<double> found;
    for (double value; line >> value;) found.push_back(value);
    return found;
  };
  const auto check = [&](const Profile::Row& row) {
    const std::vector<double> found = numbers(row.name);
    REQUIRE(found.size() == 5);
    CHECK(found[0] == static_cast<double>(row.calls));
    CHECK(std::abs(found[1] - row.total) < 0.051);
    CHECK(std::abs(found[2] - row.self) < 0.051);
    CHECK(std::abs(found[3] - 100 * row.self / measured.elapsed()) < 0.051);
    CHECK(found[4] == static_cast<double>(row.bytes));
  };
  REQUIRE(measured.by_operation().size() >= 6);
  for (const Profile::Row& row : measured.by_operation()) check(row);
  for (const Profile::Row& row : measured.by_scope()) check(row);
  CHECK(contains(out.str(), "calls      total us       self us  self %         bytes"));
  CHECK(contains(out.str(), "\nelapsed "));
}
