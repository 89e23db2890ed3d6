#include <tapestry/prob/grid.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <variant>
#include <vector>

#include <tapestry/autodiff/composed_vjp.hpp>
#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>
#include <tapestry/prob/composed_propagation.hpp>
#include <tapestry/prob/entry_sums.hpp>
#include <tapestry/prob/grid_engine.hpp>
#include <tapestry/prob/grid_mean_field_engine.hpp>
#include <tapestry/prob/pairwise_engine.hpp>
#include <tapestry/prob/saved_structure.hpp>

namespace tapestry {
namespace {

using detail::GridBeliefPropagationEngine;
using detail::GridMeanFieldEngine;
using detail::GridShape;
using detail::PairwiseBeliefPropagationEngine;
using detail::PairwiseWiring;
using detail::PoolBuffer;

struct Grids {
  std::size_t batch, elements;
  GridShape grid;
};

Grids grids_of(const Shape& shape, GridLayout layout) {
  const int offset = shape.rank() - 3;
  const auto at = [&](int axis) { return static_cast<std::size_t>(shape[offset + axis]); };
  Grids out{};
  out.batch = offset == 1 ? static_cast<std::size_t>(shape[0]) : 1;
  if (layout == GridLayout::states_last)
    out.grid = {at(0), at(1), at(2), at(1) * at(2), at(2), 1};
  else
    out.grid = {at(1), at(2), at(0), at(2), 1, at(1) * at(2)};
  out.elements = at(0) * at(1) * at(2);
  return out;
}

void check_unary(const char* name, const Shape& shape, UnrolledOptions options) {
  if (shape.rank() != 3 && shape.rank() != 4)
    fail<ShapeError>(name, "unary potentials ", shape, " must have three axes, or four with a batch");
  for (int axis = shape.rank() - 3; axis < shape.rank(); ++axis)
    if (shape[axis] < 1) fail<ShapeError>(name, "unary potentials ", shape, " are empty");
  if (options.iterations < 0 || !(options.damping >= 0 && options.damping < 1))
    fail(name, options.iterations, " iterations with a damping of ", options.damping);
}

void check_propagation(const Shape& unary, std::initializer_list<Shape> pairwise, UnrolledOptions options,
                       GridLayout layout) {
  constexpr const char* name = "grid_belief_propagation";
  check_unary(name, unary, options);
  const auto K = static_cast<std::int64_t>(grids_of(unary, layout).grid.states);
  constexpr auto most = static_cast<std::int64_t>(PairwiseBeliefPropagationEngine<double>::most_states);
  if (K > most) fail(name, K, " states are more than ", most);
  for (const Shape& shape : pairwise)
    if (shape != Shape{K, K}) fail<ShapeError>(name, "pairwise potentials ", shape, " for ", K, " states");
}

void check_mean_field(const Shape& unary, const Shape& c, UnrolledOptions options, GridLayout layout) {
  constexpr const char* name = "grid_mean_field";
  check_unary(name, unary, options);
  const auto K = static_cast<std::int64_t>(grids_of(unary, layout).grid.states);
  if (c != Shape{K, K} && c != Shape{2, K, K} && c != Shape{4, K, K} && c != Shape{1, K, K})
    fail<ShapeError>(name, "compatibility ", c, " for ", K, " states: it must be [K, K], [2, K, K] or [4, K, K]");
}

/// The grid's factors in general form: what is too wide for the grid kernels is computed on these.
struct GeneralGrid {
  std::vector<std::int64_t> first, second, axis;
  explicit GeneralGrid(const GridShape& grid) {
    for (std::size_t y = 0; y < grid.height; ++y)
      for (std::size_t x = 0; x < grid.width; ++x)
        for (std::int64_t a = 0; a < 2; ++a) {
          if (a == 0 ? x + 1 == grid.width : y + 1 == grid.height) continue;
          first.push_back(static_cast<std::int64_t>(y * grid.width + x));
          second.push_back(static_cast<std::int64_t>(a == 0 ? y * grid.width + x + 1 : (y + 1) * grid.width + x));
          axis.push_back(a);
        }
  }
};

/// Between the user's layout and [pixels, states].
template <class T>
void to_rows(const GridShape& grid, const T* from, T* rows) {
  for (std::size_t y = 0; y < grid.height; ++y)
    for (std::size_t x = 0; x < grid.width; ++x)
      for (std::size_t k = 0; k < grid.states; ++k)
        *rows++ = from[y * grid.row_stride + x * grid.column_stride + k * grid.state_stride];
}
template <class T>
void from_rows(const GridShape& grid, const T* rows, T* to) {
  for (std::size_t y = 0; y < grid.height; ++y)
    for (std::size_t x = 0; x < grid.width; ++x)
      for (std::size_t k = 0; k < grid.states; ++k)
        to[y * grid.row_stride + x * grid.column_stride + k * grid.state_stride] = *rows++;
}

/// One grid of a batch on the general kernels.
template <class T>
class WideGrid {
 public:
  WideGrid(const GridShape& grid, const T* unary, const T* horizontal, const T* vertical)
      : grid_(grid),
        general_(grid),
        run_(PairwiseBeliefPropagationEngine<T>(
            std::make_shared<const PairwiseWiring>(grid.height * grid.width, general_.first.size(),
                                                   general_.first.data(), general_.second.data()),
            grid.states)),
        unary_(size()),
        log_marginals_(size()),
        potentials_(2 * square()) {
    to_rows(grid, unary, unary_.data());
    std::copy_n(horizontal, square(), potentials_.data());
    std::copy_n(vertical, square(), potentials_.data() + square());
  }
  void forward(int iterations, T damping, T* log_marginals) {
    run_.forward(input(), iterations, damping, log_marginals_.data(), true);
    from_rows(grid_, log_marginals_.data(), log_marginals);
  }
  void backward(const T* grad_log_marginals, T* grad_unary, T* grad_horizontal, T* grad_vertical) const {
    PoolBuffer<T> grad(size()), out(size()), pairs(2 * square());
    to_rows(grid_, grad_log_marginals, grad.data());
    run_.backward(input(), log_marginals_.data(), grad.data(), 2, out.data(), pairs.data());
    from_rows(grid_, out.data(), grad_unary);
    std::copy_n(pairs.data(), square(), grad_horizontal);
    std::copy_n(pairs.data() + square(), square(), grad_vertical);
  }

 private:
  std::size_t size() const { return grid_.height * grid_.width * grid_.states; }
  std::size_t square() const { return grid_.states * grid_.states; }
  detail::PairwiseInput<T> input() const { return {unary_.data(), potentials_.data(), general_.axis.data()}; }
  GridShape grid_;
  GeneralGrid general_;
  detail::PairwiseRun<T> run_;
  PoolBuffer<T> unary_, log_marginals_, potentials_;
};

/// [batch, height, width, states] of any layout, and back.
template <class T>
Var<T> states_last(const Var<T>& x, GridLayout layout) {
  Shape shape = x.shape();
  if (shape.rank() == 3) shape.insert(0, 1);
  const Var<T> whole = reshape(x, shape);
  return layout == GridLayout::states_last ? whole : transpose(whole, {0, 2, 3, 1});
}
template <class T>
Var<T> from_states_last(const Var<T>& x, GridLayout layout, const Shape& shape) {
  return reshape(layout == GridLayout::states_last ? x : transpose(x, {0, 3, 1, 2}), shape);
}

/// Adds `n` elements to those of a target that may be null.
template <class T>
void add(const T* from, std::size_t n, T* to) {
  for (std::size_t i = 0; to != nullptr && i < n; ++i) to[i] += from[i];
}

template <class T>
class GridBeliefPropagation final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  GridBeliefPropagation(UnrolledOptions options, GridLayout layout) : options_(options), layout_(layout) {}
  GridBeliefPropagation() = default;
  void attributes(Attributes& a) override {
    detail::exchange(a, options_), a(layout_);
    Attributes::require(layout_ == GridLayout::states_last || layout_ == GridLayout::states_first);
  }
  bool suits(const Shapes& in) override {
    if (in.size() != 3) return false;
    check_propagation(in[0], {in[1], in[2]}, options_, layout_);
    return true;
  }
  std::string_view name() const override { return "grid_belief_propagation"; }
  Shape shape(const Shapes& inputs, int) const override { return inputs[0]; }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  void forward(Forward<T>& context) override {
    const auto unary = context.input(0);
    const T *horizontal = context.input(1).data, *vertical = context.input(2).data;
    grids_ = grids_of(unary.shape, layout_);
    const T damping = static_cast<T>(options_.damping);
    const bool applicable = GridBeliefPropagationEngine<T>::applicable(grids_.grid, horizontal, vertical);
    engines_.clear();
    for (std::size_t b = 0; b < grids_.batch; ++b) {
      const T* from = unary.data + b * grids_.elements;
      T* to = context.output().data + b * grids_.elements;
      if (applicable) {
        engines_.emplace_back(std::in_place_type<GridBeliefPropagationEngine<T>>);
        std::get<0>(engines_.back())
            .forward(grids_.grid, from, horizontal, vertical, options_.iterations, damping, to, true);
      } else {
        engines_.emplace_back(std::in_place_type<WideGrid<T>>, grids_.grid, from, horizontal, vertical);
        std::get<1>(engines_.back()).forward(options_.iterations, damping, to);
      }
    }
  }
  void vjp(Vjp<T>& context) override {
    detail::vjp_through<T>(context, [this](const std::vector<Var<T>>& x) {
      const Var<T> unary = states_last(x[0], layout_);
      const GeneralGrid general(grids_.grid);
      const auto K = static_cast<std::int64_t>(grids_.grid.states), F = static_cast<std::int64_t>(general.axis.size());
      IndexTensor entries = empty_tensor<std::int64_t>({F * K * K});
      for (std::int64_t i = 0; i < F * K * K; ++i)
        entries.data()[i] = general.axis[static_cast<std::size_t>(i / (K * K))] * K * K + i % (K * K);
      const Var<T> both = concatenate<T>({reshape(x[1], Shape{K * K}), reshape(x[2], Shape{K * K})}, 0);
      const Var<T> tables = reshape(detail::take_entries(both, Indices(std::move(entries))), Shape{F, K, K});
      const Shape& all = unary.shape();
      const Var<T> found = detail::composed_propagation(reshape(unary, Shape{all[0], all[1] * all[2], K}), tables,
                                                        general.first.data(), general.second.data(), options_);
      return std::vector<Var<T>>{from_states_last(reshape(found, all), layout_, x[0].shape())};
    });
  }
  void backward(Backward<T>& context) override {
    const std::size_t square = grids_.grid.states * grids_.grid.states;
    PoolBuffer<T> unary(grids_.elements), pairs(2 * square);
    T* unary_sum = context.wants(0) ? context.add_to(0) : nullptr;
    for (std::size_t b = 0; b < grids_.batch; ++b) {
      std::visit(
          [&](const auto& engine) {
            engine.backward(context.gradient().data + b * grids_.elements, unary.data(), pairs.data(),
                            pairs.data() + square);
          },
          engines_[b]);
      add(unary.data(), grids_.elements, unary_sum == nullptr ? unary_sum : unary_sum + b * grids_.elements);
      if (context.wants(1)) add(pairs.data(), square, context.add_to(1));
      if (context.wants(2)) add(pairs.data() + square, square, context.add_to(2));
    }
  }

 private:
  UnrolledOptions options_;
  GridLayout layout_ = GridLayout::states_last;
  Grids grids_{};
  std::vector<std::variant<GridBeliefPropagationEngine<T>, WideGrid<T>>> engines_;
};

template <class T>
class GridMeanField final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = typename Operation<T>::Shapes;
  GridMeanField(UnrolledOptions options, GridLayout layout) : options_(options), layout_(layout) {}
  GridMeanField() = default;
  void attributes(Attributes& a) override {
    detail::exchange(a, options_), a(layout_);
    Attributes::require(layout_ == GridLayout::states_last || layout_ == GridLayout::states_first);
  }
  bool suits(const Shapes& in) override {
    if (in.size() != 2) return false;
    check_mean_field(in[0], in[1], options_, layout_);
    return true;
  }
  std::string_view name() const override { return "grid_mean_field"; }
  Shape shape(const Shapes& inputs, int) const override { return inputs[0]; }
  std::uint32_t needs() const override { return Needs::all_inputs; }
  void forward(Forward<T>& context) override {
    const auto unary = context.input(0), compatibility = context.input(1);
    for (const T x : compatibility)
      if (!std::isfinite(x)) fail<NumericalError>(name(), "a compatibility is ", x);
    grids_ = grids_of(unary.shape, layout_);
    directions_ = compatibility.shape.rank() == 3 ? static_cast<std::size_t>(compatibility.shape[0]) : 1;
    engines_.clear();
    for (std::size_t b = 0; b < grids_.batch; ++b) {
      engines_.emplace_back();
      engines_.back().forward(grids_.grid, unary.data + b * grids_.elements, directions_, compatibility.data,
                              options_.iterations, static_cast<T>(options_.damping),
                              context.output().data + b * grids_.elements, true);
    }
  }
  void vjp(Vjp<T>& context) override {
    detail::vjp_through<T>(context, [this](const std::vector<Var<T>>& x) {
      const Var<T> found = detail::composed_grid_mean_field(states_last(x[0], layout_), x[1], options_);
      return std::vector<Var<T>>{from_states_last(found, layout_, x[0].shape())};
    });
  }
  void backward(Backward<T>& context) override {
    const std::size_t square = directions_ * grids_.grid.states * grids_.grid.states;
    PoolBuffer<T> unary(grids_.elements), pairs(square), sum(square);
    std::fill_n(sum.data(), square, T(0));
    // The first to write to a gradient need not add.
    T* all = nullptr;
    bool adds = true;
    if (context.wants(0)) {
      const Target<T> target = context.target(0);
      all = target.data;
      adds = target.accumulate;
    }
    for (std::size_t b = 0; b < grids_.batch; ++b) {
      T* own = all == nullptr ? all : all + b * grids_.elements;
      engines_[b].backward(context.gradient().data + b * grids_.elements, adds ? unary.data() : own, pairs.data());
      if (adds) add(unary.data(), grids_.elements, own);
      add(pairs.data(), square, sum.data());
    }
    // Only now: both inputs may be the same variable.
    if (context.wants(1)) add(sum.data(), square, context.add_to(1));
  }

 private:
  UnrolledOptions options_;
  GridLayout layout_ = GridLayout::states_last;
  Grids grids_{};
  std::size_t directions_ = 1;
  std::vector<GridMeanFieldEngine<T>> engines_;
};

}  // namespace

void detail::register_grid() {
  register_operations<GridBeliefPropagation>("grid_belief_propagation");
  register_operations<GridMeanField>("grid_mean_field");
}

template <class T>
Var<T> grid_belief_propagation(const Var<T>& unary, const Var<T>& horizontal, const Var<T>& vertical,
                               UnrolledOptions options, GridLayout layout) {
  check_propagation(unary.shape(), {horizontal.shape(), vertical.shape()}, options, layout);
  return record(std::make_unique<GridBeliefPropagation<T>>(options, layout), unary, horizontal, vertical);
}

template <class T>
Var<T> grid_mean_field(const Var<T>& unary, const Var<T>& compatibility, UnrolledOptions options, GridLayout layout) {
  check_mean_field(unary.shape(), compatibility.shape(), options, layout);
  return record(std::make_unique<GridMeanField<T>>(options, layout), unary, compatibility);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                      \
  template Var<T> grid_belief_propagation(const Var<T>&, const Var<T>&, const Var<T>&, UnrolledOptions, GridLayout); \
  template Var<T> grid_mean_field(const Var<T>&, const Var<T>&, UnrolledOptions, GridLayout);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
