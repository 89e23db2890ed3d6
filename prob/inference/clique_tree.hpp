#pragma once

#include <cstdint>
#include <vector>

#include <tapestry/prob/inference/elimination_order.hpp>
#include <tapestry/prob/inference/table_product.hpp>

namespace tapestry {

struct CliqueTreeOptions {
  EliminationOptions order = {};
  /// What the tables may need, in bytes; beyond it the constructor throws before they are allocated.
  double memory_limit = 4294967296.0;
  /// What will be asked for: memory is planned for these.
  bool log_partition = true, marginals = true, factor_marginals = true, maximum = true;
  /// Whether memory is planned for potentials that leave the range of a double. If not, sums() itself throws where they
  /// do and logarithms need more than the limit.
  bool any_range = true;
};

/// Whether tables hold numbers or their logarithms.
enum class TableScale { linear, logarithm };

/// Sums over all assignments.
struct ExactSums {
  /// -inf where no assignment is possible; there are no marginals then.
  double log_partition = 0;
  bool possible = true;
  std::vector<double> variables;  ///< marginals of all variables, one after the other
  std::vector<double> factors;    ///< marginals of all factors, as their tables; zero where evidence excludes
};

/// The best assignment.
struct ExactMaximum {
  double log_value = 0;  ///< -inf where no assignment is possible
  bool possible = true;
  std::vector<std::int64_t> assignment;  ///< of all variables, observed ones included
};

/// The plan for exact inference in factors of given scopes: a junction tree of maximal cliques, after removal of the
/// observed variables and those of one state. It is made once, and used with any tables and observed states.
///
/// Hugin propagation (Jensen, Lauritzen, Olesen 1990): one pass to the root, one back. Messages over separators are
/// kept; a clique's table is multiplied together block by block in each pass, and summed while it is in the cache
/// (Shenoy and Shafer keep no clique tables either). Numbers are scaled probabilities; where a product might leave the
/// range of a double, the whole is done again with logarithms, one clique's table at a time.
class CliqueTree {
 public:
  /// @throws NumericalError with the width and the memory needed where that is beyond the limit; IndexError or
  /// ShapeError for scopes out of range.
  CliqueTree(std::vector<std::int64_t> cardinalities, std::vector<std::vector<std::int64_t>> scopes,
             const std::vector<std::int64_t>& observed = {}, const CliqueTreeOptions& options = {});

  /// Variables of the largest clique, less one.
  std::int64_t width() const { return width_; }
  /// What inference allocates at most, of what was planned for.
  double bytes() const { return bytes_; }
  /// The same where potentials leave the range of a double, whether planned for or not.
  double logarithm_bytes() const { return logarithm_bytes_; }
  /// Entries of all cliques.
  double entries() const { return entries_; }
  std::int64_t cliques() const { return static_cast<std::int64_t>(cliques_.size()); }
  /// Entries of each clique, and of what it shares with its parent.
  std::vector<std::pair<double, double>> clique_entries() const;

  /// Log-partition, and if asked the marginals. tables[f] points at the table of factor f, the last variable of its
  /// scope fastest; states are those of the observed variables, in the order given to the constructor.
  /// @throws NumericalError for NaN and +inf, and where logarithms need more memory than the limit
  ExactSums sums(const std::vector<const double*>& tables, TableScale scale, const std::vector<std::int64_t>& states,
                 bool variable_marginals, bool factor_marginals) const;
  /// The most probable assignment given the observed states (max-product).
  ExactMaximum maximum(const std::vector<const double*>& tables, TableScale scale,
                       const std::vector<std::int64_t>& states) const;

 private:
  struct Clique {
    detail::TableScope scope;      // positions in the elimination order
    detail::TableScope separator;  // shared with the parent
    std::int32_t parent = -1;
    std::size_t size = 1, separator_size = 1;
    std::size_t separator_offset = 0;
    std::vector<std::int32_t> factors, children;
    std::vector<std::int32_t> variables;  // whose marginals are taken from it: it is their smallest
  };
  /// A factor without its observed variables.
  struct Factor {
    detail::TableScope scope;                                    // free variables, by position
    std::vector<std::size_t> strides;                            // of these in the whole table
    std::vector<std::pair<std::int32_t, std::size_t>> observed;  // index of the observation, stride
    std::size_t size = 1, whole = 1, offset = 0, whole_offset = 0;
    std::int32_t clique = -1;
  };
  struct Workspace;

  void build(const EliminationOrder& order);
  void place_factors();
  void plan_memory(const std::vector<std::vector<std::int64_t>>& scopes, const std::vector<std::int32_t>& position,
                   const CliqueTreeOptions& options);
  std::size_t size_of_scope(const detail::TableScope& scope) const;
  bool load_factors(Workspace& work, const std::vector<const double*>& tables, TableScale scale,
                    const std::vector<std::int64_t>& states) const;
  std::vector<detail::TableFactor> product_of(const Workspace& work, std::size_t clique) const;
  void sum_clique(Workspace& work, std::size_t clique, const std::vector<detail::TableSum>& sums) const;
  bool collect(Workspace& work) const;
  void distribute(Workspace& work, double* variables, double* factors) const;
  std::vector<double> observed_marginals(const std::vector<std::int64_t>& states) const;
  void whole_factor_marginals(double* marginals, const std::vector<std::int64_t>& states,
                              std::vector<double>& out) const;
  void check(const std::vector<const double*>& tables, const std::vector<std::int64_t>& states) const;

  std::vector<std::int64_t> cardinalities_;
  std::vector<std::int64_t> observed_;
  std::vector<std::int32_t> observation_;     // of each variable: index in observed_, -2 for one state, -1 else
  std::vector<std::int64_t> variable_at_;     // position in the order to variable
  std::vector<std::size_t> position_states_;  // position to number of states
  std::vector<std::size_t> variable_offset_;  // in the flat marginals
  std::vector<Clique> cliques_;               // children before parents
  std::vector<Factor> factors_;
  std::vector<std::int32_t> home_;  // position to the clique that eliminates it
  std::size_t separator_entries_ = 0, factor_entries_ = 0, whole_entries_ = 0, largest_ = 1;
  std::int64_t width_ = 0;
  double entries_ = 0, bytes_ = 0, logarithm_bytes_ = 0, memory_limit_ = 0;
};

}  // namespace tapestry
