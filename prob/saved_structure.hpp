#pragma once

#include <memory>

#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/prob/graph_structure.hpp>

// What the inference operations of a captured program write to its file.
namespace tapestry {

struct UnrolledOptions;

namespace detail {

/// A factor graph's structure. @throws IoError where what is read is none
void exchange(Attributes& a, std::shared_ptr<const GraphStructure>& structure);
/// Whether these are potentials of the structure, for `batch` elements (0: without a batch axis).
bool are_potentials(const GraphStructure& structure, const Shapes& inputs, int first, std::int64_t batch);

/// Iterations and a damping. @throws IoError for others than can be
void exchange(Attributes& a, UnrolledOptions& options);
void require_iterations(std::int64_t iterations, double damping);

void register_chain();
void register_grid();
void register_pairwise();
void register_semi_markov();
void register_entry_sums();
void register_pairwise_passing();
void register_pairwise_mean_field();
void register_messages();
void register_junction_tree();
void register_mean_field();
void register_gaussian_filter();

}  // namespace detail
}  // namespace tapestry
