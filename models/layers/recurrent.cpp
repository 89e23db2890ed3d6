#include <tapestry/models/layers/recurrent.hpp>

#include <cmath>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/masking.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

namespace tapestry {
namespace {

std::int64_t gates_of(RecurrentCell cell) {
  return cell == RecurrentCell::lstm ? 4 : cell == RecurrentCell::gru ? 3 : 1;
}

/// h = tanh(x Wx' + h Wh' + b) over whole sequences, with the conventions of lstm() and gru().
template <class T>
GruResult<T> elman(const Var<T>& x, const Var<T>& start, const Var<T>& weight_input, const Var<T>& weight_hidden,
                   const Var<T>& bias, const RecurrentOptions& options) {
  const std::int64_t steps = x.extent(0), batch = x.extent(1);
  if (options.lengths) {
    if (options.lengths->shape() != Shape{batch})
      fail<ShapeError>("Rnn", "lengths ", options.lengths->shape(), " for a batch of ", batch);
    for (std::int64_t b = 0; b < batch; ++b)
      if ((*options.lengths)[b] < 0 || (*options.lengths)[b] > steps)
        fail<IndexError>("Rnn", "length ", (*options.lengths)[b], " of sequence ", b, " outside 0..", steps);
  }
  const Var<T> inputs = matmul(x, weight_input, {.transpose_b = true}) + bias;
  const Var<T> zeros = Var<T>::zeros(start.shape());
  std::vector<Var<T>> outputs(static_cast<std::size_t>(steps));
  Var<T> hidden = start;
  for (std::int64_t i = 0; i < steps; ++i) {
    const std::int64_t t = options.reverse ? steps - 1 - i : i;
    const Var<T> next = tanh(select(inputs, 0, t) + matmul(hidden, weight_hidden, {.transpose_b = true}));
    Var<T>& output = outputs[static_cast<std::size_t>(t)];
    if (options.lengths) {
      IndexTensor inside = empty_tensor<std::int64_t>({batch, 1});
      for (std::int64_t b = 0; b < batch; ++b) inside.data()[b] = t < (*options.lengths)[b];
      const Indices mask(std::move(inside));
      output = where(mask, next, zeros);
      hidden = where(mask, next, hidden);
    } else {
      output = hidden = next;
    }
  }
  return {steps > 0 ? stack(outputs) : Var<T>::zeros({0, batch, start.extent(1)}), hidden};
}

}  // namespace

template <class T>
Recurrent<T>::Recurrent(RecurrentCell cell, std::int64_t in, std::int64_t hidden, Generator& generator,
                        const RecurrentLayerOptions& options)
    : cell_(cell), hidden_(hidden), layers_(options.layers), directions_(options.bidirectional ? 2 : 1) {
  if (in < 1 || hidden < 1 || options.layers < 1)
    fail<ShapeError>("Recurrent", options.layers, " layers of ", hidden, " units on ", in, " inputs");
  const std::int64_t rows = gates_of(cell) * hidden;
  const double bound = 1 / std::sqrt(static_cast<double>(hidden));
  const Initializer start = initializers::uniform(-bound, bound);
  for (std::int64_t layer = 0; layer < layers_; ++layer)
    for (std::int64_t d = 0; d < directions_; ++d) {
      Weights w;
      w.input = start.template parameter<T>({rows, layer == 0 ? in : hidden * directions_}, generator);
      w.hidden = start.template parameter<T>({rows, hidden}, generator);
      w.bias = start.template parameter<T>({rows}, generator);
      if (cell == RecurrentCell::gru) w.hidden_bias = start.template parameter<T>({rows}, generator);
      // Gates are in the order i, f, g, o: remembering is the start (Gers, Schmidhuber and Cummins 2000).
      if (cell == RecurrentCell::lstm) std::fill_n(w.bias.mutable_data() + hidden, hidden, T(1));
      weights_.push_back(std::move(w));
    }
  dropout_ = Dropout<T>(options.dropout, generator.split());
}

template <class T>
RecurrentResult<T> Recurrent<T>::forward(const Var<T>& x, const std::optional<Indices>& lengths, const Var<T>& hidden,
                                         const Var<T>& cell) const {
  if (x.rank() != 3) fail<ShapeError>("Recurrent", "sequences ", x.shape(), " must be [steps, batch, inputs]");
  const Shape state{layers_ * directions_, x.extent(1), hidden_};
  for (const Var<T>* given : {&hidden, &cell})
    if (given->defined() && given->shape() != state)
      fail<ShapeError>("Recurrent", "states ", given->shape(), " must be ", state);
  const Var<T> zeros = Var<T>::zeros({x.extent(1), hidden_});
  std::vector<Var<T>> last_hidden, last_cell;
  Var<T> values = x;
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    if (layer > 0) values = dropout_.forward(values);
    std::vector<Var<T>> outputs;
    for (std::int64_t d = 0; d < directions_; ++d) {
      const std::int64_t i = layer * directions_ + d;
      const Weights& w = weights_[static_cast<std::size_t>(i)];
      const Var<T> h = hidden.defined() ? select(hidden, 0, i) : zeros;
      const RecurrentOptions options{lengths, d == 1};
      if (cell_ == RecurrentCell::lstm) {
        const LstmResult<T> result =
            lstm(values, h, cell.defined() ? select(cell, 0, i) : zeros, w.input, w.hidden, w.bias, options);
        outputs.push_back(result.output);
        last_hidden.push_back(result.hidden);
        last_cell.push_back(result.cell);
      } else {
        const GruResult<T> result = cell_ == RecurrentCell::gru
                                        ? gru(values, h, w.input, w.hidden, w.bias, w.hidden_bias, options)
                                        : elman(values, h, w.input, w.hidden, w.bias, options);
        outputs.push_back(result.output);
        last_hidden.push_back(result.hidden);
      }
    }
    values = outputs.size() == 1 ? outputs[0] : concatenate(outputs, 2);
  }
  return {values, stack(last_hidden), last_cell.empty() ? Var<T>() : stack(last_cell)};
}

template class Recurrent<float>;
template class Recurrent<double>;

}  // namespace tapestry
