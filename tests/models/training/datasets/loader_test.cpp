#include <tapestry/models/training/datasets/loader.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>

#include <doctest/doctest.h>

using namespace tapestry;

namespace {

Dataset<std::vector<std::int64_t>> batches() {
  return Dataset<std::int64_t>::generate(23, [](std::int64_t i) { return i; }).shuffle(4).batch(4);
}

}  // namespace

TEST_CASE("Loader: any number of workers delivers the same, epoch after epoch") {
  for (const int workers : {0, 1, 3}) {
    for (const int prefetch : {1, 2, 9}) {
      const auto data = batches();
      Loader loader(data, {.workers = workers, .prefetch = prefetch});
      for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        CHECK(loader.epoch() == epoch);
        std::int64_t i = 0;
        for (const auto& group : loader) CHECK(group == data.at(i++, epoch));
        CHECK(i == data.size());
      }
    }
  }
}

TEST_CASE("Loader: goes on from a saved state") {
  Loader whole(batches(), {.workers = 1, .prefetch = 3});
  for (int i = 0; i < 9; ++i) whole.next();  // 6 batches, the end, 2 batches
  const LoaderState state = whole.state();
  CHECK(state.epoch == 1);
  CHECK(state.position == 2);
  Loader resumed(batches(), {.workers = 2, .prefetch = 1});
  resumed.next();
  resumed.restore(state);
  for (int i = 0; i < 20; ++i) CHECK(whole.next() == resumed.next());
  CHECK_THROWS_AS(resumed.restore({0, 0, state.signature + 1}), Error);
  CHECK_THROWS_AS(resumed.restore({0, 7, state.signature}), IndexError);
}

TEST_CASE("Loader: what an element throws arrives in its place") {
  for (const int workers : {0, 1, 2}) {
    const auto data = Dataset<int>::generate(5, [](std::int64_t i) {
      if (i == 2) throw std::runtime_error("two");
      return static_cast<int>(i);
    });
    Loader loader(data, {.workers = workers, .prefetch = 4});
    CHECK(loader.next() == 0);
    CHECK(loader.next() == 1);
    CHECK_THROWS_WITH(loader.next(), "two");
    CHECK(loader.next() == 3);
    CHECK(loader.next() == 4);
    CHECK_FALSE(loader.next().has_value());
    CHECK(loader.next() == 0);
  }
}

TEST_CASE("Loader: works ahead, by as much as it is told, and stops when it is destroyed") {
  std::atomic<int> made{0};
  {
    Loader loader(Dataset<int>::generate(100,
                                         [&](std::int64_t i) {
                                           ++made;
                                           return static_cast<int>(i);
                                         }),
                  {.workers = 1, .prefetch = 3});
    const auto wait_for = [&](int n) {
      for (int i = 0; i < 2000 && made < n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      CHECK(made == n);
    };
    wait_for(3);
    loader.next();
    wait_for(4);
  }
  CHECK(made == 4);
  Loader<int> none{Dataset<int>()};
  CHECK_FALSE(none.next().has_value());
  CHECK(none.epoch() == 1);
  CHECK_THROWS_AS(Loader<int>(Dataset<int>(), {.workers = 1, .prefetch = 0}), ShapeError);
}
