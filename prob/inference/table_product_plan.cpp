#include <tapestry/prob/inference/table_product.hpp>

#include <algorithm>
#include <bit>

#include <tapestry/prob/kernels/table_blocks.hpp>

// How a product of tables is taken: its loops, joint tables, and where everything lies.
namespace tapestry::detail {
namespace {

// Doubles in a block: three blocks fit into the first-level cache.
constexpr std::size_t most_block = 2048;
// Blocks below this are not worth joint tables.
constexpr std::size_t least_joint_block = 256;
// Loops of so many entries fill vectors of any instruction set.
constexpr std::size_t full_vector = 8;
// Slices from this size on are seldom joined.
constexpr std::size_t large_slice = 128;

/// How many axes are loops around the block.
std::size_t loops_around(const std::vector<std::size_t>& sizes) {
  std::size_t loops = sizes.size(), block = 1;
  while (loops > 0 && (loops == sizes.size() || block * sizes[loops - 1] <= most_block)) block *= sizes[--loops];
  return loops;
}

}  // namespace

double TableProduct::scratch(const std::vector<std::size_t>& sizes) {
  const std::size_t loops = loops_around(sizes);
  double block = 1;
  for (std::size_t i = loops; i < sizes.size(); ++i) block *= static_cast<double>(sizes[i]);
  const auto levels = static_cast<double>(loops + 1);
  return block * (2 * levels + 3 + 4 * levels);
}

std::size_t TableProduct::size_of(Axes axes) const {
  std::size_t size = 1;
  for (; axes != 0; axes &= axes - 1) size *= sizes_[static_cast<std::size_t>(std::countr_zero(axes))];
  return size;
}

void TableProduct::describe(const TableScope& scope, const std::vector<std::size_t>& cardinalities,
                            const std::vector<TableFactor>& factors, const std::vector<TableSum>& sums) {
  sizes_.clear();
  for (const std::int32_t v : scope) sizes_.push_back(cardinalities[static_cast<std::size_t>(v)]);
  loops_ = loops_around(sizes_);
  block_ = 1;
  for (std::size_t axis = loops_; axis < sizes_.size(); ++axis) block_ *= sizes_[axis];
  const auto axes_of = [&](const TableScope& own) {
    Axes axes = 0;
    std::size_t axis = 0;
    for (const std::int32_t v : own) {
      while (scope[axis] != v) ++axis;
      axes |= Axes{1} << axis;
    }
    return axes;
  };
  parts_.clear();
  for (const auto& factor : factors) {
    Operand& part = parts_.emplace_back();
    part.axes = axes_of(*factor.scope);
    part.data = factor.data;
    part.divisor = factor.divisor;
    part.scale = factor.scale;
    part.size = factor.size;
  }
  for (const auto& sum : sums) {
    Operand& part = parts_.emplace_back();
    part.axes = axes_of(*sum.scope);
    part.sum = sum.data;
    part.size = sum.size;
  }
  if (loops_ == 0)
    for (Operand& part : parts_) part.slice = part.size;
  else
    for (Operand& part : parts_) part.slice = size_of(part.axes >> loops_ << loops_);
}

/// Orders the loops, innermost first: the one that the fewest operands depend on which do not depend on loops within,
/// large ones counting more.
void TableProduct::order_loops() {
  levels_.assign(loops_ + 1, {});
  Axes left = (Axes{1} << loops_) - 1;
  for (int level = static_cast<int>(loops_) - 1; level >= 0; --level) {
    std::size_t cost[64] = {};
    for (const Operand& part : parts_)
      if (part.level < 0)
        for (Axes axes = part.axes & left; axes != 0; axes &= axes - 1)
          cost[std::countr_zero(axes)] += part.size >= large_operand ? 32 : part.slice >= large_slice ? 4 : 1;
    auto best = static_cast<std::size_t>(std::countr_zero(left));
    for (std::size_t axis = best; axis < loops_; ++axis)
      if ((left >> axis & 1) != 0 && cost[axis] < cost[best]) best = axis;
    left &= ~(Axes{1} << best);
    at(level).axis = best;
    at(level).size = sizes_[best];
    for (Operand& part : parts_)
      if (part.level < 0 && (part.axes >> best & 1) != 0) part.level = level;
  }
}

/// Makes operands of the factors or sums of one level, several in a joint table where that costs less than passing
/// blocks for each.
TableProduct::Range TableProduct::join(int level, bool sums) {
  const std::size_t begin = operands_.size();
  if (loops_ == 0 && block_ < least_joint_block) {  // nothing to sort or to join
    for (const Operand& part : parts_)
      if ((part.sum != nullptr) == sums) operands_.push_back(part);
    return {begin, operands_.size()};
  }
  const auto from = std::partition_point(parts_.begin(), parts_.end(), [&](const Operand& part) {
    return (part.sum != nullptr) < sums || ((part.sum != nullptr) == sums && part.level < level);
  });
  const auto to = std::find_if(
      from, parts_.end(), [&](const Operand& part) { return (part.sum != nullptr) != sums || part.level != level; });
  std::size_t passes = block_;
  for (int l = 0; l <= level; ++l) passes *= at(l).size;
  struct Group {
    Axes axes;
    std::size_t size, members;
    std::size_t cost() const { return members > 1 ? members * size : 0; }
  };
  std::vector<Group> groups;
  std::vector<std::size_t> owner;
  std::size_t room = 2 * block_;
  for (auto part = from; part != to; ++part) {
    std::size_t best = groups.size(), best_cost = block_ >= least_joint_block ? passes / 2 : 0;
    Group best_group{part->axes, part->size, 1};
    for (std::size_t g = 0; best_cost > 0 && g < groups.size(); ++g) {
      const Group joint{groups[g].axes | part->axes, size_of(groups[g].axes | part->axes), groups[g].members + 1};
      const std::size_t more = joint.cost() - groups[g].cost();
      const std::size_t need = joint.size - (groups[g].members > 1 ? groups[g].size : 0);
      if (more >= best_cost || joint.size > block_ || need > room) continue;
      best = g;
      best_cost = more;
      best_group = joint;
    }
    if (best == groups.size())
      groups.push_back(best_group);
    else
      room -= best_group.size - (groups[best].members > 1 ? groups[best].size : 0), groups[best] = best_group;
    owner.push_back(best);
  }
  // The members of a joint table, one after the other.
  std::vector<Operand> sorted;
  const auto first = static_cast<std::size_t>(from - parts_.begin());
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::size_t start = sorted.size();
    for (std::size_t i = 0; i < owner.size(); ++i)
      if (owner[i] == g) sorted.push_back(parts_[first + i]);
    Operand& operand = operands_.emplace_back(sorted.back());
    if (groups[g].members == 1) continue;
    operand = {};
    operand.axes = groups[g].axes;
    operand.size = groups[g].size;
    operand.slice = size_of(operand.axes >> loops_ << loops_);
    operand.level = level;
    operand.members = {first + start, first + sorted.size()};
    double* table = joints_.data() + joined_;
    joined_ += operand.size;
    operand.joint = table;
    operand.data = table;
    if (sums) operand.sum = table;
  }
  std::copy(sorted.begin(), sorted.end(), from);
  for (std::size_t o = begin; o < operands_.size(); ++o)
    for (std::size_t m = operands_[o].members.begin; m < operands_[o].members.end; ++m)
      parts_[m].steps = steps_between(operands_[o].axes, parts_[m].axes, !sums);
  return {begin, operands_.size()};
}

void TableProduct::lay_out() {
  steps_.clear();
  operands_.clear();
  if (loops_ > 0 || block_ >= least_joint_block)
    std::sort(parts_.begin(), parts_.end(), [](const Operand& a, const Operand& b) {
      const bool sum_a = a.sum != nullptr, sum_b = b.sum != nullptr;
      if (sum_a != sum_b) return sum_b;
      if (a.level != b.level) return a.level < b.level;
      if (a.size != b.size) return a.size > b.size;
      return a.axes < b.axes;
    });
  const std::size_t joined = block_ >= least_joint_block ? 4 * block_ * levels_.size() : 0;
  if (joints_.size() < joined) {
    joints_ = Buffer();  // before the larger one
    joints_ = Buffer(joined);
  }
  joined_ = 0;
  Axes block = 0;
  for (std::size_t axis = loops_; axis < sizes_.size(); ++axis) block |= Axes{1} << axis;
  int outermost = static_cast<int>(loops_);
  for (const bool sums : {false, true})
    for (int level = -1; level < static_cast<int>(loops_); ++level) {
      const Range range = join(level, sums);
      (sums ? at(level).sums : at(level).factors) = range;
      if (sums && range.begin < range.end) outermost = std::min(outermost, level);
      for (std::size_t o = range.begin; o < range.end; ++o)
        operands_[o].steps = steps_between(block, operands_[o].axes & block, !sums);
    }
  keep_ratios();
  strides_.assign(operands_.size() * loops_, 0);
  for (std::size_t o = 0; loops_ > 0 && o < operands_.size(); ++o) {
    std::size_t next = operands_[o].slice;
    for (std::size_t axis = loops_; axis-- > 0;)
      if ((operands_[o].axes >> axis & 1) != 0) {
        stride(o, axis) = next;
        next *= sizes_[axis];
      }
  }
  const std::size_t blocks = 2 * levels_.size() + 3;
  if (memory_.size() < blocks * block_) {
    memory_ = Buffer();
    memory_ = Buffer(blocks * block_);
  }
  double* next = memory_.data();
  const auto take = [&] {
    next += block_;
    return next - block_;
  };
  ratio_ = take();
  spare_[0] = take();
  spare_[1] = take();
  for (std::size_t l = 0; l < levels_.size(); ++l) {
    levels_[l].product = take();
    levels_[l].total = take();
    levels_[l].wanted = static_cast<int>(l) - 1 > outermost;
  }
}

/// Divides once what the loops pass several times.
void TableProduct::keep_ratios() {
  const auto& k = kernels<TableBlockKernels>();
  for (Operand& operand : operands_) {
    std::size_t visits = 1;
    for (int level = 0; level <= operand.level; ++level) visits *= at(level).size;
    if (operand.divisor == nullptr || visits * operand.slice <= operand.size) continue;
    if (quotient_.size() < operand.size) {
      quotient_ = Buffer();
      quotient_ = Buffer(operand.size);
    }
    (domain_ == TableDomain::linear ? k.ratio : k.difference)(operand.data, operand.divisor, operand.scale,
                                                              quotient_.data(), operand.size);
    operand.data = quotient_.data();
    operand.divisor = nullptr;
  }
}

/// How a table is filled from a smaller one, or summed onto it: one run of absent axes after the other, all but the one
/// with the widest loops while the table is small.
TableProduct::Range TableProduct::steps_between(Axes table, Axes sub, bool spreading) {
  struct Run {
    std::size_t size;
    bool present;
  } runs[64];
  std::size_t count = 0, absent = 0;
  for (Axes rest = table; rest != 0; rest &= rest - 1) {
    const auto axis = static_cast<std::size_t>(std::countr_zero(rest));
    const bool present = (sub >> axis & 1) != 0;
    if (count > 0 && runs[count - 1].present == present)
      runs[count - 1].size *= sizes_[axis];
    else
      runs[count++] = {sizes_[axis], present}, absent += !present;
  }
  const std::size_t begin = steps_.size();
  if (absent == 0) {
    steps_.push_back({1, 1, size_of(table)});
    return {begin, steps_.size()};
  }
  while (absent-- > 0) {
    // The absent run whose loops are widest goes first when the table is summed.
    std::size_t best = count, best_score = 0, inner = 1;
    for (std::size_t i = count; i-- > 0; inner *= runs[i].size) {
      if (runs[i].present || runs[i].size == 1) continue;
      const std::size_t score = runs[i].size + (inner >= 8 || runs[i].size >= 32 ? std::size_t{1} << 30 : 0);
      if (score >= best_score) {
        best = i;
        best_score = score;
      }
    }
    std::size_t outer = 1, n = runs[best].size, within = 1;
    for (std::size_t i = 0; i < count; ++i) (i < best ? outer : within) *= i == best ? 1 : runs[i].size;
    // Loops narrower than a vector are slow: wide ones do most of the work, and halves the rest.
    while (within < full_vector && full_vector % within == 0 && n % 2 == 0 && n > 2) {
      const std::size_t fit = full_vector / within, rest = n % fit == 0 && n > fit ? fit : n / 2;
      steps_.push_back({outer, n / rest, within * rest});
      n = rest;
    }
    steps_.push_back({outer, n, within});
    runs[best].size = 1;
  }
  // Filling is summing backwards.
  if (spreading) std::reverse(steps_.begin() + static_cast<std::ptrdiff_t>(begin), steps_.end());
  return {begin, steps_.size()};
}

}  // namespace tapestry::detail
