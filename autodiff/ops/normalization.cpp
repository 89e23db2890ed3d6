#include <tapestry/autodiff/ops/normalization.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/normalization.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/elementary.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/pooled_vector.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;

// Elements that make a chunk for a thread.
constexpr Int chunk_elements = 1 << 15;

template <class T>
const detail::NormalizationKernels<T>& table() {
  return detail::kernels<detail::NormalizationKernels<T>>();
}

template <class T>
class LayerNorm final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  LayerNorm(Int rows, Int columns, T epsilon) : rows_(rows), columns_(columns), epsilon_(epsilon) {}
  explicit LayerNorm(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(epsilon_); }
  bool suits(const Shapes& in) override {
    if (in.size() != 3 || in[1] != in[2] || in[1].elements() == 0) return false;
    columns_ = in[1].elements();
    rows_ = in[0].elements() / columns_;
    return rows_ * columns_ == in[0].elements();
  }
  std::string_view name() const override { return "layer_norm"; }
  Shape shape(const Shapes& in, int) const override { return in[0]; }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::input(1); }

  void forward(Forward<T>& c) override {
    mean_ = empty_tensor<T>({rows_});
    inverse_ = empty_tensor<T>({rows_});
    const T *x = c.input(0).data, *weight = c.input(1).data, *bias = c.input(2).data;
    T* y = c.output().data;
    detail::parallel_for(rows_, grain(), [&](Int begin, Int end) {
      T *mean = mean_.data() + begin, *inverse = inverse_.data() + begin;
      const Int at = begin * columns_;
      table<T>().moments(x + at, {end - begin, columns_, end - begin, false}, mean, inverse);
      for (Int i = 0; i < end - begin; ++i)
        inverse[i] = 1 / std::sqrt(inverse[i] / static_cast<T>(columns_) + epsilon_);
      table<T>().layer(x + at, end - begin, columns_, mean, inverse, weight, bias, y + at);
    });
  }

  void backward(Backward<T>& c) override {
    const T *g = c.gradient().data, *x = c.input(0).data, *weight = c.input(1).data;
    const Target<T> out = c.wants(0) ? c.target(0) : Target<T>{nullptr, c.input_shape(0), false};
    const Int chunks = (rows_ + grain() - 1) / grain();
    // Sums of each chunk, weight's and bias', added in the order of the chunks.
    const detail::Scratch<T> sums(static_cast<std::size_t>(2 * chunks * columns_));
    std::fill_n(sums.data(), 2 * chunks * columns_, T(0));
    detail::parallel_for(rows_, grain(), [&](Int begin, Int end, Int chunk) {
      const Int at = begin * columns_;
      T* sum = sums.data() + 2 * chunk * columns_;
      table<T>().layer_backward(g + at, x + at, end - begin, columns_, mean_.data() + begin, inverse_.data() + begin,
                                weight, out.data == nullptr ? nullptr : out.data + at, out.accumulate, sum,
                                sum + columns_);
    });
    for (const int i : {1, 2}) {
      if (!c.wants(i)) continue;
      T* total = c.add_to(i);
      for (Int chunk = 0; chunk < chunks; ++chunk)
        for (Int k = 0; k < columns_; ++k) total[k] += sums.data()[(2 * chunk + i - 1) * columns_ + k];
    }
  }

  void vjp(Vjp<T>& c) override {
    const Shape flat{rows_, columns_};
    const Var<T> x = reshape(c.input(0), flat), g = reshape(c.gradient(), flat);
    const Var<T> centred = x - mean(x, {1}, true);
    const Var<T> inverse = rsqrt(mean(square(centred), {1}, true) + epsilon_), normal = centred * inverse;
    if (c.wants(0)) {
      const Var<T> weighted = g * reshape(c.input(1), {-1});
      const Var<T> through = weighted - mean(weighted, {1}, true) - normal * mean(weighted * normal, {1}, true);
      c.add(0, reshape(inverse * through, c.shape(0)));
    }
    if (c.wants(1)) c.add(1, reshape(sum(g * normal, {0}), c.shape(1)));
    if (c.wants(2)) c.add(2, reshape(sum(g, {0}), c.shape(2)));
  }

 private:
  Int grain() const { return std::max<Int>(1, chunk_elements / columns_); }

  Int rows_ = 0, columns_ = 1;
  T epsilon_ = 0;
  Tensor<T> mean_, inverse_;
};

/// x [batch, channels, inner], cut into parts of which each gives one row of statistics by channel.
struct BatchView {
  Int batch = 0, channels = 0, inner = 0;

  Int count() const { return batch * inner; }
  bool by_column() const { return inner == 1; }
  Int items() const { return by_column() ? std::max<Int>(1, chunk_elements / channels) : Int{1}; }
  Int parts() const { return (batch + items() - 1) / items(); }
  /// Calls f(first element, view, elements of a channel, part).
  template <class F>
  void for_each_part(F f) const {
    const Int step = items();
    detail::parallel_for(
        parts(), std::max<Int>(1, chunk_elements / (step * channels * inner)), [&](Int begin, Int end) {
          for (Int part = begin; part < end; ++part) {
            const Int n = std::min(step, batch - part * step);
            const detail::ChannelView view = by_column() ? detail::ChannelView{n, channels, channels, true}
                                                         : detail::ChannelView{n * channels, inner, channels, false};
            f(part * step * channels * inner, view, n * inner, part);
          }
        });
  }
};

template <class T>
class BatchNorm final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  BatchNorm(const BatchView& view, T epsilon) : v_(view), epsilon_(epsilon) {}
  explicit BatchNorm(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a(epsilon_); }
  bool suits(const Shapes& in) override {
    if (in.size() != 3 || in[0].rank() < 2 || in[0].elements() == 0) return false;
    v_ = {in[0][0], in[0][1], in[0].elements() / (in[0][0] * in[0][1])};
    return in[1] == Shape{v_.channels} && in[2] == in[1];
  }
  std::string_view name() const override { return "batch_norm"; }
  int outputs() const override { return 3; }
  Shape shape(const Shapes& in, int output) const override { return output == 0 ? in[0] : Shape{v_.channels}; }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::input(1); }

  void forward(Forward<T>& c) override {
    const auto channels = static_cast<std::size_t>(v_.channels);
    const T *x = c.input(0).data, *weight = c.input(1).data, *bias = c.input(2).data;
    const detail::Scratch<T> parts(2 * channels * static_cast<std::size_t>(v_.parts()));
    detail::PooledVector<T> counts(static_cast<std::size_t>(v_.parts()));
    v_.for_each_part([&](Int at, const detail::ChannelView& view, Int n, Int part) {
      T* mean = parts.data() + 2 * part * v_.channels;
      table<T>().moments(x + at, view, mean, mean + v_.channels);
      counts[static_cast<std::size_t>(part)] = static_cast<T>(n);
    });
    // Chan, Golub and LeVeque 1979.
    mean_.assign(channels, T(0));
    inverse_.assign(channels, T(0));
    T total = 0;
    for (std::size_t part = 0; part < counts.size(); ++part) {
      const T *mean = parts.data() + 2 * part * channels, share = counts[part] / (total + counts[part]);
      for (std::size_t k = 0; k < channels; ++k) {
        const T difference = mean[k] - mean_[k];
        // Infinite means have no difference.
        mean_[k] = std::isfinite(difference) ? mean_[k] + difference * share : mean_[k] * (1 - share) + mean[k] * share;
        inverse_[k] += mean[channels + k] + difference * difference * total * share;
      }
      total += counts[part];
    }
    const detail::Scratch<T> scale(channels);
    for (std::size_t k = 0; k < channels; ++k) {
      const T variance = inverse_[k] / total;
      c.output(1)[static_cast<Int>(k)] = mean_[k];
      c.output(2)[static_cast<Int>(k)] = variance;
      inverse_[k] = 1 / std::sqrt(variance + epsilon_);
      scale[k] = inverse_[k] * weight[k];
    }
    v_.for_each_part([&](Int at, const detail::ChannelView& view, Int, Int) {
      table<T>().normalize(x + at, view, mean_.data(), scale.data(), bias, c.output(0).data + at);
    });
  }

  void backward(Backward<T>& c) override {
    const auto channels = static_cast<std::size_t>(v_.channels);
    const T *g = c.gradient(0).data, *x = c.input(0).data, *weight = c.input(1).data;
    const detail::Scratch<T> parts(2 * channels * static_cast<std::size_t>(v_.parts())), sums(2 * channels);
    v_.for_each_part([&](Int at, const detail::ChannelView& view, Int, Int part) {
      T* sum = parts.data() + 2 * part * v_.channels;
      table<T>().products(g + at, x + at, view, mean_.data(), sum, sum + v_.channels);
    });
    std::fill_n(sums.data(), 2 * channels, T(0));
    for (Int part = 0; part < v_.parts(); ++part)
      for (std::size_t k = 0; k < 2 * channels; ++k)
        sums[k] += parts[2 * channels * static_cast<std::size_t>(part) + k];

    if (c.wants(0)) {
      const T* mean_gradient = c.has_gradient(1) ? c.gradient(1).data : nullptr;
      const T* variance_gradient = c.has_gradient(2) ? c.gradient(2).data : nullptr;
      const detail::Scratch<T> factors(3 * channels);
      T *a = factors.data(), *b = a + channels, *shift = b + channels;
      const T n = static_cast<T>(v_.count());
      for (std::size_t k = 0; k < channels; ++k) {
        a[k] = weight[k] * inverse_[k];
        b[k] = -a[k] * inverse_[k] * inverse_[k] * sums[channels + k] / n +
               (variance_gradient == nullptr ? T(0) : 2 * variance_gradient[k] / n);
        shift[k] = -a[k] * sums[k] / n + (mean_gradient == nullptr ? T(0) : mean_gradient[k] / n);
      }
      const Target<T> to = c.target(0);
      v_.for_each_part([&](Int at, const detail::ChannelView& view, Int, Int) {
        table<T>().combine(g + at, x + at, view, mean_.data(), a, b, shift, to.data + at, to.accumulate);
      });
    }
    for (const int i : {1, 2}) {
      if (!c.wants(i)) continue;
      T* total = c.add_to(i);
      for (std::size_t k = 0; k < channels; ++k) total[k] += i == 1 ? sums[channels + k] * inverse_[k] : sums[k];
    }
  }

  void vjp(Vjp<T>& c) override {
    const Shape flat{v_.batch, v_.channels, v_.inner}, column{v_.channels, 1};
    const Var<T> x = reshape(c.input(0), flat), g = reshape(c.gradient(0), flat);
    const Var<T> centred = x - mean(x, {0, 2}, true);
    const Var<T> inverse = rsqrt(mean(square(centred), {0, 2}, true) + epsilon_), normal = centred * inverse;
    if (c.wants(0)) {
      Var<T> through = g - mean(g, {0, 2}, true) - normal * mean(g * normal, {0, 2}, true);
      through = through * (inverse * reshape(c.input(1), column));
      const T n = static_cast<T>(v_.count());
      if (c.has_gradient(1)) through = through + reshape(c.gradient(1), column) * (1 / n);
      if (c.has_gradient(2)) through = through + reshape(c.gradient(2), column) * centred * (2 / n);
      c.add(0, reshape(through, c.shape(0)));
    }
    if (c.wants(1)) c.add(1, sum(g * normal, {0, 2}));
    if (c.wants(2)) c.add(2, sum(g, {0, 2}));
  }

 private:
  BatchView v_;
  T epsilon_ = 0;
  std::vector<T> mean_, inverse_;
};

void check_channels(std::string_view name, const Shape& x, std::initializer_list<std::pair<const char*, Shape>> given) {
  if (x.rank() < 2) fail<ShapeError>(name, "x must be [batch, channels, ...], not ", x);
  for (const auto& [what, shape] : given)
    if (shape != Shape{x[1]}) fail<ShapeError>(name, what, " ", shape, " does not fit the channels of x ", x);
}

}  // namespace

void detail::register_normalization() {
  register_operations<LayerNorm>("layer_norm");
  register_operations<BatchNorm>("batch_norm");
}

template <class T>
Var<T> layer_norm(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, std::type_identity_t<T> epsilon) {
  const Shape &whole = x.shape(), &part = weight.shape();
  const bool fits = part.rank() <= whole.rank() && std::equal(part.begin(), part.end(), whole.end() - part.rank());
  if (!fits || part.elements() == 0)
    fail<ShapeError>("layer_norm", "weight ", part, " does not fit the last axes of x ", whole);
  if (bias.shape() != part) fail<ShapeError>("layer_norm", "weight ", part, " and bias ", bias.shape(), " differ");
  const Int columns = part.elements();
  return record(std::make_unique<LayerNorm<T>>(whole.elements() / columns, columns, epsilon), x, weight, bias);
}

template <class T>
BatchNormResult<T> batch_norm(const Var<T>& x, const Var<T>& weight, const Var<T>& bias,
                              std::type_identity_t<T> epsilon) {
  const Shape& s = x.shape();
  check_channels("batch_norm", s, {{"weight", weight.shape()}, {"bias", bias.shape()}});
  if (s.elements() == 0) fail<ShapeError>("batch_norm", "x ", s, " has nothing to average");
  const std::array<Var<T>, 3> inputs{x, weight, bias};
  const BatchView view{s[0], s[1], s.elements() / (s[0] * s[1])};
  const std::vector<Var<T>> out = apply_all<T>(std::make_unique<BatchNorm<T>>(view, epsilon), inputs);
  return {out[0], out[1], out[2]};
}

template <class T>
void update_running_statistics(Tensor<T>& mean, Tensor<T>& variance, const BatchNormResult<T>& batch,
                               std::type_identity_t<T> momentum) {
  const std::string_view name = "update_running_statistics";
  const Shape& channels = batch.mean.shape();
  if (shape_of(mean) != channels || shape_of(variance) != channels)
    fail<ShapeError>(name, "mean ", shape_of(mean), " and variance ", shape_of(variance), " must have the batch's ",
                     channels);
  if (!(momentum >= 0 && momentum <= 1))
    fail<NumericalError>(name, "the momentum ", momentum, " is not within 0 and 1");
  const Int n = batch.value.size() / channels[0];
  const T unbiased = static_cast<T>(n) / static_cast<T>(std::max<Int>(1, n - 1));
  for (Int k = 0; k < channels[0]; ++k) {
    mean.data()[k] += momentum * (batch.mean.data()[k] - mean.data()[k]);
    variance.data()[k] += momentum * (unbiased * batch.variance.data()[k] - variance.data()[k]);
  }
}

template <class T>
Var<T> batch_norm_with(const Var<T>& x, const Var<T>& mean, const Var<T>& variance, const Var<T>& weight,
                       const Var<T>& bias, std::type_identity_t<T> epsilon) {
  check_channels(
      "batch_norm_with", x.shape(),
      {{"mean", mean.shape()}, {"variance", variance.shape()}, {"weight", weight.shape()}, {"bias", bias.shape()}});
  Shape column{x.shape()[1]};
  for (int i = 2; i < x.rank(); ++i) column.push_back(1);
  const Var<T> scale = weight * rsqrt(variance + epsilon);
  return (x - reshape(mean, column)) * reshape(scale, column) + reshape(bias, column);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                        \
  template Var<T> layer_norm(const Var<T>&, const Var<T>&, const Var<T>&, std::type_identity_t<T>);                    \
  template BatchNormResult<T> batch_norm(const Var<T>&, const Var<T>&, const Var<T>&, std::type_identity_t<T>);        \
  template void update_running_statistics(Tensor<T>&, Tensor<T>&, const BatchNormResult<T>&, std::type_identity_t<T>); \
  template Var<T> batch_norm_with(const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&, const Var<T>&,           \
                                  std::type_identity_t<T>);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
