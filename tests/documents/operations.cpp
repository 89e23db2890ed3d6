#include <algorithm>
#include <cstdio>
#include <string>

#include <tapestry/autodiff/registry.hpp>
#include <tapestry/autodiff/tape.hpp>

// Writes docs/operations.md, from the registry.

namespace {

std::string shape_of(const tapestry::Shape& shape) {
  std::string out;
  for (const std::int64_t extent : shape) out += (out.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + out + "]";
}

}  // namespace

int main() {
  const tapestry::NoGradients off;
  std::printf(
      "# Operations\n\n"
      "Every differentiable building block, as the registry (`autodiff/registry.hpp`) has it: the shapes of an example's\n"
      "inputs with the values between which it draws them, the result's shape, and whether the operation works element\n"
      "by element (its inputs then broadcast) and has derivatives. The tests walk the same list. This page is what\n"
      "`build/tests/documents/operations` prints; a test fails when it is not.\n\n"
      "| operation | inputs | result | |\n|---|---|---|---|\n");
  for (const tapestry::RegisteredOperation& operation : tapestry::registry().operations()) {
    std::vector<tapestry::Var<double>> inputs;
    std::string shapes;
    for (const tapestry::ExampleInput& input : operation.inputs) {
      const tapestry::Tensor<double> values = input(1);
      shapes += (shapes.empty() ? "" : "; ") + shape_of(input.shape);
      if (values.size() > 0) {
        const auto [low, high] = std::minmax_element(values.begin(), values.end());
        char range[64];
        std::snprintf(range, sizeof range, " %.1f to %.1f", *low, *high);
        shapes += range;
      }
      inputs.emplace_back(values);
    }
    std::printf("| %s | %s | %s | %s%s |\n", operation.name.c_str(), shapes.c_str(),
                shape_of(operation.apply(inputs).shape()).c_str(), operation.elementwise ? "elementwise" : "",
                operation.differentiable ? "" : operation.elementwise ? ", no gradient" : "no gradient");
  }
}
