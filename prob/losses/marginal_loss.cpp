#include <tapestry/prob/losses/marginal_loss.hpp>

#include <algorithm>

#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/prob/entry_sums.hpp>

namespace tapestry::detail {

Indices column(const std::vector<std::int64_t>& values) {
  IndexTensor out = empty_tensor<std::int64_t>({static_cast<std::int64_t>(values.size()), 1});
  std::copy(values.begin(), values.end(), out.data());
  return Indices(std::move(out));
}

template <class T>
Var<T> marginal_loss(const Var<T>& marginals, const std::vector<LabelledMarginal>& labelled, std::int64_t rows,
                     bool quadratic) {
  std::vector<std::int64_t> entries, row;
  std::vector<T> target;
  for (const auto& one : labelled)
    for (std::int64_t k = quadratic ? 0 : one.label; k < (quadratic ? one.entries : one.label + 1); ++k) {
      entries.push_back(one.first + k);
      row.push_back(one.row);
      target.push_back(k == one.label ? T(1) : T(0));
    }
  const Var<T> picked = sum_entries(marginals, column(entries));
  if (!quadratic) return spread_entries(-log(picked), column(row), Shape{rows});
  Tensor<T> indicator = empty_tensor<T>({static_cast<std::int64_t>(target.size())});
  std::copy(target.begin(), target.end(), indicator.data());
  return spread_entries(square(picked - Var<T>(std::move(indicator))), column(row), Shape{rows});
}

template <class T>
Var<T> sum_by_row(const Var<T>& x, const std::vector<std::int64_t>& entries, const std::vector<std::int64_t>& row,
                  std::int64_t rows) {
  return spread_entries(sum_entries(x, column(entries)), column(row), Shape{rows});
}

#define TAPESTRY_INSTANTIATE(T)                                                                                 \
  template Var<T> marginal_loss(const Var<T>&, const std::vector<LabelledMarginal>&, std::int64_t, bool);       \
  template Var<T> sum_by_row(const Var<T>&, const std::vector<std::int64_t>&, const std::vector<std::int64_t>&, \
                             std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
