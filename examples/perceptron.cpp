// The perceptron by the batch rule and by the incremental rule, on two clouds of points that a line can part.
#include <cstdio>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/random.hpp>

using namespace tapestry;
using Variable = Var<double>;

int main() {
  const std::int64_t points = 200;
  Generator random(1);
  Tensor<double> x = random.normal<double>({points, 3}), y = empty_tensor<double>({points, 1});
  for (std::int64_t i = 0; i < points; ++i) {
    y(i, 0) = i % 2 == 0 ? 1 : -1;
    x(i, 0) += 2.0 * y(i, 0);
    x(i, 1) += 1.5 * y(i, 0);
    x(i, 2) = 1;  // bias
  }

  // The perceptron criterion sum max(0, -y x.w): its gradient is the sum of -y x over the mistakes.
  const auto criterion = [](const Variable& w, const Variable& inputs, const Variable& targets) {
    return sum(relu(-(targets * matmul(inputs, w))));
  };
  const auto mistakes = [&](const Variable& w) {
    const NoGradients off;
    const Tensor<double> margins = (Variable(y) * matmul(Variable(x), w)).tensor();
    int wrong = 0;
    for (const double margin : margins) wrong += margin <= 0;
    return wrong;
  };

  Variable w(random.normal<double>({3, 1}), true);
  const Tensor<double> start = w.tensor();
  for (int epoch = 1; epoch <= 8; ++epoch) {
    w.zero_gradient();
    criterion(w, Variable(x), Variable(y)).backward();
    w.mutable_value() -= 0.01 * w.gradient();
    std::printf("batch rule        epoch %2d  mistakes %d\n", epoch, mistakes(w));
  }

  w.assign(start);
  for (int epoch = 1; epoch <= 4; ++epoch) {
    for (const std::int64_t i : random.permutation(points)) {
      w.zero_gradient();
      criterion(w, slice(Variable(x), 0, {i, i + 1}), slice(Variable(y), 0, {i, i + 1})).backward();
      w.mutable_value() -= 0.1 * w.gradient();
    }
    std::printf("incremental rule  epoch %2d  mistakes %d\n", epoch, mistakes(w));
  }
  return mistakes(w) <= points / 20 ? 0 : 1;
}
