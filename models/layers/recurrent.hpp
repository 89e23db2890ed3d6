#pragma once

#include <optional>
#include <vector>

#include <tapestry/autodiff/ops/recurrent.hpp>
#include <tapestry/graph/initializers.hpp>
#include <tapestry/graph/module.hpp>
#include <tapestry/models/layers/dropout.hpp>

namespace tapestry {

struct RecurrentLayerOptions {
  std::int64_t layers = 1;
  bool bidirectional = false;  ///< outputs of both directions beside each other, forward first
  double dropout = 0;          ///< between layers, while training
};

/// Hidden states of the last layer [steps, batch, hidden * directions], zero behind a sequence's length, and the states
/// in which every layer and direction ends (in the order layer 0 forward, layer 0 backward, layer 1 ...).
template <class T>
struct RecurrentResult {
  Var<T> output;
  Var<T> hidden;  ///< [layers * directions, batch, hidden]
  Var<T> cell;    ///< the same of an LSTM, else undefined
};

/// The kinds of recurrent layers: tanh of a sum (Elman 1990), lstm(), gru().
enum class RecurrentCell { tanh, lstm, gru };

/// A stack of recurrent layers over sequences [steps, batch, in]. `lengths` are the sequences'; all are `steps` long
/// where none are given. Every sequence starts from zero, or from `hidden` and `cell` in the result's layout.
template <class T>
class Recurrent {
 public:
  Recurrent() = default;
  /// Weights start in +-1/sqrt(hidden), the LSTM's forget gates with a bias of 1.
  Recurrent(RecurrentCell cell, std::int64_t in, std::int64_t hidden, Generator& generator,
            const RecurrentLayerOptions& options = {});

  RecurrentResult<T> forward(const Var<T>& x, const std::optional<Indices>& lengths = std::nullopt,
                             const Var<T>& hidden = {}, const Var<T>& cell = {}) const;
  void members(Members& m) { m("weights", weights_)("dropout", dropout_); }

 private:
  struct Weights {
    Var<T> input, hidden, bias, hidden_bias;
    void members(Members& m) { m("input", input)("hidden", hidden)("bias", bias)("hidden_bias", hidden_bias); }
  };
  RecurrentCell cell_ = RecurrentCell::tanh;
  std::int64_t hidden_ = 0, layers_ = 0, directions_ = 1;
  std::vector<Weights> weights_;  // by layer and direction
  Dropout<T> dropout_;
};

/// The three kinds by name.
/// @{
template <class T>
struct Rnn : Recurrent<T> {
  Rnn() = default;
  Rnn(std::int64_t in, std::int64_t hidden, Generator& generator, const RecurrentLayerOptions& options = {})
      : Recurrent<T>(RecurrentCell::tanh, in, hidden, generator, options) {}
};
template <class T>
struct Lstm : Recurrent<T> {
  Lstm() = default;
  Lstm(std::int64_t in, std::int64_t hidden, Generator& generator, const RecurrentLayerOptions& options = {})
      : Recurrent<T>(RecurrentCell::lstm, in, hidden, generator, options) {}
};
template <class T>
struct Gru : Recurrent<T> {
  Gru() = default;
  Gru(std::int64_t in, std::int64_t hidden, Generator& generator, const RecurrentLayerOptions& options = {})
      : Recurrent<T>(RecurrentCell::gru, in, hidden, generator, options) {}
};
/// @}

extern template class Recurrent<float>;
extern template class Recurrent<double>;

}  // namespace tapestry
