#include <tapestry/graph/program/updates.hpp>

#include <algorithm>

#include <tapestry/graph/program/affine.hpp>

namespace tapestry::detail {
namespace {

/// Updates a variable from its gradient. The result is empty: steps have one.
template <class T>
class Update final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  Update(std::shared_ptr<UpdateRun<T>> run, std::size_t parameter) : run_(std::move(run)), parameter_(parameter) {}
  std::string_view name() const override { return "update"; }
  Shape shape(const Shapes&, int) const override { return Shape{0}; }
  void forward(Forward<T>& c) override {
    if (!run_->begin(parameter_)) return;
    const auto gradient = c.input(0);
    run_->rule->update_elements(parameter_, gradient.data, 0, gradient.size());
    run_->rule->end(parameter_);
  }

 private:
  std::shared_ptr<UpdateRun<T>> run_;
  std::size_t parameter_;
};

/// The same from gradients by rows: the inputs are their values.
template <class T>
class UpdateRows final : public Operation<T> {
 public:
  using Shapes = detail::Shapes;
  UpdateRows(std::shared_ptr<UpdateRun<T>> run, std::size_t parameter, const Shape& shape, std::vector<Indices> rows)
      : run_(std::move(run)), parameter_(parameter), shape_(shape), rows_(std::move(rows)) {
    shape_[0] = 0;
    for (const Indices& each : rows_) shape_[0] += each.size();
  }
  std::string_view name() const override { return "update of rows"; }
  Shape shape(const Shapes&, int) const override { return Shape{0}; }
  void forward(Forward<T>& c) override {
    if (!run_->begin(parameter_)) return;
    SparseRows<T> all{empty_tensor<std::int64_t>({shape_[0]}), empty_tensor<T>(shape_)};
    std::int64_t* row = all.rows.data();
    T* value = all.values.data();
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const auto values = c.input(static_cast<int>(i));
      row = std::copy_n(rows_[i].data(), rows_[i].size(), row);
      value = std::copy_n(values.data, values.size(), value);
    }
    run_->rule->update_rows(parameter_, all);
  }

 private:
  std::shared_ptr<UpdateRun<T>> run_;
  std::size_t parameter_;
  Shape shape_;  // of all rows
  std::vector<Indices> rows_;
};

constexpr std::size_t none = ~std::size_t{0};

}  // namespace

template <class T>
void insert_updates(ProgramGraph& graph, const UpdatePlan& plan, const std::shared_ptr<UpdateRun<T>>& run) {
  const auto root = [&](ValueId id) { return graph.values[id].root; };
  std::vector<std::size_t> maker(graph.values.size(), none), last(graph.values.size(), none);
  std::vector<int> readers(graph.values.size(), 0);
  for (std::size_t s = 0; s < graph.steps.size(); ++s) {
    for (const ValueId id : graph.steps[s].outputs) maker[id] = s;
    for (const ValueId id : graph.steps[s].inputs) last[root(id)] = s, ++readers[root(id)];
  }
  for (const ValueId id : graph.outputs) ++readers[root(id)];
  std::vector<std::vector<ProgramStep>> after(graph.steps.size() + 1);
  for (std::size_t k = 0; k < plan.variables.size(); ++k) {
    if (plan.parameters[k] == UpdatePlan::nobody || plan.gradients[k] == no_value) continue;
    const ValueId variable = root(plan.variables[k]), gradient = root(plan.gradients[k]);
    const std::size_t made = maker[gradient], read = last[variable];
    // The gradient itself is an output so far.
    if (made != none && (read == none || read <= made) && readers[gradient] == 1 &&
        run->rule->by_element(plan.parameters[k])) {
      ProgramStep& step = graph.steps[made];
      const auto place = std::find(step.outputs.begin(), step.outputs.end(), gradient) - step.outputs.begin();
      if (update_in_step(graph, step, static_cast<std::size_t>(place), run, plan.parameters[k])) continue;
    }
    ProgramStep step;
    step.operation = SharedOperation(new Update<T>(run, plan.parameters[k]));
    step.name = step.operation->name();
    step.inputs = {plan.gradients[k]};
    step.outputs = {graph.add(Shape{0})};
    after[std::max(made == none ? 0 : made + 1, read == none ? 0 : read + 1)].push_back(std::move(step));
  }
  for (std::size_t k = 0; k < plan.variables.size(); ++k) {
    if (plan.parameters[k] == UpdatePlan::nobody) continue;
    const std::size_t read = last[root(plan.variables[k])];
    std::size_t at = read == none ? 0 : read + 1;
    ProgramStep step;
    std::vector<Indices> rows;
    for (const RowsGradient& part : plan.rows) {
      if (part.wanted != k) continue;
      const std::size_t made = maker[root(part.values)];
      if (made != none) at = std::max(at, made + 1);
      step.inputs.push_back(part.values);
      rows.push_back(part.rows);
    }
    if (rows.empty()) continue;
    step.operation = SharedOperation(
        new UpdateRows<T>(run, plan.parameters[k], graph.values[plan.variables[k]].shape, std::move(rows)));
    step.name = step.operation->name();
    step.outputs = {graph.add(Shape{0})};
    after[at].push_back(std::move(step));
  }
  std::vector<ProgramStep> steps;
  for (std::size_t s = 0; s <= graph.steps.size(); ++s) {
    std::move(after[s].begin(), after[s].end(), std::back_inserter(steps));
    if (s < graph.steps.size()) steps.push_back(std::move(graph.steps[s]));
  }
  graph.steps = std::move(steps);
}

template void insert_updates(ProgramGraph&, const UpdatePlan&, const std::shared_ptr<UpdateRun<float>>&);
template void insert_updates(ProgramGraph&, const UpdatePlan&, const std::shared_ptr<UpdateRun<double>>&);

}  // namespace tapestry::detail
