#pragma once

#include <optional>

#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

struct RecurrentOptions {
  /// The number of steps of each sequence of the batch (all, where none are given): from there on outputs are zero, and
  /// the last state is the one at the sequence's end.
  std::optional<Indices> lengths = std::nullopt;
  /// From the last step of each sequence to the first.
  bool reverse = false;
};

/// Hidden states [steps, batch, hidden] and the last state.
template <class T>
struct LstmResult {
  Var<T> output;
  Var<T> hidden;
  Var<T> cell;
};
template <class T>
struct GruResult {
  Var<T> output;
  Var<T> hidden;
};

/// A long short-term memory layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and
/// Cummins 2000) over whole sequences, in one operation:
///   i, f, o = sigmoid(x Wx' + h Wh' + b), g = tanh(...), c = f c + i g, h = o tanh(c)
/// @param x [steps, batch, inputs]
/// @param hidden, cell the first state, [batch, hidden]
/// @param weight_input [4 hidden, inputs], weight_hidden [4 hidden, hidden], bias [4 hidden]: rows of i, f, g, o
/// @throws ShapeError where these do not fit, IndexError for a length below 0 or beyond the steps
template <class T>
LstmResult<T> lstm(const Var<T>& x, const Var<T>& hidden, const Var<T>& cell, const Var<T>& weight_input,
                   const Var<T>& weight_hidden, const Var<T>& bias, const RecurrentOptions& options = {});

/// A gated recurrent layer (Cho et al. 2014) over whole sequences, with the reset gate after the product:
///   r, z = sigmoid(x Wx' + bx + h Wh' + bh), n = tanh(x Wx' + bx + r (h Wh' + bh)), h = (1 - z) n + z h
/// @param x [steps, batch, inputs]
/// @param hidden the first state, [batch, hidden]
/// @param weight_input [3 hidden, inputs], weight_hidden [3 hidden, hidden], both biases [3 hidden]: rows of r, z, n
/// @throws ShapeError where these do not fit, IndexError for a length below 0 or beyond the steps
template <class T>
GruResult<T> gru(const Var<T>& x, const Var<T>& hidden, const Var<T>& weight_input, const Var<T>& weight_hidden,
                 const Var<T>& bias_input, const Var<T>& bias_hidden, const RecurrentOptions& options = {});

}  // namespace tapestry
