#include <tapestry/autodiff/counting.hpp>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include <doctest/doctest.h>
#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/pool.hpp>

using namespace tapestry;
using namespace tapestry::detail;

namespace {

// Back to a process in which nobody has counted. Only for a moment in which one thread uses variables.
void forget_threads() {
  counting_mode.shared = false;
  counting_mode.claimed = false;
  counts_alone = false;
}

constexpr std::int64_t additions = 20000;

void add_often(std::atomic<std::int64_t>& count) {
  for (std::int64_t i = 0; i < additions; ++i) count_add(count, std::int64_t{1});
}

}  // namespace

TEST_CASE("counting: no addition is lost while a second thread makes the counts shared") {
  std::int64_t lost = 0;
  for (int round = 0; round < 100; ++round) {
    forget_threads();
    std::atomic<std::int64_t> count{0};
    std::atomic<bool> go{false};
    std::thread other([&] {
      while (!go) {
      }
      add_often(count);
    });
    count_add(count, std::int64_t{1});
    CHECK(counting_mode.claimed);
    CHECK_FALSE(counting_mode.shared);
    go = true;
    add_often(count);
    other.join();
    CHECK(counting_mode.shared);
    lost += 2 * additions + 1 - count;
  }
  CHECK(lost == 0);
}

TEST_CASE("counting: a second and a third thread wait while the first is in the middle of an addition") {
  forget_threads();
  std::atomic<std::int64_t> count{0};
  std::atomic<int> counted{0};
  count_add(count, std::int64_t{1});
  REQUIRE(begin_alone());
  const auto add_once = [&] {
    count_add(count, std::int64_t{1});
    ++counted;
  };
  std::thread second(add_once);
  while (!counting_mode.shared) std::this_thread::yield();
  std::thread third(add_once);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(counted == 0);
  CHECK(count == 1);
  end_alone();
  second.join();
  third.join();
  CHECK(count == 3);
  CHECK_FALSE(begin_alone());
}

TEST_CASE("counting: a thread that comes after the first one ended counts too") {
  forget_threads();
  std::atomic<std::int64_t> count{0};
  std::thread([&] { add_often(count); }).join();
  CHECK_FALSE(counting_mode.shared);
  add_often(count);
  CHECK(counting_mode.shared);
  CHECK(count == 2 * additions);
}

TEST_CASE("counting: a variable copied by two threads at once is freed by the last of them") {
  for (int round = 0; round < 50; ++round) {
    forget_threads();
    const Var<double> shared = Var<double>::filled({3}, 2.0, true);
    const auto before = shared.node()->references.load();
    const auto copy = [&] {
      for (int i = 0; i < 2000; ++i) const std::vector<Var<double>> copies(2, shared);
    };
    std::thread other(copy);
    copy();
    other.join();
    CHECK(shared.node()->references.load() == before);
  }
}

TEST_CASE("counting: a handle and another thread's graph let go of a leaf at once") {
  constexpr int rounds = 2000;
  std::barrier meet(2);
  std::atomic<int> gone{0};
  Var<double> leaf;
  const std::size_t in_use = memory_statistics().in_use;
  std::thread other([&] {
    for (int round = 0; round < rounds; ++round) {
      meet.arrive_and_wait();
      Var<double> graph = sum(leaf);  // reads no values backwards: it holds the leaf, not its value
      meet.arrive_and_wait();
      // Often the handle goes first; being relaxed, this orders nothing else.
      if (round % 4 != 0)
        while (gone.load(std::memory_order_relaxed) <= round) std::this_thread::yield();
      graph = Var<double>();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    leaf = Var<double>::filled({300}, 2.0, true);
    meet.arrive_and_wait();
    meet.arrive_and_wait();
    leaf = Var<double>();
    gone.store(round + 1, std::memory_order_relaxed);
  }
  other.join();
  CHECK(memory_statistics().in_use <= in_use + 10000);
}

TEST_CASE("counting: a value goes with its last reader, whether one thread counts or several") {
  const auto freed = [] {
    const Var<double> x = Var<double>::filled({10000}, 1.0, true);
    Var<double> y = x + x;
    const Var<double> z = y + y;  // holds y, whose value it does not read
    const auto before = memory_statistics().in_use;
    y = Var<double>();
    return before - memory_statistics().in_use;
  };
  forget_threads();
  CHECK(freed() >= 80000);
  CHECK(counts_alone);
  std::atomic<std::int64_t> count{0};
  std::thread([&] { count_add(count, std::int64_t{1}); }).join();
  CHECK(counting_mode.shared);
  CHECK(freed() >= 80000);
}
