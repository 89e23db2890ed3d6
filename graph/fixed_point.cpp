#include <tapestry/graph/fixed_point.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>

#include <tapestry/autodiff/bundle.hpp>
#include <tapestry/autodiff/captured_variables.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/sweep.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/graph/iteration.hpp>

namespace tapestry::detail {
namespace {

double default_tolerance(DType type) {
  return type == DType::float32 ? 1e-5 : 1e-10;
}

std::string describe(const FixedPointReport& report, std::string_view what, std::string_view meaning) {
  std::ostringstream out;
  const double residual = report.residuals.empty() ? 0 : report.residuals.back();
  out << what << ": " << (report.converged ? "converged" : "did NOT converge") << " in " << report.iterations
      << " iterations, residual " << residual << " (tolerance " << report.tolerance << ")";
  if (!report.converged) out << "; " << meaning;
  return out.str();
}

FixedPointReport make_report(Iterations iterations, double tolerance, std::string_view what, std::string_view meaning) {
  FixedPointReport report{iterations.converged, static_cast<std::int64_t>(iterations.residuals.size()),
                          std::move(iterations.residuals), tolerance, ""};
  report.message = describe(report, what, meaning);
  return report;
}

std::size_t total(const std::vector<Shape>& shapes) {
  std::size_t n = 0;
  for (const Shape& shape : shapes) n += static_cast<std::size_t>(shape.elements());
  return n;
}

// A state as variables with the values of a vector.
template <class T>
Nodes unpack(const Vector& x, const std::vector<Shape>& shapes, bool requires_grad = false) {
  Nodes out;
  const double* from = x.data();
  for (const Shape& shape : shapes) {
    NodeRef node = make_leaf(dtype_of<T>, shape, requires_grad);
    std::transform(from, from + shape.elements(), node->template data<T>(), [](double v) { return static_cast<T>(v); });
    from += shape.elements();
    out.push_back(std::move(node));
  }
  return out;
}

template <class T>
double* pack(const Node* node, const Shape& shape, double* to) {
  if (node == nullptr) return std::fill_n(to, shape.elements(), 0.0);
  return std::copy_n(node->data<const T>(), shape.elements(), to);
}

void check_state(const Nodes& next, const std::vector<Shape>& shapes, DType type) {
  if (next.size() != shapes.size()) fail_state(next.size(), shapes.size());
  for (std::size_t i = 0; i < next.size(); ++i) {
    check_state_type(next[i].get(), type);
    if (next[i]->shape != shapes[i])
      fail<ShapeError>("fixed_point", "a variable of the state changes its shape from ", shapes[i], " to ",
                       next[i]->shape);
  }
}

std::vector<Node*> pointers(const Nodes& nodes) {
  std::vector<Node*> out;
  for (const NodeRef& node : nodes) out.push_back(node.get());
  return out;
}

// The results of f that carry a graph, with their seeds.
struct Roots {
  std::vector<Node*> roots;
  Nodes seeds;
  Roots(const Nodes& results, const Nodes& all_seeds) {
    for (std::size_t i = 0; i < results.size(); ++i)
      if (results[i]->requires_grad && all_seeds[i]) {
        roots.push_back(results[i].get());
        seeds.push_back(all_seeds[i]);
      }
  }
};

template <class T>
Nodes attach(const StateMap& f, const Nodes& solution, const FixedPointOptions& options,
             const std::shared_ptr<FixedPointReport>& adjoint);

// The solution z of z = f(z) as a function of what f captured, its inputs.
template <class T>
class FixedPointOperation final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  FixedPointOperation(StateMap f, Nodes solution, FixedPointOptions options, std::shared_ptr<FixedPointReport> adjoint)
      : f_(std::move(f)), solution_(std::move(solution)), options_(options), adjoint_(std::move(adjoint)) {
    for (const NodeRef& node : solution_) shapes_.push_back(node->shape);
  }

  std::string_view name() const override { return "fixed_point"; }
  int outputs() const override { return static_cast<int>(shapes_.size()); }
  Shape shape(const Shapes&, int output) const override { return shapes_[static_cast<std::size_t>(output)]; }

  void forward(Forward<T>& c) override {
    if (solution_.empty()) fail<GraphError>("fixed_point", "can't run again on other inputs");
    for (std::size_t k = 0; k < solution_.size(); ++k)
      std::copy_n(solution_[k]->template data<const T>(), solution_[k]->elements(), c.output(static_cast<int>(k)).data);
    solution_.clear();
  }

  void backward(Backward<T>& c) override {
    BackwardState& state = state_of(c);
    Nodes at;
    Vector g(total(shapes_));
    double* to = g.data();
    for (std::size_t k = 0; k < shapes_.size(); ++k) {
      const auto slot = static_cast<int>(k);
      at.push_back(make_leaf(dtype_of<T>, shapes_[k], true));
      std::copy_n(c.output(slot).data, shapes_[k].elements(), at.back()->template data<T>());
      to = c.has_gradient(slot) ? std::copy_n(c.gradient(slot).data, shapes_[k].elements(), to)
                                : std::fill_n(to, shapes_[k].elements(), 0.0);
    }
    Tape scratch;
    TapeAccess::set_nested(scratch);
    const UseTape use(scratch);
    Nodes results;
    {
      const EnableGradients on;
      results = f_(at);
    }
    const Vector u = adjoint_solution(at, results, g);
    std::vector<Node*> targets;
    for (int i = 0; i < c.inputs(); ++i) targets.push_back(state.node->inputs[i].node);
    const Roots last(results, unpack<T>(u, shapes_));
    const Nodes found = gradients(last.roots, last.seeds, targets, {.stop_at_targets = true});
    for (std::size_t i = 0; i < targets.size(); ++i)
      if (found[i] && c.wants(static_cast<int>(i))) state.sweep.add(targets[i], StorageRef::share(found[i]->value));
  }

  // The adjoint is a fixed point itself, of u -> g + J^T u, and differentiated as one.
  void vjp(Vjp<T>& c) override {
    const EnableGradients on;
    Nodes z, g;
    Vector packed(total(shapes_));
    double* to = packed.data();
    for (int k = 0; k < outputs(); ++k) {
      z.push_back(c.output(k).reference());
      g.push_back(c.gradient(k).reference());
      to = pack<T>(g.back().get(), g.back()->shape, to);
    }
    Vector u;
    {
      Nodes at;
      for (const NodeRef& node : z)
        at.push_back(make_leaf(node->dtype, node->shape, StorageRef::share(node->value), true));
      Tape scratch;
      TapeAccess::set_nested(scratch);
      const UseTape use(scratch);
      const Nodes results = f_(at);
      u = adjoint_solution(at, results, packed);
    }
    const auto transposed = [f = f_, z, g](const Nodes& seeds) {
      const EnableGradients record;
      const Nodes aliases = renamed(z), results = f(aliases);
      const Roots roots(results, seeds);
      const Nodes found = gradients(roots.roots, roots.seeds, pointers(aliases),
                                    {.retain_graph = true, .create_graph = true, .stop_at_targets = true});
      Nodes sum;
      for (std::size_t k = 0; k < g.size(); ++k)
        sum.push_back(found[k] ? (Var<T>(g[k]) + Var<T>(found[k])).reference() : g[k]);
      return sum;
    };
    const Nodes seeds = attach<T>(transposed, unpack<T>(u, shapes_), options_, adjoint_);
    const Nodes aliases = renamed(z), results = f_(aliases);
    const Roots roots(results, seeds);
    std::vector<Node*> targets = pointers(aliases);
    for (int i = 0; i < c.inputs(); ++i) targets.push_back(c.input(i).node());
    const Nodes found = gradients(roots.roots, roots.seeds, targets,
                                  {.retain_graph = true, .create_graph = true, .stop_at_targets = true});
    for (int i = 0; i < c.inputs(); ++i)
      if (const NodeRef& gradient = found[z.size() + static_cast<std::size_t>(i)]; gradient && c.wants(i))
        c.add(i, Var<T>(gradient));
  }

 private:
  static Nodes renamed(const Nodes& nodes) {
    Nodes out;
    for (const NodeRef& node : nodes) out.push_back(reshape(Var<T>(node), node->shape).reference());
    return out;
  }

  // u = g + J^T u, by sweeps over results = f(at).
  Vector adjoint_solution(const Nodes& at, const Nodes& results, const Vector& g) const {
    const std::vector<Node*> targets = pointers(at);
    const VectorMap transposed = [&](const Vector& x, Vector& out) {
      const NoGradients off;
      const Roots roots(results, unpack<T>(x, shapes_));
      const Nodes found = gradients(roots.roots, roots.seeds, targets, {.retain_graph = true});
      double* to = out.data();
      for (std::size_t k = 0; k < found.size(); ++k) to = pack<T>(found[k].get(), shapes_[k], to);
    };
    double largest = 0;
    for (const double value : g) largest = std::max(largest, std::abs(value));
    const double tolerance = options_.adjoint_tolerance > 0 ? options_.adjoint_tolerance
                             : options_.tolerance > 0       ? options_.tolerance
                                                            : default_tolerance(dtype_of<T>);
    IterationOptions iteration{options_.adjoint_max_iterations, tolerance, largest, 0, 0};
    Vector u;
    Iterations iterations;
    if (largest == 0) {
      u.assign(g.size(), 0.0);
      iterations.converged = true;
    } else if (options_.adjoint == AdjointMethod::gmres) {
      iterations = gmres(transposed, g, u, iteration);
    } else {
      if (options_.adjoint == AdjointMethod::anderson) iteration.memory = std::max(1, options_.memory);
      const VectorMap affine = [&](const Vector& x, Vector& out) {
        transposed(x, out);
        for (std::size_t i = 0; i < g.size(); ++i) out[i] += g[i];
      };
      u = g;
      iterations = iterate(affine, u, iteration);
    }
    *adjoint_ = make_report(std::move(iterations), tolerance, "fixed_point: adjoint",
                            "the gradient is only as good as the residual of u = g + J^T u");
    if (options_.require_convergence && !adjoint_->converged) throw NumericalError(adjoint_->message);
    return u;
  }

  StateMap f_;
  Nodes solution_;
  FixedPointOptions options_;
  std::shared_ptr<FixedPointReport> adjoint_;
  std::vector<Shape> shapes_;
};

// The solution with its dependence on what f captured.
template <class T>
Nodes attach(const StateMap& f, const Nodes& solution, const FixedPointOptions& options,
             const std::shared_ptr<FixedPointReport>& adjoint) {
  std::vector<Var<T>> captured;
  {
    Tape scratch;
    TapeAccess::set_nested(scratch);
    const UseTape use(scratch);
    Nodes at;
    for (const NodeRef& node : solution)
      at.push_back(make_leaf(node->dtype, node->shape, StorageRef::share(node->value), true));
    for (NodeRef& node : captured_variables(scratch, at, f(at))) captured.emplace_back(std::move(node));
  }
  if (captured.empty()) return solution;
  Nodes out;
  for (const Var<T>& x :
       apply_all<T>(std::make_unique<FixedPointOperation<T>>(f, solution, options, adjoint), captured))
    out.push_back(x.reference());
  return out;
}

template <class T>
FixedPointNodes solve(const StateMap& f, const Nodes& start, const FixedPointOptions& options) {
  std::vector<Shape> shapes;
  for (const NodeRef& node : start) shapes.push_back(node->shape);
  Vector x(total(shapes));
  double* to = x.data();
  for (const NodeRef& node : start) to = pack<T>(node.get(), node->shape, to);
  const VectorMap map = [&](const Vector& from, Vector& out) {
    const NoGradients off;
    const Nodes next = f(unpack<T>(from, shapes));
    check_state(next, shapes, dtype_of<T>);
    double* place = out.data();
    for (const NodeRef& node : next) place = pack<T>(node.get(), node->shape, place);
  };
  const double tolerance = options.tolerance > 0 ? options.tolerance : default_tolerance(dtype_of<T>);
  IterationOptions iteration{options.max_iterations, tolerance, 1, 0, 0};
  if (options.method == FixedPointMethod::damped) iteration.damping = options.damping;
  if (options.method == FixedPointMethod::anderson) iteration.memory = std::max(1, options.memory);
  FixedPointNodes out;
  out.report =
      make_report(iterate(map, x, iteration), tolerance, "fixed_point",
                  "the state is no fixed point, and its gradient is that of the equation linearised there, not of the "
                  "iterations: unroll() gives that");
  if (options.require_convergence && !out.report.converged) throw NumericalError(out.report.message);
  out.adjoint = std::make_shared<FixedPointReport>();
  out.state = unpack<T>(x, shapes);
  if (gradients_enabled()) out.state = attach<T>(f, out.state, options, out.adjoint);
  return out;
}

void check_options(const FixedPointOptions& options) {
  if (options.max_iterations < 1 || options.adjoint_max_iterations < 1)
    fail("fixed_point", "needs at least one iteration");
  if (options.damping < 0 || options.damping >= 1) fail("fixed_point", "a damping of ", options.damping);
}

}  // namespace

FixedPointNodes solve_fixed_point(const StateMap& f, Nodes start, const FixedPointOptions& options) {
  check_options(options);
  if (capturing())
    fail<GraphError>(
        "fixed_point",
        "its iterations depend on values, which a captured program can't: use unroll() with a fixed number of steps");
  if (start.empty()) return {{}, make_report({true, {}}, 0, "fixed_point", ""), std::make_shared<FixedPointReport>()};
  for (const NodeRef& node : start) check_state_type(node.get(), start.front() ? start.front()->dtype : DType::float32);
  return start.front()->dtype == DType::float32 ? solve<float>(f, start, options) : solve<double>(f, start, options);
}

}  // namespace tapestry::detail
