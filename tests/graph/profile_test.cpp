#include <tapestry/graph/profile.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <doctest/doctest.h>

#include <tapestry/autodiff/autodiff.hpp>

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

TEST_CASE("profile: Chrome's trace events") {
  const V x = V::filled({3}, 0.3, true);
  const Profile measured = profile([&] {
    const Scope scope("a \"scope\"");
    sum(exp(x)).backward();
  });
  std::ostringstream out;
  measured.write_trace(out);
  const std::string text = out.str();
  CHECK(text.rfind("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [", 0) == 0);
  CHECK(text.find("{\"name\": \"exp\", \"cat\": \"forward\", \"ph\": \"X\"") != std::string::npos);
  CHECK(text.find("\"cat\": \"backward\"") != std::string::npos);
  CHECK(text.find("\"scope\": \"a \\\"scope\\\"\"") != std::string::npos);
  CHECK(std::count(text.begin(), text.end(), '{') == std::count(text.begin(), text.end(), '}'));
  const auto file = std::filesystem::temp_directory_path() / "tapestry_profile_test.json";
  measured.write_trace(file);
  std::stringstream read;
  read << std::ifstream(file).rdbuf();
  CHECK(read.str() == text);
  std::filesystem::remove(file);
  CHECK_THROWS_AS(measured.write_trace(std::filesystem::path("/nonexistent/trace.json")), IoError);
}
