#include <algorithm>
#include <random>

#include <tapestry/autodiff/checkpoint.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/threads.hpp>

#include "autodiff/registry_examples.hpp"

// Programs composed at random of the registry's operations, with random shapes: what must agree does agree.

using namespace tapestry;
using namespace tapestry::testing;

namespace {

using V = Var<double>;
using Vars = std::vector<V>;
using Random = std::mt19937_64;

std::int64_t below(Random& random, std::int64_t n) {
  return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
}

// One operation of a program: an argument is an example from its domain, moved a little by an earlier value.
struct Step {
  const RegisteredOperation* operation;
  Tensors centres;
  std::vector<std::size_t> sources;
};

struct Program {
  std::vector<Shape> leaves;
  std::vector<Step> steps;
};

// The elements of x, as often as it takes, in another shape.
V fitted(const V& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  IndexTensor places(std::vector<std::size_t>{static_cast<std::size_t>(shape.elements())});
  for (std::int64_t i = 0; i < shape.elements(); ++i) places.data()[i] = i % x.size();
  return reshape(take(reshape(x, {-1}), places), shape);
}

V run(const Program& program, const Vars& leaves) {
  Vars values = leaves;
  for (const Step& step : program.steps) {
    Vars arguments;
    for (std::size_t i = 0; i < step.centres.size(); ++i) {
      const V centre(step.centres[i]);
      arguments.push_back(centre + 0.02 * fitted(tanh(values[step.sources[i]]), centre.shape()));
    }
    values.push_back(step.operation->apply(arguments));
  }
  // Every value counts, with weights that differ.
  V loss(0.0);
  for (std::size_t i = 0; i < values.size(); ++i)
    loss = loss + sum(tanh(values[i]) * V(uniform_example(values[i].shape(), -1, 1)(100 + i)));
  return loss;
}

struct Sizes {
  std::int64_t fewest_axes, most_axes, smallest, largest;
};
constexpr Sizes small{0, 3, 1, 4};
// Enough elements for reductions and elementwise operations to be split over threads.
constexpr Sizes large{2, 2, 280, 400};

std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return low + below(random, high - low + 1);
}

// Shapes that broadcast to a common one: some leading axes are missing, and some extents are one.
std::vector<Shape> broadcastable(Random& random, std::size_t count, const Sizes& sizes) {
  Shape whole;
  for (std::int64_t axes = between(random, sizes.fewest_axes, sizes.most_axes); axes > 0; --axes)
    whole.push_back(between(random, sizes.smallest, sizes.largest));
  std::vector<Shape> out;
  for (std::size_t i = 0; i < count; ++i) {
    Shape shape(whole.begin() + (random() % 3 == 0 && whole.rank() > 0 ? 1 : 0), whole.end());
    for (std::int64_t& extent : shape)
      if (random() % 4 == 0) extent = 1;
    out.push_back(shape);
  }
  return out;
}

// The examples' shapes with another extent wherever one of them occurs, if the operation takes that.
std::vector<Shape> other_extent(Random& random, const RegisteredOperation& op) {
  std::vector<Shape> examples, changed;
  for (const ExampleInput& input : op.inputs) examples.push_back(input.shape);
  const Shape& some = examples[static_cast<std::size_t>(below(random, static_cast<std::int64_t>(examples.size())))];
  if (some.rank() == 0) return examples;
  const std::int64_t from = some[static_cast<int>(below(random, some.rank()))], to = 1 + below(random, 6);
  changed = examples;
  for (Shape& shape : changed) std::replace(shape.begin(), shape.end(), from, to);
  Tensors inputs;
  for (std::size_t i = 0; i < changed.size(); ++i) inputs.push_back(op.inputs[i].make(changed[i], i));
  try {
    const V y = op.apply(constants(inputs));
    return std::all_of(y.data(), y.data() + y.size(), [](double x) { return std::isfinite(x); }) ? changed : examples;
  } catch (const Error&) {
    return examples;
  }
}

Program random_program(std::uint64_t seed, const Sizes& sizes = small) {
  static const std::vector<const RegisteredOperation*> operations = [] {
    std::vector<const RegisteredOperation*> out;
    for (const RegisteredOperation& op : registry().operations())
      if (op.differentiable && !op.inputs.empty()) out.push_back(&op);
    return out;
  }();
  Random random(seed);
  Program program;
  for (int i = 0; i < 3; ++i) program.leaves.push_back(broadcastable(random, 1, sizes)[0]);
  for (std::size_t steps = 6 + random() % 6; steps > 0; --steps) {
    const RegisteredOperation& op = *operations[random() % operations.size()];
    const std::vector<Shape> shapes =
        op.elementwise ? broadcastable(random, op.inputs.size(), sizes) : other_extent(random, op);
    Step step{&op, {}, {}};
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      step.centres.push_back(op.inputs[i].make(shapes[i], random()));
      step.sources.push_back(random() % (program.leaves.size() + program.steps.size()));
    }
    // What has no elements can't be fitted to a shape.
    if (op.apply(constants(step.centres)).size() > 0) program.steps.push_back(std::move(step));
  }
  return program;
}

std::string names(const Program& program) {
  std::string out;
  for (const Step& step : program.steps) out += step.operation->name + " ";
  return out;
}

Vars leaves_of(const Program& program, std::uint64_t seed, bool requires_grad) {
  Vars out;
  for (const Shape& shape : program.leaves) out.emplace_back(uniform_example(shape)(seed + out.size()), requires_grad);
  return out;
}

double dot(const Vars& a, const Vars& b, double* magnitude) {
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::int64_t k = 0; k < a[i].size(); ++k) {
      out += a[i].data()[k] * b[i].data()[k];
      *magnitude += std::abs(a[i].data()[k] * b[i].data()[k]);
    }
  return out;
}

V inner(const Vars& a, const Vars& b) {
  V out(0.0);
  for (std::size_t i = 0; i < a.size(); ++i) out = out + sum(a[i] * b[i]);
  return out;
}

struct Result {
  double loss;
  Tensors gradients;
};

Result backward(const Function<double>& f, const Program& program) {
  Vars x = leaves_of(program, 1, true);
  const V y = f(x);
  y.backward();
  Result out{y.item(), {}};
  for (const V& leaf : x) out.gradients.emplace_back(leaf.gradient());
  return out;
}

void check_same_bits(const Result& a, const Result& b, const Program& program) {
  CHECK_MESSAGE(a.loss == b.loss, names(program));
  for (std::size_t i = 0; i < a.gradients.size(); ++i) CHECK_MESSAGE(a.gradients[i] == b.gradients[i], names(program));
}

constexpr std::uint64_t programs = 120;

}  // namespace

TEST_CASE("random programs: forward mode is the transpose of reverse mode") {
  for (std::uint64_t seed = 0; seed < programs; ++seed) {
    const Program program = random_program(seed);
    const Function<double> f = [&](const Vars& x) { return run(program, x); };
    const Vars x = leaves_of(program, 1, false), t = leaves_of(program, 50, false);
    const auto [y, gradients] = vjp(f, x, V::ones({}));
    double magnitude = 1e-3;
    const double reverse = dot(gradients, t, &magnitude), forward = jvp(f, x, t).second.item();
    REQUIRE_MESSAGE(std::isfinite(y.item()), names(program));
    CHECK_MESSAGE(std::abs(reverse - forward) <= 1e-10 * magnitude, names(program), ": ", reverse, " and ", forward);
  }
}

TEST_CASE("random programs: second derivatives, reverse or forward over reverse, and reverse over forward") {
  for (std::uint64_t seed = 0; seed < programs / 2; ++seed) {
    const Program program = random_program(1000 + seed);
    const Function<double> f = [&](const Vars& x) { return run(program, x); };
    const Vars x = leaves_of(program, 1, false), v = leaves_of(program, 50, false), w = leaves_of(program, 90, false);
    double magnitude = 1e-3;
    const double reverse_reverse = dot(hvp(f, x, v), w, &magnitude);
    // The derivative of <gradient, v> along w, and the gradient of the derivative along v, times w.
    const Function<double> slope = [&](const Vars& at) { return inner(grad(f(at), at, {.create_graph = true}), v); };
    const double forward_reverse = jvp(slope, x, w).second.item();
    const Function<double> tangent = [&](const Vars& at) { return jvp(f, at, v).second; };
    const double reverse_forward = dot(vjp(tangent, x, V::ones({})).second, w, &magnitude);
    CHECK_MESSAGE(std::abs(reverse_reverse - forward_reverse) <= 1e-8 * magnitude, names(program), ": ",
                  reverse_reverse, " and ", forward_reverse);
    CHECK_MESSAGE(std::abs(reverse_reverse - reverse_forward) <= 1e-8 * magnitude, names(program), ": ",
                  reverse_reverse, " and ", reverse_forward);
  }
}

TEST_CASE("random programs: checkpointed, the same bits") {
  for (std::uint64_t seed = 0; seed < programs; ++seed) {
    const Program program = random_program(2000 + seed);
    const Function<double> f = [&](const Vars& x) { return run(program, x); };
    const Function<double> again = [&](const Vars& x) { return checkpoint(f, x); };
    check_same_bits(backward(f, program), backward(again, program), program);
  }
}

TEST_CASE("random programs: the same bits with one thread and two") {
  const int before = threads();
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const Program program = random_program(3000 + seed, large);
    const Function<double> f = [&](const Vars& x) { return run(program, x); };
    set_threads(1);
    const Result one = backward(f, program);
    set_threads(2);
    const Result two = backward(f, program);
    check_same_bits(one, two, program);
  }
  set_threads(before);
}
