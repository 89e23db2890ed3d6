#include <tapestry/autodiff/random.hpp>

#include "tapestry_side.hpp"

namespace versus {
namespace {

using tapestry::Activation;
using tapestry::Tensor;

Side variational_autoencoder() {
  constexpr std::int64_t batch = 128, latent = 20;
  const Layer encode("encode", 784, 400), mean("mean", 400, latent), log_var("log_var", 400, latent),
      decode1("decode1", latent, 400), decode2("decode2", 400, 784);
  std::vector<Variable> parameters;
  for (const Layer* layer : {&encode, &mean, &log_var, &decode1, &decode2})
    parameters.insert(parameters.end(), {layer->weight, layer->bias});
  const Variable x = leaf({batch, 784}, uniforms("x", batch * 784), false);
  const auto loss = [=](const Variable& noise) {
    const Variable h = linear(x, encode.weight, encode.bias, Activation::relu);
    const Variable m = linear(h, mean.weight, mean.bias), s = linear(h, log_var.weight, log_var.bias);
    const Variable z = m + exp(0.5f * s) * noise;
    const Variable logits =
        linear(linear(z, decode1.weight, decode1.bias, Activation::relu), decode2.weight, decode2.bias);
    return binary_cross_entropy_with_logits(logits, x, tapestry::Reduction::sum) -
           0.5f * sum(1.f + s - square(m) - exp(s));
  };
  const auto adam = std::make_shared<tapestry::Adam<float>>(parameters, tapestry::AdamOptions{.rate = 1e-3});
  const auto random = std::make_shared<tapestry::Generator>(0);
  const Variable noise = leaf({batch, latent}, normals("noise", batch * latent), false);
  Side out = side(
      parameters,
      [=] {
        return loss(Variable(random->normal<float>({batch, latent})));
      },
      adam);
  const Side given = side(
      parameters, [=] { return loss(noise); }, adam);
  out.comparable_step = given.step;
  out.result = given.result;
  return out;
}

// Contrastive divergence as a loss: the difference of the free energies of the data and of the samples.
Side boltzmann_machine() {
  constexpr std::int64_t batch = 100, visible = 784, hidden = 500;
  const Variable w = leaf({visible, hidden}, normals("w", visible * hidden, 0.01f));
  const Variable b = leaf({visible}, normals("b", visible, 0.01f)), c = leaf({hidden}, normals("c", hidden, 0.01f));
  std::vector<float> pixels = uniforms("v", batch * visible);
  for (float& pixel : pixels) pixel = pixel > 0.5f ? 1.f : 0.f;
  const Variable v = leaf({batch, visible}, pixels, false);
  const auto loss = [=](auto sample) {
    const Variable activity = linear(v, w, c);
    Variable fantasy;
    {
      const tapestry::NoGradients off;
      const Variable h = sample(sigmoid(activity));
      fantasy = sample(sigmoid(matmul(h, w, {.transpose_b = true}) + b));
    }
    return sum(softplus(linear(fantasy, w, c))) + sum(matmul(fantasy, b)) - sum(softplus(activity)) - sum(matmul(v, b));
  };
  const std::vector<Variable> parameters{w, b, c};
  const auto sgd = std::make_shared<tapestry::Sgd<float>>(parameters, tapestry::SgdOptions{.rate = 0.001});
  const auto random = std::make_shared<tapestry::Generator>(0);
  Side out = side(
      parameters, [=] { return loss([&](const Variable& p) { return Variable(random->bernoulli(p.tensor())); }); },
      sgd);
  const Side given = side(
      parameters,
      [=] {
        return loss([&](const Variable& p) { return less(leaf(p.shape(), uniforms("sample", p.size()), false), p); });
      },
      sgd);
  out.comparable_step = given.step;
  out.result = given.result;
  return out;
}

}  // namespace

Workloads tapestry_generative_models() {
  return {
      {"rbm_cd1_b100", boltzmann_machine},
      {"vae_b128", variational_autoencoder},
  };
}

}  // namespace versus
