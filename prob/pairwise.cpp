#include <tapestry/prob/pairwise.hpp>

#include <algorithm>
#include <vector>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/prob/composed_propagation.hpp>
#include <tapestry/prob/entry_sums.hpp>
#include <tapestry/prob/pairwise_engine.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry {
namespace {

void check(const PairwiseFactors& factors, const Shape& u, const Shape& p, UnrolledOptions options,
           const std::optional<Indices>& index) {
  constexpr const char* name = "pairwise_belief_propagation";
  if ((u.rank() != 2 && u.rank() != 3) || u[u.rank() - 2] != factors.variables() || u.back() < 1)
    fail<ShapeError>(name, "unary potentials ", u, " for ", factors.variables(), " variables");
  const std::int64_t K = u.back();
  if (K > static_cast<std::int64_t>(detail::PairwiseBeliefPropagationEngine<double>::most_states))
    fail(name, K, " states are more than ", detail::PairwiseBeliefPropagationEngine<double>::most_states);
  const bool batched = p.rank() == 4 && u.rank() == 3 && p[0] == u[0];
  if ((p.rank() != 3 && !batched) || p.back() != K || p[p.rank() - 2] != K)
    fail<ShapeError>(name, "potentials ", p, " do not fit unary potentials ", u);
  const std::int64_t count = p[p.rank() - 3];
  if (index) {
    if (index->shape() != Shape{factors.size()})
      fail<ShapeError>(name, "index ", index->shape(), " for ", factors.size(), " factors");
    for (std::int64_t f = 0; f < factors.size(); ++f)
      if ((*index)[f] < 0 || (*index)[f] >= count)
        fail<IndexError>(name, "factor ", f, " has potential ", (*index)[f], " of ", count);
  } else if (count != factors.size() && count != 1) {
    fail<ShapeError>(name, "potentials ", p, " for ", factors.size(), " factors: one for each, or one for all");
  }
  if (options.iterations < 0 || !(options.damping >= 0 && options.damping < 1))
    fail(name, options.iterations, " iterations with a damping of ", options.damping);
}

PairwiseFactors read_factors(Attributes& a) {
  std::int64_t variables = 0;
  std::vector<std::int64_t> first, second;
  a(variables), a(first), a(second);
  const auto indices = [](const std::vector<std::int64_t>& from) {
    IndexTensor out = empty_tensor<std::int64_t>({static_cast<std::int64_t>(from.size())});
    std::copy(from.begin(), from.end(), out.begin());
    return Indices(std::move(out));
  };
  Attributes::require(variables >= 0 && static_cast<std::size_t>(variables) <= 2 * first.size() + (1 << 20));
  return {variables, indices(first), indices(second)};
}

template <class T>
class PairwiseBeliefPropagation final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  PairwiseBeliefPropagation(const PairwiseFactors& factors, UnrolledOptions options, std::optional<Indices> index)
      : factors_(factors), options_(options), index_(std::move(index)) {}
  explicit PairwiseBeliefPropagation(Attributes& a) : factors_(read_factors(a)) {
    detail::exchange(a, options_), a(index_);
  }
  void attributes(Attributes& a) override {
    const auto graph = factors_.wiring()->graph(1);
    std::int64_t variables = factors_.variables();
    std::vector<std::int64_t> first(graph.first, graph.first + factors_.size()),
        second(graph.second, graph.second + factors_.size());
    a(variables), a(first), a(second), detail::exchange(a, options_), a(index_);
  }
  bool suits(const Shapes& in) override {
    if (in.size() != 2) return false;
    check(factors_, in[0], in[1], options_, index_);
    return true;
  }
  std::string_view name() const override { return "pairwise_belief_propagation"; }
  Shape shape(const Shapes& inputs, int) const override { return inputs[0]; }
  void forward(Forward<T>& context) override {
    const auto unary = context.input(0), potentials = context.input(1);
    const Sizes s = sizes(unary.shape, potentials.shape);
    runs_.clear();
    for (std::size_t b = 0; b < s.batch; ++b) {
      runs_.emplace_back(detail::PairwiseBeliefPropagationEngine<T>(factors_.wiring(), s.states));
      runs_.back().forward({unary.data + b * s.unary, potentials.data + b * s.potential_stride, indices(s)},
                           options_.iterations, static_cast<T>(options_.damping), context.output().data + b * s.unary,
                           true);
    }
  }
  void backward(Backward<T>& context) override {
    const auto unary = context.input(0), potentials = context.input(1);
    const Sizes s = sizes(unary.shape, potentials.shape);
    detail::PoolBuffer<T> grad_unary(s.unary), grad_potentials(context.wants(1) ? s.potentials : 0);
    T* unary_sum = context.wants(0) ? context.add_to(0) : nullptr;
    T* potential_sum = context.wants(1) ? context.add_to(1) : nullptr;
    for (std::size_t b = 0; b < s.batch; ++b) {
      runs_[b].backward({unary.data + b * s.unary, potentials.data + b * s.potential_stride, indices(s)},
                        context.output().data + b * s.unary, context.gradient().data + b * s.unary, s.count,
                        grad_unary.data(), grad_potentials.data());
      for (std::size_t n = 0; unary_sum != nullptr && n < s.unary; ++n)
        unary_sum[b * s.unary + n] += grad_unary.data()[n];
      for (std::size_t n = 0; potential_sum != nullptr && n < s.potentials; ++n)
        potential_sum[b * s.potential_stride + n] += grad_potentials.data()[n];
    }
  }
  void vjp(Vjp<T>& context) override {
    detail::vjp_through<T>(context, [this](const std::vector<Var<T>>& x) {
      const Shape& p = x[1].shape();
      const std::int64_t K = p.back(), count = p[p.rank() - 3], batch = p.rank() == 4 ? p[0] : 1;
      const auto graph = factors_.wiring()->graph(static_cast<std::size_t>(K));
      IndexTensor entries = empty_tensor<std::int64_t>({batch * factors_.size() * K * K});
      std::int64_t* to = entries.data();
      for (std::int64_t b = 0; b < batch; ++b)
        for (std::int64_t f = 0; f < factors_.size(); ++f)
          for (std::int64_t e = 0; e < K * K; ++e)
            *to++ = (b * count + (index_ ? (*index_)[f] : count == factors_.size() ? f : 0)) * K * K + e;
      Shape shape{factors_.size(), K, K};
      if (p.rank() == 4) shape.insert(0, batch);
      const Var<T> tables = reshape(detail::take_entries(x[1], Indices(std::move(entries))), shape);
      return std::vector<Var<T>>{detail::composed_propagation(x[0], tables, graph.first, graph.second, options_)};
    });
  }

 private:
  struct Sizes {
    std::size_t batch, states, count, unary, potentials, potential_stride;
  };
  Sizes sizes(const Shape& unary, const Shape& potentials) const {
    Sizes s{};
    s.batch = unary.rank() == 3 ? static_cast<std::size_t>(unary[0]) : 1;
    s.states = static_cast<std::size_t>(unary.back());
    s.count = static_cast<std::size_t>(potentials[potentials.rank() - 3]);
    s.unary = static_cast<std::size_t>(factors_.variables()) * s.states;
    s.potentials = s.count * s.states * s.states;
    s.potential_stride = potentials.rank() == 4 ? s.potentials : 0;
    return s;
  }
  const std::int64_t* indices(const Sizes& s) {
    if (index_) return index_->data();
    if (s.count == static_cast<std::size_t>(factors_.size())) return nullptr;
    zeros_.assign(static_cast<std::size_t>(factors_.size()), 0);
    return zeros_.data();
  }

  PairwiseFactors factors_;
  UnrolledOptions options_;
  std::optional<Indices> index_;
  std::vector<std::int64_t> zeros_;  // the index of factors that share one potential
  std::vector<detail::PairwiseRun<T>> runs_;
};

}  // namespace

void detail::register_pairwise() {
  register_operations<PairwiseBeliefPropagation>("pairwise_belief_propagation");
}

PairwiseFactors::PairwiseFactors(std::int64_t variables, const Indices& first, const Indices& second) {
  if (first.shape().rank() != 1 || first.shape() != second.shape())
    fail<ShapeError>("PairwiseFactors", "first ", first.shape(), " and second ", second.shape(),
                     " must be of one axis and equally long");
  for (std::int64_t f = 0; f < first.size(); ++f) {
    for (const std::int64_t v : {first[f], second[f]})
      if (v < 0 || v >= variables)
        fail<IndexError>("PairwiseFactors", "factor ", f, " has variable ", v, " of ", variables);
    if (first[f] == second[f])
      fail<IndexError>("PairwiseFactors", "factor ", f, " joins variable ", first[f], " to itself");
  }
  wiring_ = std::make_shared<const detail::PairwiseWiring>(
      static_cast<std::size_t>(variables), static_cast<std::size_t>(first.size()), first.data(), second.data());
}

std::int64_t PairwiseFactors::variables() const {
  return static_cast<std::int64_t>(wiring_->variables());
}
std::int64_t PairwiseFactors::size() const {
  return static_cast<std::int64_t>(wiring_->factors());
}

template <class T>
Var<T> pairwise_belief_propagation(const PairwiseFactors& factors, const Var<T>& unary, const Var<T>& potentials,
                                   UnrolledOptions options, const std::optional<Indices>& index) {
  check(factors, unary.shape(), potentials.shape(), options, index);
  return record(std::make_unique<PairwiseBeliefPropagation<T>>(factors, options, index), unary, potentials);
}

template Var<float> pairwise_belief_propagation(const PairwiseFactors&, const Var<float>&, const Var<float>&,
                                                UnrolledOptions, const std::optional<Indices>&);
template Var<double> pairwise_belief_propagation(const PairwiseFactors&, const Var<double>&, const Var<double>&,
                                                 UnrolledOptions, const std::optional<Indices>&);

}  // namespace tapestry
