#pragma once

#include <vector>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry::detail {

/// One distribution among marginals, and the label that it is judged by.
struct LabelledMarginal {
  std::int64_t row;      ///< of the result
  std::int64_t first;    ///< element of the marginals
  std::int64_t entries;  ///< of the distribution
  std::int64_t label;    ///< among them
};

/// Sums of -log of the labels' probabilities, or of squared distances from the labels' indicators: [rows].
template <class T>
Var<T> marginal_loss(const Var<T>& marginals, const std::vector<LabelledMarginal>& labelled, std::int64_t rows,
                     bool quadratic);

/// Elements of x at the entries (-1: -inf), added up by rows: [rows].
template <class T>
Var<T> sum_by_row(const Var<T>& x, const std::vector<std::int64_t>& entries, const std::vector<std::int64_t>& row,
                  std::int64_t rows);

/// [n, 1]
Indices column(const std::vector<std::int64_t>& values);

}  // namespace tapestry::detail
