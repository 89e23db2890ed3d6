#include "libtorch_side.hpp"

namespace versus {
namespace {

using torch::Tensor;

// The forward recursion in log space.
Side chain(std::int64_t batch, std::int64_t steps, std::int64_t states) {
  const Tensor unary = leaf({batch, steps, states}, normals("unary", batch * steps * states));
  const Tensor transitions = leaf({states, states}, normals("transitions", states * states, 0.1f));
  const Tensor y = torch::tensor(labels("states", batch * steps, states)).reshape({batch, steps});
  return side({unary, transitions}, [=] {
    const auto u = unary.unbind(1);
    Tensor alpha = u[0];
    for (std::size_t t = 1; t < u.size(); ++t)
      alpha = torch::logsumexp(alpha.unsqueeze(2) + transitions.unsqueeze(0), 1) + u[t];
    const Tensor score = unary.gather(2, y.unsqueeze(2)).squeeze(2).sum(1) +
                         transitions.index({y.slice(1, 0, steps - 1), y.slice(1, 1, steps)}).sum(1);
    return (torch::logsumexp(alpha, 1) - score).mean();
  });
}

Side grid_mean_field() {
  const std::int64_t H = 128, W = 128, K = 8;
  const Tensor unary = leaf({1, K, H, W}, normals("unary", K * H * W));
  const Tensor compatibility = leaf({K, K}, normals("compatibility", K * K, 0.3f));
  return side({unary, compatibility}, [=] {
    Tensor q = torch::softmax(unary, 1);
    for (int i = 0; i < 10; ++i) {
      const Tensor p = torch::constant_pad_nd(q, {1, 1, 1, 1});
      const Tensor sum = p.slice(2, 0, H).slice(3, 1, W + 1) + p.slice(2, 2, H + 2).slice(3, 1, W + 1) +
                         p.slice(2, 1, H + 1).slice(3, 0, W) + p.slice(2, 1, H + 1).slice(3, 2, W + 2);
      q = torch::softmax(unary + compatibility.mm(sum.view({K, -1})).view({1, K, H, W}), 1);
    }
    return q.log().select(1, 0).sum();
  });
}

Side grid_belief_propagation() {
  const int N = 64, K = 4;
  const Tensor unary = leaf({N, N, K}, normals("unary", N * N * K));
  const Tensor pair = leaf({K, K}, normals("pair", K * K, 0.3f));
  return side({unary, pair}, [=] {
    const auto shift = [&](const Tensor& m, int dim, int direction) {
      const Tensor edge = torch::zeros_like(m.slice(dim, 0, 1));
      return direction > 0 ? torch::cat({edge, m.slice(dim, 0, N - 1)}, dim)
                           : torch::cat({m.slice(dim, 1, N), edge}, dim);
    };
    const auto message = [&](const Tensor& cavity, const Tensor& potential) {
      const Tensor m = torch::logsumexp(cavity.unsqueeze(3) + potential, 2);
      return m - torch::logsumexp(m, 2, true);
    };
    Tensor right = torch::zeros({N, N, K}), left = right, down = right, up = right;
    for (int i = 0; i < 10; ++i) {
      const Tensor belief = unary + right + left + down + up;
      const Tensor r = shift(message(belief - left, pair), 1, 1), l = shift(message(belief - right, pair.t()), 1, -1);
      const Tensor d = shift(message(belief - up, pair), 0, 1), u = shift(message(belief - down, pair.t()), 0, -1);
      right = r, left = l, down = d, up = u;
    }
    return torch::log_softmax(unary + right + left + down + up, 2).select(2, 0).sum();
  });
}

}  // namespace

Workloads libtorch_graphical_models() {
  return {
      {"chain_crf_b32_t50_k25", [] { return chain(32, 50, 25); }},
      {"chain_crf_b8_t25_k9", [] { return chain(8, 25, 9); }},
      {"grid_mf_128_k8_it10", grid_mean_field},
      {"grid_lbp_64_k4_it10", grid_belief_propagation},
  };
}

}  // namespace versus
