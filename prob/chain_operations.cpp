#include <tapestry/prob/chain_operations.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <tapestry/autodiff/error.hpp>

namespace tapestry::detail {

void check_chain(std::string_view operation, const ChainForm& form, std::span<const Shape> p) {
  const Shape &u = p[0], &t = p[1];
  if (u.rank() != 3) fail<ShapeError>(operation, "unary potentials must be [B, T, K], not ", u);
  const std::int64_t B = u[0], N = u[1], K = u[2], steps = std::max<std::int64_t>(N, 1) - 1;
  if (K < 1) fail<ShapeError>(operation, "no states: unary potentials are ", u);
  if (t != Shape{K, K} && t != Shape{steps, K, K} && t != Shape{B, steps, K, K})
    fail<ShapeError>(operation, "transitions ", t, " do not fit unary potentials ", u,
                     ": they must be [K, K], [T - 1, K, K] or [B, T - 1, K, K]");
  if (form.start && p[static_cast<std::size_t>(form.start_input())] != Shape{K})
    fail<ShapeError>(operation, "start potentials ", p[static_cast<std::size_t>(form.start_input())], " for ", K,
                     " states");
  if (form.end && p[static_cast<std::size_t>(form.end_input())] != Shape{K})
    fail<ShapeError>(operation, "end potentials ", p[static_cast<std::size_t>(form.end_input())], " for ", K,
                     " states");
  if (!form.lengths) return;
  if (form.lengths->shape() != Shape{B})
    fail<ShapeError>(operation, "lengths ", form.lengths->shape(), " for a batch of ", B);
  for (std::int64_t b = 0; b < B; ++b)
    if ((*form.lengths)[b] < 0 || (*form.lengths)[b] > N)
      fail<IndexError>(operation, "length ", (*form.lengths)[b], " of sequence ", b, " is outside [0, ", N, "]");
}

bool are_chain_potentials(const ChainForm& form, const Shapes& inputs, int first) {
  if (inputs.size() < first + form.inputs()) return false;
  std::vector<Shape> shapes;
  for (int i = 0; i < form.inputs(); ++i) shapes.push_back(inputs[first + i]);
  check_chain("load_program", form, shapes);
  return true;
}

template <class T>
ChainForm chain_form(std::string_view operation, const ChainPotentials<T>& p) {
  ChainForm form{p.lengths, p.start.defined(), p.end.defined()};
  std::vector<Shape> shapes;
  for (const Var<T>& x : chain_inputs(p)) shapes.push_back(x.shape());
  check_chain(operation, form, shapes);
  return form;
}

template <class T>
std::vector<Var<T>> chain_inputs(const ChainPotentials<T>& p) {
  std::vector<Var<T>> out{p.unary, p.transitions};
  if (p.start.defined()) out.push_back(p.start);
  if (p.end.defined()) out.push_back(p.end);
  return out;
}

template <class T>
ChainInput<T> chain_input(const ChainForm& form, const Shape& unary, const Shape& transitions,
                          std::span<const T* const> pointers) {
  ChainInput<T> in{};
  in.batch = static_cast<std::size_t>(unary[0]);
  in.steps = static_cast<std::size_t>(unary[1]);
  in.states = static_cast<std::size_t>(unary[2]);
  in.unary = pointers[0];
  in.transitions = pointers[1];
  const std::size_t square = in.states * in.states;
  in.step_stride = transitions.rank() > 2 ? square : 0;
  in.batch_stride = transitions.rank() > 3 ? square * static_cast<std::size_t>(transitions[1]) : 0;
  in.lengths = form.lengths ? form.lengths->data() : nullptr;
  in.start = form.start ? pointers[static_cast<std::size_t>(form.start_input())] : nullptr;
  in.end = form.end ? pointers[static_cast<std::size_t>(form.end_input())] : nullptr;
  return in;
}

template <class T>
void add_ends(const ChainInput<T>& in, const T* rows, T* start, T* end) {
  for (std::size_t b = 0; b < in.batch; ++b) {
    const auto length = in.lengths == nullptr ? in.steps : static_cast<std::size_t>(in.lengths[b]);
    if (length == 0) continue;
    const T* first = rows + b * in.steps * in.states;
    const T* last = first + (length - 1) * in.states;
    for (std::size_t k = 0; k < in.states; ++k) {
      if (start != nullptr) start[k] += first[k];
      if (end != nullptr) end[k] += last[k];
    }
  }
}

namespace {

/// The potentials among an operation's inputs, from input `offset` on.
template <class T>
ChainInput<T> input_from(const ChainForm& form, const Forward<T>& context, int offset) {
  const T* pointers[4] = {};
  for (int i = 0; i < form.inputs(); ++i) pointers[i] = context.input(offset + i).data;
  return chain_input<T>(form, context.input(offset).shape, context.input(offset + 1).shape, pointers);
}

/// Start's and end's outputs from those of the unary potentials.
template <class T>
void write_ends(const ChainForm& form, const ChainInput<T>& in, const Forward<T>& context, int unary_output) {
  T* start = form.start ? context.output(unary_output + form.start_input()).data : nullptr;
  T* end = form.end ? context.output(unary_output + form.end_input()).data : nullptr;
  if (start != nullptr) std::fill_n(start, in.states, T(0));
  if (end != nullptr) std::fill_n(end, in.states, T(0));
  add_ends(in, static_cast<const T*>(context.output(unary_output).data), start, end);
}

template <class T>
T finite_direction(T potential, T direction) {
  return std::isinf(potential) ? T(0) : direction;
}

}  // namespace

template <class T>
void ChainGradient<T>::forward(Forward<T>& context) {
  const ChainInput<T> in = input_from(form_, context, 1);
  PoolBuffer<T> log_partition(in.batch);
  ChainEngine<T> engine;
  engine.forward(in, log_partition.data(), true);
  engine.backward(context.input(0).data, context.output(0).data, context.output(1).data);
  write_ends(form_, in, context, 0);
}

template <class T>
void ChainGradient<T>::vjp(Vjp<T>& context) {
  const int n = form_.inputs();
  std::vector<Var<T>> inputs;
  for (int i = 0; i < 1 + n; ++i) inputs.push_back(context.input(i));
  for (int i = 0; i < n; ++i) inputs.push_back(context.gradient(i));
  const auto tangents = apply_all<T>(std::make_unique<ChainCurvature<T>>(form_), inputs);
  for (int i = 0; i < 1 + n; ++i)
    if (context.wants(i)) context.add(i, tangents[static_cast<std::size_t>(i)]);
}

template <class T>
void ChainCurvature<T>::forward(Forward<T>& context) {
  const int n = form_.inputs();
  const ChainInput<T> in = input_from(form_, context, 1);
  // Start and end are part of the first and the last step's unary potentials, and so are their directions.
  PoolBuffer<T> unary(in.batch * in.steps * in.states), transitions(ChainEngine<T>::transition_elements(in));
  const T* direction = context.input(1 + n).data;
  for (std::size_t i = 0; i < in.batch * in.steps * in.states; ++i)
    unary.data()[i] = finite_direction(in.unary[i], direction[i]);
  const auto transition_count = static_cast<std::size_t>(context.input(2).size());
  direction = context.input(2 + n).data;
  for (std::size_t i = 0; i < transition_count; ++i)
    transitions.data()[i] = finite_direction(in.transitions[i], direction[i]);
  const T* start = form_.start ? context.input(1 + n + form_.start_input()).data : nullptr;
  const T* end = form_.end ? context.input(1 + n + form_.end_input()).data : nullptr;
  for (std::size_t b = 0; b < in.batch; ++b) {
    const auto length = in.lengths == nullptr ? in.steps : static_cast<std::size_t>(in.lengths[b]);
    if (length == 0) continue;
    T* first = unary.data() + b * in.steps * in.states;
    T* last = first + (length - 1) * in.states;
    for (std::size_t k = 0; k < in.states; ++k) {
      if (start != nullptr) first[k] += finite_direction(in.start[k], start[k]);
      if (end != nullptr) last[k] += finite_direction(in.end[k], end[k]);
    }
  }
  ChainEngine<T> engine;
  engine.forward(in, context.output(0).data, true);
  engine.curvature(context.input(0).data, unary.data(), transitions.data(), context.output(0).data,
                   context.output(1).data, context.output(2).data);
  write_ends(form_, in, context, 1);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                \
  template ChainForm chain_form(std::string_view, const ChainPotentials<T>&);                                  \
  template std::vector<Var<T>> chain_inputs(const ChainPotentials<T>&);                                        \
  template ChainInput<T> chain_input(const ChainForm&, const Shape&, const Shape&, std::span<const T* const>); \
  template void add_ends(const ChainInput<T>&, const T*, T*, T*);                                              \
  template class ChainGradient<T>;                                                                             \
  template class ChainCurvature<T>;
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
