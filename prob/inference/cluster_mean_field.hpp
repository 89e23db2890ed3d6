#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <tapestry/prob/discrete_model.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>
#include <tapestry/prob/inference/plain_result.hpp>

namespace tapestry::detail {

/// Gradients on their way back through an ascent.
struct FieldGradients {
  std::vector<std::vector<std::vector<double>>> parts;  ///< of each factor's part in each of its clusters
  std::vector<std::vector<double>> tables;              ///< of each factor's table
  PlainGradients given;                                 ///< of what the ascent ends with, until enter()
  double entropy = 0;                                   ///< of the clusters' entropies, until the sweep before
  /// The largest of the parts.
  double remaining() const;
};

/// Mean field over clusters of variables (generalized mean field: Xing, Jordan, Russell 2003): q is a product over
/// clusters, exact inside each by junction tree. One variable a cluster is naive mean field, clusters without cycles
/// are structured mean field.
class ClusterMeanField {
 public:
  /// tables[f]: logarithms, the last variable of the scope fastest. cluster[v] from 0 up.
  /// @throws NumericalError where a cluster needs more than the options' memory
  ClusterMeanField(const std::vector<std::int64_t>& cardinalities, std::vector<std::vector<std::int64_t>> scopes,
                   std::vector<const double*> tables, const Evidence& evidence,
                   const std::vector<std::int64_t>& cluster, const CliqueTreeOptions& options);

  /// Starts from uniform distributions, or from an assignment.
  void start(const std::vector<std::int64_t>* assignment = nullptr);
  /// Each cluster once, given the others. The bound never falls. Returns the largest change of a probability.
  double sweep() { return sweep(nullptr); }
  /// The lower bound: expected score plus entropy; -inf while q allows what factors forbid.
  double bound() const;

  /// Marginals of all variables, one after the other.
  std::vector<double> variables() const;
  /// Products of the clusters' marginals, as the factor's table.
  void factor(std::size_t f, double* out) const;

  /// The probabilities that sweeps depend on.
  using State = std::vector<double>;
  State state() const;
  void set_state(const State& state);
  /// What a sweep replaced.
  struct Replaced {
    std::vector<char> clusters;  ///< whether each was drawn anew
    State probabilities;
  };
  double sweep(Replaced* replaced);

  /// Gradients of what the ascent gives: enter() after the last sweep, then sweep_backward() for each sweep from the
  /// last, with what that sweep replaced; it leaves the state from before the sweep.
  FieldGradients gradients(const PlainGradients& given) const;
  void enter(FieldGradients& gradients) const;
  void sweep_backward(const Replaced& replaced, FieldGradients& gradients);
  void set_tables(const std::vector<const double*>& tables);

  std::int64_t clusters() const { return static_cast<std::int64_t>(clusters_.size()); }

 private:
  /// What a cluster sees of a factor.
  struct Part {
    std::int32_t cluster;
    std::int32_t place;                   // among the cluster's factors
    std::vector<std::size_t> axes;        // of the factor's scope
    std::vector<std::int64_t> variables;  // at these axes
    std::vector<double> probabilities;
  };
  struct Factor {
    const double* table;
    std::vector<std::int64_t> cardinalities;
    std::vector<Part> parts;
    std::size_t size = 1;
  };
  struct Cluster {
    std::vector<std::int64_t> variables;
    std::vector<std::pair<std::int32_t, std::int32_t>> factors;  // factor, part
    std::optional<CliqueTree> tree;                              // of several variables
    std::vector<std::int64_t> states;                            // observed
    std::vector<double> marginals;                               // of its variables, one after the other
    double entropy = 0;
  };
  /// What CliqueTree::sums gives for a cluster's tables.
  void solve(const Cluster& cluster, const std::vector<const double*>& tables, ExactSums& out) const;
  /// A cluster's tables: what it sees of its factors, given the others.
  std::vector<const double*> expect_all(const Cluster& cluster, std::vector<std::vector<double>>& scratch) const;
  /// The derivative of the cluster's part probabilities in a direction of its tables, which is also the gradient of
  /// their product with the direction.
  std::vector<std::vector<double>> curvature(const Cluster& cluster, const std::vector<const double*>& tables,
                                             const std::vector<const double*>& direction) const;
  /// The expectation of a factor's table under all parts but one; of parts of one variable each, these are summed out
  /// one after the other.
  void sum_out(const Factor& factor, std::size_t except, double* out) const;
  void expect(const Factor& factor, std::size_t except, double* out) const;
  /// Calls visit(entry, place) with the entries in the factor's parts of each of its entries.
  template <class Visit>
  void for_each(const Factor& factor, Visit visit) const {
    constexpr std::size_t usual = 8;  // variables of a factor, for which no memory is asked for
    std::size_t few_places[usual];
    std::int64_t few_states[usual] = {};
    std::vector<std::size_t> more_places;
    std::vector<std::int64_t> more_states;
    const std::size_t arity = factor.cardinalities.size();
    if (arity > usual) {
      more_places.resize(factor.parts.size());
      more_states.resize(arity);
    }
    const std::span<std::size_t> place(arity > usual ? more_places.data() : few_places, factor.parts.size());
    const std::span<std::int64_t> states(arity > usual ? more_states.data() : few_states, arity);
    for (std::size_t entry = 0; entry < factor.size; ++entry) {
      for (std::size_t p = 0; p < place.size(); ++p) {
        place[p] = 0;
        for (const std::size_t axis : factor.parts[p].axes)
          place[p] =
              place[p] * static_cast<std::size_t>(factor.cardinalities[axis]) + static_cast<std::size_t>(states[axis]);
      }
      visit(entry, place);
      for (std::size_t i = states.size(); i > 0 && ++states[i - 1] == factor.cardinalities[i - 1]; --i)
        states[i - 1] = 0;
    }
  }

  std::vector<std::int64_t> cardinalities_;
  std::vector<Factor> factors_;
  std::vector<Cluster> clusters_;
};

/// The variables of each cluster.
std::vector<std::vector<std::int64_t>> members_of(const std::vector<std::int64_t>& cluster);
/// A cluster for each variable.
std::vector<std::int64_t> single_clusters(std::int64_t variables);
/// Clusters inside which factors form no cycles, grown along the factors.
std::vector<std::int64_t> tree_clusters(std::int64_t variables, const std::vector<std::vector<std::int64_t>>& scopes);
/// Clusters of about `size` variables with few factors between them (METIS: Karypis and Kumar 1998), smaller where
/// tables would need more than `memory_limit` bytes.
std::vector<std::int64_t> partition_clusters(const std::vector<std::int64_t>& cardinalities,
                                             const std::vector<std::vector<std::int64_t>>& scopes, std::int64_t size,
                                             double memory_limit);

}  // namespace tapestry::detail
