#include <cmath>

#include <tapestry/autodiff/ops/joining.hpp>
#include <tapestry/autodiff/ops/recurrent.hpp>
#include <tapestry/autodiff/ops/register.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>

namespace tapestry::detail {
namespace {

using Values = std::vector<Tensor<double>>;

constexpr std::size_t steps = 3, batch = 2, inputs = 2, units = 3;

double sigmoid_of(double x) {
  return 1 / (1 + std::exp(-x));
}

double affine(const Tensor<double>& w, std::size_t row, const double* x, std::size_t n) {
  double out = 0;
  for (std::size_t j = 0; j < n; ++j) out += w(row, j) * x[j];
  return out;
}

// Sequence after sequence, for lengths of 3 and 2 where `ragged`. State: hidden, cell. Outputs, then states.
template <class Step>
Tensor<double> unrolled(const Values& v, std::size_t states, bool ragged, bool reverse, Step step) {
  const std::size_t outputs = steps * batch * units;
  Tensor<double> out(xt::svector<std::size_t, 4>{outputs + states * batch * units}, 0.0);
  for (std::size_t b = 0; b < batch; ++b) {
    double h[units], c[units] = {}, before[units];
    for (std::size_t j = 0; j < units; ++j) {
      h[j] = v[1](b, j);
      if (states > 1) c[j] = v[2](b, j);
    }
    const std::size_t length = ragged ? steps - b : steps;
    for (std::size_t s = 0; s < length; ++s) {
      const std::size_t t = reverse ? length - 1 - s : s;
      std::copy_n(h, units, before);
      for (std::size_t j = 0; j < units; ++j) {
        step(v[0].data() + (t * batch + b) * inputs, before, j, h[j], c[j]);
        out.data()[(t * batch + b) * units + j] = h[j];
      }
    }
    for (std::size_t j = 0; j < units; ++j) {
      out.data()[outputs + b * units + j] = h[j];
      if (states > 1) out.data()[outputs + (batch + b) * units + j] = c[j];
    }
  }
  return out;
}

Tensor<double> lstm_reference(const Values& v, bool ragged, bool reverse) {
  return unrolled(v, 2, ragged, reverse,
                  [&](const double* x, const double* before, std::size_t j, double& h, double& c) {
                    const auto gate = [&](std::size_t k) {
                      const std::size_t row = k * units + j;
                      return affine(v[3], row, x, inputs) + affine(v[4], row, before, units) + v[5](row);
                    };
                    c = sigmoid_of(gate(1)) * c + sigmoid_of(gate(0)) * std::tanh(gate(2));
                    h = sigmoid_of(gate(3)) * std::tanh(c);
                  });
}

Tensor<double> gru_reference(const Values& v, bool ragged, bool reverse) {
  return unrolled(v, 1, ragged, reverse, [&](const double* x, const double* before, std::size_t j, double& h, double&) {
    const auto of_x = [&](std::size_t k) { return affine(v[2], k * units + j, x, inputs) + v[4](k * units + j); };
    const auto of_h = [&](std::size_t k) { return affine(v[3], k * units + j, before, units) + v[5](k * units + j); };
    const double update = sigmoid_of(of_x(1) + of_h(1));
    const double candidate = std::tanh(of_x(2) + sigmoid_of(of_x(0) + of_h(0)) * of_h(2));
    h = (1 - update) * candidate + update * before[j];
  });
}

template <class V>
V flat(const V& x) {
  return reshape(x, {-1});
}

}  // namespace

void register_recurrent(Registry& r) {
  const Shape x{3, 2, 2}, state{2, 3};
  const std::vector<ExampleInput> lstm_inputs{uniform_example(x),       uniform_example(state),
                                              uniform_example(state),   uniform_example({12, 2}),
                                              uniform_example({12, 3}), uniform_example({12})};
  const std::vector<ExampleInput> gru_inputs{uniform_example(x),      uniform_example(state), uniform_example({9, 2}),
                                             uniform_example({9, 3}), uniform_example({9}),   uniform_example({9})};
  r.add("lstm", lstm_inputs, [](const auto& v) {
     const auto y = lstm(v[0], v[1], v[2], v[3], v[4], v[5]);
     return concatenate({flat(y.output), flat(y.hidden), flat(y.cell)});
   }).reference = [](const Values& v) { return lstm_reference(v, false, false); };
  r.add("lstm_lengths_reverse", lstm_inputs, [](const auto& v) {
     const auto y = lstm(v[0], v[1], v[2], v[3], v[4], v[5], {.lengths = Indices{3, 2}, .reverse = true});
     return concatenate({flat(y.output), flat(y.hidden), flat(y.cell)});
   }).reference = [](const Values& v) { return lstm_reference(v, true, true); };
  r.add("gru", gru_inputs, [](const auto& v) {
     const auto y = gru(v[0], v[1], v[2], v[3], v[4], v[5]);
     return concatenate({flat(y.output), flat(y.hidden)});
   }).reference = [](const Values& v) { return gru_reference(v, false, false); };
  r.add("gru_lengths_reverse", gru_inputs, [](const auto& v) {
     const auto y = gru(v[0], v[1], v[2], v[3], v[4], v[5], {.lengths = Indices{3, 2}, .reverse = true});
     return concatenate({flat(y.output), flat(y.hidden)});
   }).reference = [](const Values& v) { return gru_reference(v, true, true); };
}

}  // namespace tapestry::detail
