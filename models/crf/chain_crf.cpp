#include <tapestry/models/crf/chain_crf.hpp>

#include <algorithm>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>

namespace tapestry {

template <class T>
ChainTransitions<T>::ChainTransitions(std::int64_t states)
    : transitions(Var<T>::filled({states, states}, 0, true)),
      start(Var<T>::filled({states}, 0, true)),
      end(Var<T>::filled({states}, 0, true)) {}

template <class T>
Var<T> chain_loss(const ChainPotentials<T>& potentials, const Indices& labels, const StructuredLoss& loss) {
  std::int64_t items = labels.size();
  if (potentials.lengths) {
    items = 0;
    for (std::int64_t i = 0; i < potentials.lengths->size(); ++i) items += (*potentials.lengths)[i];
  }
  return sum(structured_loss(potentials, labels, loss)) / static_cast<T>(std::max<std::int64_t>(items, 1));
}

#define TAPESTRY_INSTANTIATE(T)        \
  template struct ChainTransitions<T>; \
  template Var<T> chain_loss(const ChainPotentials<T>&, const Indices&, const StructuredLoss&);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)

}  // namespace tapestry
