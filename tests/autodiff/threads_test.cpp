#include <tapestry/autodiff/threads.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>
#include <tapestry/autodiff/error.hpp>

using namespace tapestry;

namespace {

struct Threads {
  explicit Threads(int count) : before(threads()) { set_threads(count); }
  ~Threads() { set_threads(before); }
  int before;
};

}  // namespace

TEST_CASE("threads: every element is visited once, in chunks that do not depend on the number of threads") {
  for (const int count : {1, 2, 3, 5}) {
    const Threads scope(count);
    CHECK(threads() == count);
    for (const std::int64_t n : {0, 1, 7, 64, 1000})
      for (const std::int64_t grain : {1, 3, 64, 5000}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
        std::vector<std::pair<std::int64_t, std::int64_t>> borders(static_cast<std::size_t>((n + grain - 1) / grain));
        detail::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
          borders[static_cast<std::size_t>(chunk)] = {begin, end};
          for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        for (const auto& visit : visits) CHECK(visit == 1);
        for (std::size_t chunk = 0; chunk < borders.size(); ++chunk) {
          CHECK(borders[chunk].first == static_cast<std::int64_t>(chunk) * grain);
          CHECK(borders[chunk].second == std::min(n, borders[chunk].first + grain));
        }
      }
  }
}

TEST_CASE("threads: many short jobs in a row, and after the workers went to sleep") {
  for (const int count : {2, 4}) {
    const Threads scope(count);
    std::int64_t wrong = 0;
    for (int job = 0; job < 20000; ++job) {
      const std::int64_t n = 2 + job % 7;
      std::atomic<std::int64_t> sum = 0;
      detail::parallel_for(n, 1, [&](std::int64_t begin, std::int64_t) { sum += begin + 1; });
      if (sum != n * (n + 1) / 2) ++wrong;
      if (job % 1000 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("threads: chunks run on several threads at once") {
  const Threads scope(2);
  std::atomic<int> present = 0;
  // Either chunk waits for the other: this ends only if they run at the same time.
  detail::parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    ++present;
    while (present < 2) std::this_thread::yield();
  });
  CHECK(present == 2);
}

TEST_CASE("threads: nested loops run inline") {
  const Threads scope(2);
  std::atomic<int> inner = 0, elsewhere = 0;
  detail::parallel_for(8, 1, [&](std::int64_t, std::int64_t) {
    const auto self = std::this_thread::get_id();
    detail::parallel_for(10, 1, [&](std::int64_t, std::int64_t) {
      ++inner;
      if (std::this_thread::get_id() != self) ++elsewhere;
    });
  });
  CHECK(inner == 80);
  CHECK(elsewhere == 0);
}

TEST_CASE("threads: the exception of the first chunk that threw reaches the caller, and the pool goes on") {
  for (const int count : {1, 2}) {
    const Threads scope(count);
    for (int round = 0; round < 50; ++round) {
      std::string message;
      try {
        detail::parallel_for(16, 1, [](std::int64_t begin, std::int64_t) {
          if (begin >= 5) throw std::runtime_error(std::to_string(begin));
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      CHECK(message == "5");
    }
    std::atomic<int> visits = 0;
    detail::parallel_for(16, 1, [&](std::int64_t, std::int64_t) { ++visits; });
    CHECK(visits == 16);
  }
}

TEST_CASE("threads: several threads of the user may run loops at once") {
  const Threads scope(2);
  std::atomic<std::int64_t> total = 0;
  std::vector<std::thread> users;
  for (int user = 0; user < 3; ++user)
    users.emplace_back([&] {
      for (int round = 0; round < 500; ++round)
        detail::parallel_for(4, 1, [&](std::int64_t begin, std::int64_t) { total += begin; });
    });
  for (std::thread& user : users) user.join();
  CHECK(total == 3 * 500 * 6);
}

TEST_CASE("threads: refused counts") {
  CHECK_THROWS_WITH_AS(set_threads(0), doctest::Contains("set_threads: there must be at least one"), Error);
  const Threads scope(2);
  CHECK_THROWS_AS(detail::parallel_for(4, 1, [](std::int64_t, std::int64_t) { set_threads(1); }), Error);
  CHECK(threads() == 2);
}
