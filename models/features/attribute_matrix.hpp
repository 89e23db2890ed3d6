#pragma once

#include <cstdint>

#include <tapestry/autodiff/ops/sparse.hpp>
#include <tapestry/models/features/encoder.hpp>

namespace tapestry {

/// The attributes of the items of one sequence as a constant sparse matrix [items, attributes]. Times learned weights
/// [attributes, labels] it gives the items' scores: unary potentials by templates for a graph of any structure.
///
///     graph.add_unary("unary", words, matmul(attribute_matrix<float>(data, sequence, attributes), weights));
///
/// @throws IndexError for a sequence that does not exist or an attribute beyond the count
template <class T>
CsrMatrix<T> attribute_matrix(const SparseSequences& data, std::int64_t sequence, std::int64_t attributes);

}  // namespace tapestry
