#include <tapestry/models/training/line_search.hpp>

#include <algorithm>
#include <cmath>

namespace tapestry::detail {
namespace {

constexpr double decrease = 1e-4;   // of the slope at the start (Armijo)
constexpr double curvature = 0.9;   // of the slope at the start (Wolfe)
constexpr double smallest = 1e-20;  // and largest step
constexpr double largest = 1e20;

LineResult backtrack(LineSearch search, const LinePoint& start, double step, int max_evaluations,
                     const LineFunction& at) {
  LineResult result{.step = step};
  while (result.evaluations < max_evaluations && result.step >= smallest && result.step <= largest) {
    const LinePoint p = at(result.step);
    ++result.evaluations;
    double factor = 0;
    if (!(p.value <= start.value + result.step * decrease * start.slope))
      factor = 0.5;
    else if (search != LineSearch::armijo && p.slope < curvature * start.slope)
      factor = 2.1;
    else if (search == LineSearch::strong_wolfe && p.slope > -curvature * start.slope)
      factor = 0.5;
    if (factor == 0) {
      result.found = true;
      return result;
    }
    result.step *= factor;
  }
  return result;
}

/// An end of the interval that holds the step, or a trial.
struct Trial {
  double step, value, slope;
};

/// The minimiser of the cubic with the values and slopes of both; `bounded` keeps the root real and away from `from`
/// (case 3 of the paper), and gives an infinite step where the cubic falls for ever that way.
double cubic(const Trial& from, const Trial& to, bool bounded) {
  const double theta = 3 * (from.value - to.value) / (to.step - from.step) + from.slope + to.slope;
  const double scale = std::max({std::abs(theta), std::abs(from.slope), std::abs(to.slope)});
  double square = theta / scale * (theta / scale) - from.slope / scale * (to.slope / scale);
  if (bounded) square = std::max(square, 0.0);
  double gamma = scale * std::sqrt(square);
  if ((to.step < from.step) != bounded) gamma = -gamma;
  if (!bounded)
    return from.step + (gamma - from.slope + theta) / (2 * gamma - from.slope + to.slope) * (to.step - from.step);
  // Seen from the trial.
  if (gamma == 0) return to.step > from.step ? HUGE_VAL : -HUGE_VAL;
  const double r = (gamma - to.slope + theta) / (2 * gamma + from.slope - to.slope);
  if (!(r < 0)) return to.step > from.step ? HUGE_VAL : -HUGE_VAL;
  return to.step + r * (from.step - to.step);
}

/// The minimiser of the parabola with both slopes.
double secant(const Trial& a, const Trial& b) {
  return b.step + b.slope / (b.slope - a.slope) * (a.step - b.step);
}

/// The next trial step, after the paper's four cases; best and other become the new interval.
double next_step(Trial& best, Trial& other, const Trial& trial, bool& bracketed, double low, double high) {
  double step;
  bool bound = false;
  if (!(trial.value <= best.value)) {  // a minimum lies between
    bracketed = true;
    if (!std::isfinite(trial.value)) {
      step = best.step + (trial.step - best.step) / 2;
    } else {
      const double c = cubic(best, trial, false), width = trial.step - best.step;
      const double q = best.step + best.slope / ((best.value - trial.value) / width + best.slope) / 2 * width;
      step = std::abs(c - best.step) < std::abs(q - best.step) ? c : c + (q - c) / 2;
    }
    bound = true;
  } else if (trial.slope * best.slope < 0) {  // and here too
    bracketed = true;
    const double c = cubic(trial, best, false), q = secant(best, trial);
    step = std::abs(c - trial.step) > std::abs(q - trial.step) ? c : q;
  } else if (std::abs(trial.slope) < std::abs(best.slope)) {  // the slope falls
    bound = true;
    double c = cubic(best, trial, true);
    if (!std::isfinite(c)) c = trial.step > best.step ? high : low;
    const double q = secant(best, trial);
    const bool nearer = std::abs(trial.step - c) < std::abs(trial.step - q);
    step = nearer == bracketed ? c : q;
  } else if (bracketed) {
    step = cubic(trial, other, false);
  } else {
    step = trial.step > best.step ? high : low;
  }

  if (!(trial.value <= best.value)) {
    other = trial;
  } else {
    if (trial.slope * best.slope < 0) other = best;
    best = trial;
  }
  step = std::clamp(step, low, high);
  if (bracketed && bound) {  // not too near to an end
    const double limit = best.step + 0.66 * (other.step - best.step);
    step = other.step > best.step ? std::min(step, limit) : std::max(step, limit);
  }
  return step;
}

/// Moré and Thuente 1994: a step of sufficient decrease and small slope.
LineResult more_thuente(const LinePoint& start, double step, int max_evaluations, const LineFunction& at) {
  const double needed = decrease * start.slope;
  Trial best{0, start.value, start.slope}, other = best;
  bool bracketed = false, first_stage = true;
  double width = largest - smallest, before = 2 * width;
  LineResult result;
  for (;;) {
    const double low = bracketed ? std::min(best.step, other.step) : best.step;
    const double high = bracketed ? std::max(best.step, other.step) : step + 4 * (step - best.step);
    step = std::clamp(step, smallest, largest);
    const bool stuck = bracketed && (step <= low || step >= high || result.evaluations + 1 >= max_evaluations ||
                                     high - low <= 1e-16 * high);
    if (stuck) step = best.step;
    const LinePoint p = at(step);
    ++result.evaluations;
    result.step = step;
    const bool falls = p.value <= start.value + step * needed;
    if (falls && std::abs(p.slope) <= -curvature * start.slope) {
      result.found = true;
      return result;
    }
    if (stuck || result.evaluations >= max_evaluations || (step == largest && falls && p.slope <= needed) ||
        (step == smallest && (!falls || p.slope >= needed)))
      return result;
    first_stage = first_stage && !(falls && p.slope >= needed);
    if (first_stage && !falls && p.value <= best.value) {
      // Decrease, but not enough: the function less the line of sufficient decrease tells more.
      const auto less = [&](const Trial& t) { return Trial{t.step, t.value - t.step * needed, t.slope - needed}; };
      const auto more = [&](const Trial& t) { return Trial{t.step, t.value + t.step * needed, t.slope + needed}; };
      Trial b = less(best), o = less(other);
      step = next_step(b, o, less({step, p.value, p.slope}), bracketed, low, high);
      best = more(b);
      other = more(o);
    } else {
      step = next_step(best, other, {step, p.value, p.slope}, bracketed, low, high);
    }
    if (bracketed) {
      if (std::abs(other.step - best.step) >= 0.66 * before) step = best.step + (other.step - best.step) / 2;
      before = width;
      width = std::abs(other.step - best.step);
    }
  }
}

}  // namespace

LineResult search_line(LineSearch search, const LinePoint& start, double step, int max_evaluations,
                       const LineFunction& at) {
  if (!(start.slope < 0) || !(step > 0)) return {};
  return search == LineSearch::more_thuente ? more_thuente(start, step, max_evaluations, at)
                                            : backtrack(search, start, step, max_evaluations, at);
}

}  // namespace tapestry::detail
