#pragma once

#include <optional>
#include <string>
#include <vector>

#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/graph/program/graph.hpp>

namespace tapestry::detail {

/// How an array is repeated in a larger one: element i of the large one is element (i / inner) % count.
struct BroadcastPattern {
  std::int64_t inner = 1, count = 1;
};
/// Nothing where the axes along which it is repeated lie between others.
std::optional<BroadcastPattern> broadcast_pattern(const Shape& from, const Shape& to);

/// A chain (any graph without cycles) of elementwise functions on one shape.
struct FusedPlan {
  struct Step {
    ElementwiseForm form;
    std::vector<std::uint32_t> operands;  ///< inputs are 0, 1, ...; the steps' results follow
    std::shared_ptr<const Window> window = nullptr;
  };
  Shape shape;
  std::vector<Shape> input_shapes;
  std::vector<Step> steps;
  std::vector<std::uint32_t> outputs;  ///< which steps' results are kept
};

/// Runs a plan over blocks that stay in the first-level cache.
template <class T>
class FusedOperation final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  FusedOperation(std::string name, FusedPlan plan);

  std::string_view name() const override { return name_; }
  int outputs() const override { return static_cast<int>(plan_.outputs.size()); }
  Shape shape(const Shapes&, int) const override { return plan_.shape; }
  void forward(Forward<T>& c) override;

  const FusedPlan& plan() const { return plan_; }
  /// Which inputs the results may take the memory of.
  std::vector<InPlace> in_place() const;

  /// The most inputs and outputs.
  static constexpr std::size_t most_arrays = 64;
  /// Whether the intermediate results of a plan fit.
  static bool fits(const FusedPlan& plan);

 private:
  // base[array] + scale * (start of the block) + offset
  struct Place {
    std::uint32_t array = 0, scale = 0, stride = 1;
    std::size_t offset = 0;
  };
  struct Instruction {
    ElementwiseForm form;
    Place operands[4];
    Place out;
    BroadcastPattern pattern;  // where it spreads an input
    const Window* window = nullptr;
  };
  struct Compiled {
    std::vector<Instruction> instructions;
    std::int64_t block = 0;
    bool fits = false;
  };
  static Compiled compile(const FusedPlan& plan);
  void run(const T* const* base, T* const* out, std::int64_t begin, std::int64_t n) const;

  std::string name_;
  FusedPlan plan_;
  Compiled compiled_;
};

}  // namespace tapestry::detail
