#include "libtorch_modules.hpp"

namespace versus {
namespace {

using torch::Tensor;

Side variational_autoencoder() {
  constexpr std::int64_t batch = 128, latent = 20;
  const Layer encode = layer("encode", 784, 400), mean = layer("mean", 400, latent),
              log_var = layer("log_var", 400, latent), decode1 = layer("decode1", latent, 400),
              decode2 = layer("decode2", 400, 784);
  std::vector<Tensor> parameters;
  for (const Layer& linear : {encode, mean, log_var, decode1, decode2})
    for (const Tensor& parameter : linear->parameters()) parameters.push_back(parameter);
  const auto adam = std::make_shared<torch::optim::Adam>(parameters, 1e-3);
  const Tensor x = leaf({batch, 784}, uniforms("x", batch * 784), false);
  const Tensor given = leaf({batch, latent}, normals("noise", batch * latent), false);
  const auto options = F::BinaryCrossEntropyWithLogitsFuncOptions().reduction(torch::kSum);
  const auto loss = [=](bool draw) {
    const Tensor h = torch::relu(encode->forward(x));
    const Tensor m = mean->forward(h), s = log_var->forward(h);
    const Tensor z = m + torch::exp(0.5 * s) * (draw ? torch::randn_like(m) : given);
    const Tensor logits = decode2->forward(torch::relu(decode1->forward(z)));
    return F::binary_cross_entropy_with_logits(logits, x, options) - 0.5 * (1 + s - m.pow(2) - s.exp()).sum();
  };
  Side out = module_side(parameters, adam, [=] { return loss(true); });
  const Side comparable = module_side(parameters, adam, [=] { return loss(false); });
  out.comparable_step = comparable.step;
  out.result = comparable.result;
  return out;
}

Side boltzmann_machine() {
  constexpr std::int64_t batch = 100, visible = 784, hidden = 500;
  const Tensor W = leaf({visible, hidden}, normals("w", visible * hidden, 0.01f), false);
  const Tensor b = leaf({visible}, normals("b", visible, 0.01f), false),
               c = leaf({hidden}, normals("c", hidden, 0.01f), false);
  const Tensor v = (leaf({batch, visible}, uniforms("v", batch * visible), false) > 0.5).to(torch::kFloat);
  Side out;
  out.step = [=]() mutable {
    const torch::NoGradGuard off;
    const Tensor ph = torch::sigmoid(torch::addmm(c, v, W));
    const Tensor h = torch::bernoulli(ph);
    const Tensor vn = torch::bernoulli(torch::sigmoid(torch::addmm(b, h, W.t())));
    const Tensor phn = torch::sigmoid(torch::addmm(c, vn, W));
    W.add_(v.t().mm(ph) - vn.t().mm(phn), 0.001);
    b.add_((v - vn).sum(0), 0.001);
    c.add_((ph - phn).sum(0), 0.001);
  };
  // The difference of the free energies, and what the step would add, downhill.
  auto results = std::make_shared<std::vector<std::vector<float>>>();
  out.comparable_step = [=] {
    const torch::NoGradGuard off;
    const auto sample = [](const Tensor& p) {
      return (leaf(p.sizes(), uniforms("sample", p.numel()), false) < p).to(torch::kFloat);
    };
    const Tensor ph = torch::sigmoid(torch::addmm(c, v, W));
    const Tensor vn = sample(torch::sigmoid(torch::addmm(b, sample(ph), W.t())));
    const Tensor phn = torch::sigmoid(torch::addmm(c, vn, W));
    const auto free_energy = [&](const Tensor& x) {
      return -(torch::softplus(torch::addmm(c, x, W)).sum() + x.mv(b).sum()).item<float>();
    };
    const auto values = [](const Tensor& x) {
      const Tensor whole = x.contiguous();
      return std::vector<float>(whole.data_ptr<float>(), whole.data_ptr<float>() + whole.numel());
    };
    *results = {{free_energy(v) - free_energy(vn)},
                values(vn.t().mm(phn) - v.t().mm(ph)),
                values((vn - v).sum(0)),
                values((phn - ph).sum(0))};
  };
  out.result = [results] { return *results; };
  return out;
}

}  // namespace

Workloads libtorch_generative_models() {
  return {
      {"rbm_cd1_b100", boltzmann_machine},
      {"vae_b128", variational_autoencoder},
  };
}

}  // namespace versus
