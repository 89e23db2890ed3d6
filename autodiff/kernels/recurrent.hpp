#pragma once

#include <cstddef>
#include <cstdint>

#include <tapestry/autodiff/kernels/dispatch.hpp>

namespace tapestry::detail {

/// Units of a recurrent layer are padded to blocks of this many, and the gates of a block lie side by side.
inline constexpr std::int64_t recurrent_block = 16;

/// One step of an LSTM for one block of units and all rows of a batch. Rows where `active` (if it is given) is 0 keep
/// their state and put out zeros.
template <class T>
struct LstmStep {
  std::int64_t rows, units;  // units of the block that exist
  const std::uint8_t* active;
  std::int64_t gate_stride, cell_stride, hidden_stride;
  T* gates;       // [rows, 4, block]: before activation without the bias; then input, forget, candidate, output
  const T* bias;  // [4, block]
  const T* cell_before;
  T* cell;
  T* cell_tanh;
  const T* hidden_before;
  T* hidden;
  T* output;
};

/// The same backwards, from the gradients of the new hidden state and cell to those of the gates before activation and
/// of the old cell; that of the hidden state is left at zero (inactive rows: as it is).
template <class T>
struct LstmStepBackward {
  std::int64_t rows;
  const std::uint8_t* active;
  std::int64_t gate_stride, cell_stride;
  const T* gates;
  const T* cell_before;
  const T* cell_tanh;
  T* hidden_gradient;
  T* cell_gradient;
  T* gate_gradient;
};

/// One step of a GRU, likewise.
template <class T>
struct GruStep {
  std::int64_t rows, units;
  const std::uint8_t* active;
  std::int64_t gate_stride, state_stride, hidden_stride;
  T* gates;                // [rows, 3, block]: the input's part; then reset, update, candidate
  const T* recurrent;      // [rows, 3, block]: the hidden state's part, rows 3 * block apart
  const T* bias;           // [4, block]: reset, update, candidate of the input, candidate of the hidden state
  T* recurrent_candidate;  // what the reset gate was multiplied with
  const T* hidden_before;
  T* hidden;
  T* output;
};

/// Backwards: the gradient of the hidden state becomes the part of the old state's that does not pass the weights.
template <class T>
struct GruStepBackward {
  std::int64_t rows, units;
  const std::uint8_t* active;
  std::int64_t gate_stride, state_stride, hidden_stride;
  const T* gates;
  const T* recurrent_candidate;
  const T* hidden_before;
  T* hidden_gradient;
  T* input_gradient;      // of the input's part of the gates
  T* recurrent_gradient;  // of the hidden state's part
};

template <class T>
struct RecurrentKernels {
  void (*lstm)(const LstmStep<T>& step);
  void (*lstm_backward)(const LstmStepBackward<T>& step);
  void (*gru)(const GruStep<T>& step);
  void (*gru_backward)(const GruStepBackward<T>& step);
};

}  // namespace tapestry::detail
