#include <tapestry/models/training/schedule.hpp>

#include <cmath>
#include <limits>
#include <numbers>

#include <doctest/doctest.h>

#include <tapestry/autodiff/error.hpp>

using namespace tapestry;
using doctest::Approx;

TEST_CASE("schedule: the formulas") {
  CHECK(RateSchedule()(12) == 1);
  CHECK(schedules::constant(0.5)(3) == 0.5);
  const RateSchedule step = schedules::step(10, 0.5);
  CHECK(step(9) == 1);
  CHECK(step(10) == 0.5);
  CHECK(step(39) == Approx(0.125));
  CHECK(schedules::exponential(0.9)(7) == Approx(std::pow(0.9, 7)));
  const RateSchedule cosine = schedules::cosine(100, 0.1);
  CHECK(cosine(0) == 1);
  CHECK(cosine(25) == Approx(0.1 + 0.9 * (1 + std::cos(std::numbers::pi / 4)) / 2));
  CHECK(cosine(100) == Approx(0.1));
  CHECK(cosine(500) == Approx(0.1));
  const RateSchedule warmup = schedules::linear_warmup(4, 0.2);
  CHECK(warmup(0) == Approx(0.4));
  CHECK(warmup(3) == 1);
  CHECK(warmup(9) == 1);
  const RateSchedule cycle = schedules::one_cycle(100, 0.25, 0.04, 0.001);
  CHECK(cycle(0) == Approx(0.04));
  CHECK(cycle(25) == Approx(1));
  CHECK(cycle(10) < cycle(20));
  CHECK(cycle(60) > cycle(90));
  CHECK(cycle(100) == Approx(0.001));
  const RateSchedule root = schedules::inverse_sqrt(16);
  CHECK(root(3) == Approx(0.25));
  CHECK(root(15) == Approx(1));
  CHECK(root(63) == Approx(0.5));
  CHECK(schedules::inverse_time(0.1)(30) == Approx(0.25));
}

TEST_CASE("schedule: one after the other, products, and copies with a memory of their own") {
  const RateSchedule both = schedules::linear_warmup(10).then(schedules::cosine(20)).then(schedules::constant(0.25));
  CHECK(both(4) == Approx(0.5));
  CHECK(both(10) == 1);
  CHECK(both(20) == Approx(0.5));
  CHECK(both(30) == 0.25);
  CHECK(schedules::linear_warmup(10).then(schedules::cosine(20)).length() == 30);
  CHECK(schedules::constant(2).then(3, schedules::constant(5))(3) == 5);
  CHECK((schedules::exponential(0.5) * schedules::constant(4))(2) == 1);
  CHECK_THROWS_WITH_AS(schedules::constant().then(schedules::cosine(3)),
                       "RateSchedule::then: after a schedule without length the number of its steps must be given",
                       Error);
  CHECK_THROWS_AS(schedules::cosine(0), Error);
  CHECK_THROWS_AS(schedules::one_cycle(10, 1.5), Error);
  RateSchedule plateau = schedules::reduce_on_plateau({.factor = 0.5, .patience = 0});
  plateau.observe(1);
  RateSchedule copy = plateau;
  copy.observe(1);
  CHECK(copy(0) == 0.5);
  CHECK(plateau(0) == 1);
}

TEST_CASE("schedule: a plateau of what is to rise, and of what is to fall") {
  for (const bool larger : {false, true}) {
    const auto make = [&] {
      return schedules::reduce_on_plateau({.factor = 0.5, .patience = 0, .threshold = 0, .larger_is_better = larger});
    };
    RateSchedule rising = make(), falling = make();
    for (int i = 1; i <= 4; ++i) {
      rising.observe(i);
      falling.observe(-i);
    }
    CHECK((larger ? rising : falling)(0) == 1);
    CHECK((larger ? falling : rising)(0) == 0.125);
  }
}

TEST_CASE("schedule: reduced on a plateau, inside others, and saved with its memory") {
  const auto make = [] {
    return schedules::constant(2).then(
        5, schedules::reduce_on_plateau(
               {.factor = 0.5, .patience = 1, .threshold = 0.1, .smallest = 0.2, .larger_is_better = true}));
  };
  RateSchedule s = make() * schedules::constant(1);
  s.observe(std::numeric_limits<double>::quiet_NaN());
  s.observe(10);
  s.observe(10.5);  // not by 10 %
  CHECK(s(5) == 1);
  s.observe(11.5);
  s.observe(1);
  Archive saved, loaded;
  saved("schedule", s);
  RateSchedule other = make() * schedules::constant(1);
  loaded("schedule", other);
  loaded.load(saved.save(), "memory");
  for (RateSchedule* each : {&s, &other}) {
    each->observe(2);
    CHECK((*each)(5) == 0.5);
    CHECK((*each)(4) == 2);
    for (int i = 0; i < 20; ++i) each->observe(2);
    CHECK((*each)(5) == 0.2);
  }
}
