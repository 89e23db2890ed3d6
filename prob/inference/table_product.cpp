#include <tapestry/prob/inference/table_product.hpp>

#include <algorithm>

#include <tapestry/prob/kernels/table_blocks.hpp>

namespace tapestry::detail {

/// to = times * (sub spread), or sub spread where `copy`.
void TableProduct::fill(double* to, const double* sub, Range steps, const double* times, bool copy) {
  const auto& k = kernels<TableBlockKernels>();
  for (std::size_t s = steps.begin; s + 1 < steps.end; ++s) {
    double* spare = spare_[(s - steps.begin) & 1];
    k.spread(spare, steps_[s].outer, steps_[s].n, steps_[s].inner, sub);
    sub = spare;
  }
  const Step& last = steps_[steps.end - 1];
  if (copy)
    k.spread(to, last.outer, last.n, last.inner, sub);
  else
    (domain_ == TableDomain::linear ? k.multiply : k.add)(to, last.outer, last.n, last.inner, sub, times);
}

void TableProduct::reduce(const double* table, Range steps, double* sub, bool onto) {
  const auto& k = kernels<TableBlockKernels>();
  const bool linear = domain_ == TableDomain::linear;
  const auto first = linear ? k.sum : k.max, again = linear ? k.sum_onto : k.max_onto;
  for (std::size_t s = steps.begin; s < steps.end; ++s) {
    const bool last = s + 1 == steps.end;
    double* to = last ? sub : spare_[(s - steps.begin) & 1];
    (last && onto ? again : first)(table, steps_[s].outer, steps_[s].n, steps_[s].inner, to);
    table = to;
  }
}

const double* TableProduct::numbers(const Operand& operand, std::size_t offset, std::size_t size) {
  const double* data = operand.data + offset;
  if (operand.divisor == nullptr) return data;
  const auto& k = kernels<TableBlockKernels>();
  (domain_ == TableDomain::linear ? k.ratio : k.difference)(data, operand.divisor + offset, operand.scale, ratio_,
                                                            size);
  return ratio_;
}

void TableProduct::multiply_joint(const Operand& joint) {
  for (std::size_t m = joint.members.begin; m < joint.members.end; ++m)
    fill(joint.joint, numbers(parts_[m], 0, parts_[m].size), parts_[m].steps, joint.joint, m == joint.members.begin);
}

void TableProduct::part_joint(const Operand& joint) {
  for (std::size_t m = joint.members.begin; m < joint.members.end; ++m)
    reduce(joint.joint, parts_[m].steps, parts_[m].sum, false);
}

/// Where the operand's slice lies when its level is reached again.
std::size_t TableProduct::next_offset(const Operand& operand) const {
  const auto o = static_cast<std::size_t>(&operand - operands_.data());
  std::size_t offset = operand.offset;
  for (int level = operand.level; level >= 0; --level) {
    const Level& loop = at(level);
    const std::size_t step = strides_[o * loops_ + loop.axis];
    if (loop.index + 1 < loop.size) return offset + step;
    offset -= step * loop.index;
  }
  return offset;
}

/// Whether nothing has been added to this part of the sum: all loops that it does not depend on have just begun.
bool TableProduct::first_visit(const Operand& sum) const {
  for (int level = 0; level < sum.level; ++level)
    if ((sum.axes >> at(level).axis & 1) == 0 && at(level).index != 0) return false;
  return true;
}

void TableProduct::move(const Level& loop, bool back) {
  for (std::size_t o = 0; o < operands_.size(); ++o) {
    const std::size_t step = stride(o, loop.axis);
    operands_[o].offset += back ? -step * loop.size : step;
  }
}

/// The block at this state of the loops up to `level`, summed over those within where that is wanted: in `target`, or
/// where it was already.
const double* TableProduct::visit(int level, const double* product, double* target) {
  const auto& k = kernels<TableBlockKernels>();
  const bool linear = domain_ == TableDomain::linear;
  const bool innermost = level + 2 == static_cast<int>(levels_.size());
  const Range factors = at(level).factors, sums = at(level).sums;
  for (std::size_t o = factors.begin; o < factors.end; ++o) {
    const Operand& factor = operands_[o];
    if (factor.size >= large_operand) {
      const std::size_t next = next_offset(factor);
      k.prefetch(factor.data + next, factor.slice);
      if (factor.divisor != nullptr) k.prefetch(factor.divisor + next, factor.slice);
    }
    double* to = innermost ? target : at(level).product;
    fill(to, numbers(factor, factor.offset, factor.slice), factor.steps, product, product == nullptr);
    product = to;
  }
  const double* block = product;
  if (innermost) {
    if (block == nullptr) {
      std::fill(target, target + block_, linear ? 1.0 : 0.0);
      block = target;
    }
  } else {
    Level& loop = at(level + 1);
    for (loop.index = 0; loop.index < loop.size; ++loop.index) {
      double* to = loop.index == 0 && loop.wanted ? target : loop.total;
      const double* part = visit(level + 1, product, to);
      move(loop, false);
      if (!loop.wanted) continue;
      if (loop.index > 0)
        (linear ? k.sum_onto : k.max_onto)(part, 1, 1, block_, target);
      else if (part != target)
        k.sum(part, 1, 1, block_, target);
    }
    loop.index = 0;
    move(loop, true);
    block = target;
  }
  for (std::size_t o = sums.begin; o < sums.end; ++o)
    reduce(block, operands_[o].steps, operands_[o].sum + operands_[o].offset, !first_visit(operands_[o]));
  return block;
}

void TableProduct::run(TableDomain domain, const TableScope& scope, const std::vector<std::size_t>& cardinalities,
                       const std::vector<TableFactor>& factors, const std::vector<TableSum>& sums) {
  domain_ = domain;
  describe(scope, cardinalities, factors, sums);
  order_loops();
  lay_out();
  for (const Operand& operand : operands_)
    if (operand.joint != nullptr && operand.sum == nullptr) multiply_joint(operand);
  visit(-1, nullptr, at(-1).total);
  for (const Operand& operand : operands_)
    if (operand.joint != nullptr && operand.sum != nullptr) part_joint(operand);
}

}  // namespace tapestry::detail
