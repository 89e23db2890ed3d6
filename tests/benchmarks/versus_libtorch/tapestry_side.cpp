#include <cmath>
#include <map>
#include <memory>
#include <stdexcept>

#include <tapestry/autodiff.hpp>
#include <tapestry/autodiff/elementwise.hpp>
#include <tapestry/prob/chain.hpp>
#include <tapestry/prob/grid.hpp>

#include "workload.hpp"

namespace versus {
namespace {

using tapestry::IndexTensor;
using tapestry::Indices;
using tapestry::Shape;
using tapestry::Tensor;
using Variable = tapestry::Var<float>;

Variable leaf(const Shape& shape, const std::vector<float>& values, bool requires_grad = true) {
  Tensor<float> tensor = tapestry::empty_tensor<float>(shape);
  std::copy(values.begin(), values.end(), tensor.data());
  return Variable(std::move(tensor), requires_grad);
}

Indices index_array(const Shape& shape, const std::vector<std::int64_t>& values) {
  IndexTensor tensor = tapestry::empty_tensor<std::int64_t>(shape);
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

// A step that clears the gradients, records the loss and goes backward.
Side side(std::vector<Variable> parameters, std::function<Variable()> loss) {
  auto last = std::make_shared<float>(0.f);
  Side out;
  out.step = [parameters, loss, last]() mutable {
    for (Variable& parameter : parameters) parameter.zero_gradient();
    const Variable value = loss();
    value.backward();
    *last = value.item();
  };
  out.result = [parameters, last] {
    std::vector<float> all{*last};
    for (const Variable& parameter : parameters) {
      const auto gradient = parameter.gradient();
      all.insert(all.end(), gradient.data(), gradient.data() + parameter.size());
    }
    return all;
  };
  return out;
}

Side chain(std::int64_t batch, std::int64_t steps, std::int64_t states) {
  const Variable unary = leaf({batch, steps, states}, normals("unary", batch * steps * states));
  const Variable transitions = leaf({states, states}, normals("transitions", states * states, 0.1f));
  const Indices states_given = index_array({batch, steps}, labels("states", batch * steps, states));
  return side({unary, transitions}, [=] {
    const tapestry::ChainPotentials<float> potentials{.unary = unary, .transitions = transitions};
    return mean(chain_log_partition(potentials) - chain_score(potentials, states_given));
  });
}

const std::map<std::string, Side (*)()>& table() {
  static const std::map<std::string, Side (*)()> all = {
      {"chain_crf_b32_t50_k25", [] { return chain(32, 50, 25); }},
      {"chain_crf_b8_t25_k9", [] { return chain(8, 25, 9); }},
      {"grid_mf_128_k8_it10",
       [] {
         const Variable unary = leaf({8, 128, 128}, normals("unary", 8 * 128 * 128));
         const Variable compatibility = leaf({8, 8}, normals("compatibility", 64, 0.3f));
         return side({unary, compatibility}, [=] {
           const Variable log_q =
               tapestry::grid_mean_field(unary, compatibility, {.iterations = 10}, tapestry::GridLayout::states_first);
           return sum(tapestry::select(log_q, 0, 0));
         });
       }},
      {"grid_lbp_64_k4_it10",
       [] {
         const Variable unary = leaf({64, 64, 4}, normals("unary", 64 * 64 * 4));
         const Variable pair = leaf({4, 4}, normals("pair", 16, 0.3f));
         return side({unary, pair}, [=] {
           const Variable log_beliefs = tapestry::grid_belief_propagation(unary, pair, pair, {.iterations = 10});
           return sum(tapestry::select(log_beliefs, 2, 0));
         });
       }},
      {"scalar_ops_1000",
       [] {
         const Variable x = leaf({1}, uniforms("x", 1));
         return side({x}, [=] {
           Variable y = x;
           for (int i = 0; i < 500; ++i) {
             y = y * x;
             y = y + x;
           }
           return y;
         });
       }},
      {"eltwise_1M_chain5",
       [] {
         const Variable x = leaf({1000000}, uniforms("x", 1000000));
         return side({x}, [=] { return sum(tanh(sigmoid(x) * x + exp(x))); });
       }},
      {"eltwise_1M_chain5_lambda",
       [] {
         const Variable x = leaf({1000000}, uniforms("x", 1000000));
         return side(
             {x}, [=] { return sum(tapestry::elementwise([](auto a) { return tanh(sigmoid(a) * a + exp(a)); }, x)); });
       }},
      {"bmm_64x64x64",
       [] {
         const Variable a = leaf({64, 64, 64}, normals("a", 64 * 64 * 64));
         const Variable b = leaf({64, 64, 64}, normals("b", 64 * 64 * 64), false);
         return side({a}, [=] { return sum(matmul(a, b)); });
       }},
  };
  return all;
}

}  // namespace

std::vector<std::string> workloads() {
  std::vector<std::string> names;
  for (const auto& [name, make] : table()) names.push_back(name);
  return names;
}

Side tapestry_side(const std::string& workload) {
  return table().at(workload)();
}

void set_tapestry_threads(int count) {
  tapestry::set_threads(count);
}

}  // namespace versus
