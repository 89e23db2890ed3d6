#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <tapestry/prob/inference/table_algebra.hpp>

namespace tapestry::detail {

/// What is done with entries of tables: numbers are multiplied and summed, logarithms added, and the largest taken.
enum class TableDomain { linear, maximum };

/// A factor of a product of tables: data, or data / (scale * divisor) where that is given (0 / 0 = 0); for logarithms
/// data - (scale + divisor). One factor of a product may have a divisor.
struct TableFactor {
  const TableScope* scope;
  const double* data;
  std::size_t size;
  const double* divisor = nullptr;
  double scale = 1;
};

/// What a product of tables sums to over its own variables.
struct TableSum {
  const TableScope* scope;
  double* data;
  std::size_t size;
};

/// Sums of a product of tables, block by block: the product as a whole is never held.
///
/// A block has the last axes of the product's scope; the others are loops around it. A factor is multiplied in at the
/// level of the innermost loop that it depends on, and a sum is taken at the level of its own innermost loop, from
/// blocks summed over the loops within. The order of the loops is chosen so that little is left to do at the innermost
/// one. Small factors of one level are multiplied with each other before, and small sums are taken from a joint one
/// afterwards.
class TableProduct {
 public:
  /// sums[i] = sum of the product of `factors`, all of whose variables are in `scope`.
  void run(TableDomain domain, const TableScope& scope, const std::vector<std::size_t>& cardinalities,
           const std::vector<TableFactor>& factors, const std::vector<TableSum>& sums);
  /// Numbers that run() allocates for a scope of given variables, at most.
  static double scratch(const std::vector<std::size_t>& sizes);

 private:
  using Axes = std::uint64_t;  // of the scope, the outermost first
  // An operand of so many entries does not stay in the second-level cache.
  static constexpr std::size_t large_operand = 32768;

  /// One run of absent axes to be filled or summed out: x[outer][n][inner], without n on the other side.
  struct Step {
    std::size_t outer, n, inner;
  };
  struct Range {
    std::size_t begin = 0, end = 0;
  };
  /// A factor or sum, or several of them in a joint table.
  struct Operand {
    Axes axes = 0;
    const double* data = nullptr;
    const double* divisor = nullptr;
    double scale = 1;
    double* sum = nullptr;
    double* joint = nullptr;
    std::size_t size = 1;
    std::size_t slice = 1;   // entries over the block's axes
    std::size_t offset = 0;  // of the slice for the present state of the loops
    int level = -1;          // of the innermost loop that it depends on
    Range steps;             // between the block and the slice
    Range members;           // of a joint table, in parts_
  };
  struct Level {
    std::size_t axis = 0, size = 1, index = 0;
    Range factors, sums;  // in operands_
    bool wanted = false;  // a sum at a level further out needs blocks summed over this loop
    double* product = nullptr;
    double* total = nullptr;
  };

  void describe(const TableScope& scope, const std::vector<std::size_t>& cardinalities,
                const std::vector<TableFactor>& factors, const std::vector<TableSum>& sums);
  void order_loops();
  Range join(int level, bool sums);
  void lay_out();
  void keep_ratios();
  std::size_t size_of(Axes axes) const;
  Range steps_between(Axes table, Axes sub, bool spreading);
  void multiply_joint(const Operand& joint);
  void part_joint(const Operand& joint);
  void fill(double* to, const double* sub, Range steps, const double* times, bool copy);
  void reduce(const double* table, Range steps, double* sub, bool onto);
  const double* numbers(const Operand& operand, std::size_t offset, std::size_t size);
  std::size_t next_offset(const Operand& operand) const;
  bool first_visit(const Operand& sum) const;
  const double* visit(int level, const double* product, double* target);
  void move(const Level& loop, bool back);

  Level& at(int level) { return levels_[static_cast<std::size_t>(level + 1)]; }
  const Level& at(int level) const { return levels_[static_cast<std::size_t>(level + 1)]; }
  std::size_t& stride(std::size_t operand, std::size_t loop) { return strides_[operand * loops_ + loop]; }

  TableDomain domain_ = TableDomain::linear;
  std::vector<std::size_t> sizes_;  // of all axes
  std::size_t loops_ = 0;           // axes before the block's
  std::size_t block_ = 1;
  std::vector<Operand> parts_;  // as given, and sorted into joint tables
  std::vector<Operand> operands_;
  std::vector<Level> levels_;  // [0] is the block without loops
  std::vector<std::size_t> strides_;
  std::vector<Step> steps_;
  Buffer memory_, joints_, quotient_;
  std::size_t joined_ = 0;
  double* ratio_ = nullptr;
  double* spare_[2] = {nullptr, nullptr};
};

}  // namespace tapestry::detail
