#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/grid.hpp>

#include "tapestry_side.hpp"

namespace versus {
namespace {

Side chain(std::int64_t batch, std::int64_t steps, std::int64_t states) {
  const Variable unary = leaf({batch, steps, states}, normals("unary", batch * steps * states));
  const Variable transitions = leaf({states, states}, normals("transitions", states * states, 0.1f));
  const tapestry::Indices states_given = index_array({batch, steps}, labels("states", batch * steps, states));
  return side({unary, transitions}, [=] {
    const tapestry::ChainPotentials<float> potentials{.unary = unary, .transitions = transitions};
    return mean(chain_log_partition(potentials) - chain_score(potentials, states_given));
  });
}

Side grid_mean_field() {
  const Variable unary = leaf({8, 128, 128}, normals("unary", 8 * 128 * 128));
  const Variable compatibility = leaf({8, 8}, normals("compatibility", 64, 0.3f));
  return side({unary, compatibility}, [=] {
    const Variable log_q =
        tapestry::grid_mean_field(unary, compatibility, {.iterations = 10}, tapestry::GridLayout::states_first);
    return sum(tapestry::select(log_q, 0, 0));
  });
}

Side grid_belief_propagation() {
  const Variable unary = leaf({64, 64, 4}, normals("unary", 64 * 64 * 4));
  const Variable pair = leaf({4, 4}, normals("pair", 16, 0.3f));
  return side({unary, pair}, [=] {
    const Variable log_beliefs = tapestry::grid_belief_propagation(unary, pair, pair, {.iterations = 10});
    return sum(tapestry::select(log_beliefs, 2, 0));
  });
}

}  // namespace

Workloads tapestry_graphical_models() {
  return {
      {"chain_crf_b32_t50_k25", [] { return chain(32, 50, 25); }},
      {"chain_crf_b8_t25_k9", [] { return chain(8, 25, 9); }},
      {"grid_mf_128_k8_it10", grid_mean_field},
      {"grid_lbp_64_k4_it10", grid_belief_propagation},
  };
}

}  // namespace versus
