#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <tapestry/prob/discrete_model.hpp>
#include <tapestry/prob/inference/clique_tree.hpp>

namespace tapestry::detail {

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
  double sweep();
  /// The lower bound: expected score plus entropy; -inf while q allows what factors forbid.
  double bound() const;

  /// Marginals of all variables, one after the other.
  std::vector<double> variables() const;
  /// Products of the clusters' marginals, as the factor's table.
  void factor(std::size_t f, double* out) const;
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
    std::optional<CliqueTree> tree;
    std::vector<std::int64_t> states;  // observed
    std::vector<double> marginals;     // of its variables, one after the other
    double entropy = 0;
  };
  /// The expectation of a factor's table under all parts but one.
  void expect(const Factor& factor, std::size_t except, double* out) const;
  template <class Visit>
  void for_each(const Factor& factor, Visit visit) const;

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
