// Inference of one's own, unrolled: mean field on pictures of stripes, whose couplings across and down are learned from
// noisy pictures and true ones; the ways that gradients can take, beside each other.
#include <chrono>
#include <cmath>
#include <cstdio>

#include <tapestry/tapestry.hpp>

using namespace tapestry;

namespace {

constexpr std::int64_t pictures = 40, size = 16;

// Rows of one colour, -1 or 1, and the same with a quarter of the pixels drawn anew.
std::pair<Tensor<double>, Tensor<double>> striped(Generator& generator) {
  Tensor<double> truth = empty_tensor<double>({pictures, size, size}), noisy = truth;
  for (std::int64_t n = 0; n < pictures; ++n)
    for (std::int64_t i = 0; i < size; ++i) {
      const double colour = generator.uniform() < 0.5 ? -1 : 1;
      for (std::int64_t j = 0; j < size; ++j) {
        truth(n, i, j) = colour;
        noisy(n, i, j) = generator.uniform() < 0.25 ? -colour : colour;
      }
    }
  return {truth, noisy};
}

// The sums of each pixel's neighbours to both sides along an axis.
Var<double> beside(const Var<double>& m, std::int64_t axis) {
  std::vector<std::pair<std::int64_t, std::int64_t>> widths(3);
  widths[static_cast<std::size_t>(axis)] = {1, 1};
  const Var<double> padded = pad(m, widths);
  return slice(padded, axis, {0, size}) + slice(padded, axis, {2, size + 2});
}

struct Stripes {
  Var<double> evidence{Tensor<double>{0.5}, true}, across{Tensor<double>{0.0}, true}, down{Tensor<double>{0.0}, true};
  void members(Members& m) { m("evidence", evidence)("across", across)("down", down); }

  /// The means of all pixels from those of their neighbours.
  Var<double> step(const Var<double>& noisy, const Var<double>& m) const {
    return tanh(evidence * noisy + across * beside(m, 2) + down * beside(m, 1));
  }
};

double wrong(const Tensor<double>& m, const Tensor<double>& truth) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < m.size(); ++i) count += m.data()[i] * truth.data()[i] <= 0;
  return static_cast<double>(count) / static_cast<double>(m.size());
}

// Seconds, and the derivatives with respect to the three parameters.
template <class F>
std::vector<double> show(const char* name, const Stripes& model, F means, const Var<double>& truth) {
  const auto start = std::chrono::steady_clock::now();
  const auto gradients = grad(mean(square(means() - truth)), parameters<double>(model));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::vector<double> out;
  for (const Var<double>& g : gradients) out.push_back(g.item());
  std::printf("%-22s %12.8f %12.8f %12.8f   %.3f s\n", name, out[0], out[1], out[2], seconds.count());
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  return largest;
}

}  // namespace

int main() {
  Generator generator(3);
  const auto [truth_array, noisy_array] = striped(generator);
  const Var<double> truth(truth_array), noisy(noisy_array), start = Var<double>::zeros(truth.shape());

  Stripes model;
  model.across.assign(Tensor<double>{0.15});
  const auto step = [&](const Var<double>& m) { return model.step(noisy, m); };
  std::printf("d loss / d            %12s %12s %12s\n", "evidence", "across", "down");
  const auto unrolled = [&](UnrollOptions options) {
    return [&, options] { return unroll(step, start, 40, options).state; };
  };
  const auto full = show("all 40 steps", model, unrolled({}), truth);
  const auto checkpointed = show("checkpointed", model, unrolled({.gradient = LoopGradient::checkpointed}), truth);
  show("the last 4 steps", model, unrolled({.gradient = LoopGradient::truncated, .last = 4}), truth);
  const auto implicit = show(
      "at the fixed point", model, [&] { return fixed_point(step, start).state; }, truth);
  const bool agree = distance(full, checkpointed) < 1e-14 && distance(full, implicit) < 1e-8;
  std::printf("the exact ones %s\n\n", agree ? "agree" : "differ");

  Adam<double> adam(model, {.rate = 0.03});
  for (int i = 0; i <= 100; ++i) {
    const Var<double> m = unroll(step, start, 10).state;
    const Var<double> loss = mean(square(m - truth));
    adam.zero_gradients();
    loss.backward();
    adam.step();
    if (i % 25 == 0)
      std::printf("step %3d  loss %.4f  wrong pixels %.4f\n", i, loss.item(), wrong(m.tensor(), truth_array));
  }
  std::printf("couplings: across %.3f, down %.3f\n", model.across.item(), model.down.item());

  const auto [new_truth, new_noisy] = striped(generator);
  const Var<double> evidence(new_noisy);
  const Var<double> m = unroll([&](const Var<double>& at) { return model.step(evidence, at); }, start, 10).state;
  const double before = wrong(new_noisy, new_truth), after = wrong(m.tensor(), new_truth);
  std::printf("new pictures: wrong pixels %.4f -> %.4f\n", before, after);
  return agree && after < 0.3 * before && model.across.item() > model.down.item() + 0.1 ? 0 : 1;
}
