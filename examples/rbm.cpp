// A restricted Boltzmann machine learns bars and stripes by contrastive divergence (Hinton 2002), written as a
// surrogate loss on the tape: the difference of the free energies of the data and of the samples, which are constants.
#include <cmath>
#include <cstdio>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/random.hpp>

using namespace tapestry;
using Variable = Var<double>;

constexpr std::int64_t side = 3, visible = side * side, hidden = 16;

// Every row (or every column) of the picture is on or off: 2 * 2^3 pictures, of which all-on and all-off come twice.
Tensor<double> bars_and_stripes() {
  Tensor<double> pictures = empty_tensor<double>({16, visible});
  for (int pattern = 0; pattern < 16; ++pattern)
    for (int i = 0; i < visible; ++i) pictures(pattern, i) = (pattern & 7) >> (pattern < 8 ? i / 3 : i % 3) & 1;
  return pictures;
}

int main() {
  Generator random(1);
  Variable w(random.normal<double>({visible, hidden}, 0.0, 0.1), true);
  Variable b = Variable::filled({visible}, 0.0, true), c = Variable::filled({hidden}, 0.0, true);
  const Variable data(bars_and_stripes());

  const auto free_energy = [&](const Variable& v) { return -matmul(v, b) - sum(softplus(matmul(v, w) + c), {1}); };
  const auto gibbs_step = [&](const Variable& v) {
    const NoGradients off;
    const Variable h(random.bernoulli(sigmoid(matmul(v, w) + c).tensor()));
    return Variable(random.bernoulli(sigmoid(matmul(h, w, {.transpose_b = true}) + b).tensor()));
  };
  // The exact log-likelihood: the partition function is a sum over 2^9 pictures.
  const auto log_likelihood = [&] {
    const NoGradients off;
    Tensor<double> all = empty_tensor<double>({1 << visible, visible});
    for (int v = 0; v < 1 << visible; ++v)
      for (int i = 0; i < visible; ++i) all(v, i) = v >> i & 1;
    const double log_z = std::log(sum(exp(-free_energy(Variable(all)))).item());
    return -mean(free_energy(data)).item() - log_z;
  };

  std::printf("log-likelihood a picture: at first %.3f, best possible %.3f\n", log_likelihood(),
              -std::log(16.0) + 0.25 * std::log(2.0));
  for (int step = 1; step <= 3000; ++step) {
    Variable samples = data;
    for (int k = 0; k < 3; ++k) samples = gibbs_step(samples);
    (mean(free_energy(data)) - mean(free_energy(samples))).backward();
    for (Variable* parameter : {&w, &b, &c}) {
      parameter->mutable_value() -= 0.1 * parameter->gradient();
      parameter->zero_gradient();
    }
    if (step % 500 == 0) std::printf("step %4d  %.3f\n", step, log_likelihood());
  }
  return log_likelihood() > -3.6 ? 0 : 1;
}
