#include <cmath>
#include <optional>

#include <tapestry/autodiff/kernels/losses.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/labels.hpp>
#include <tapestry/autodiff/ops/loss_reduction.hpp>
#include <tapestry/autodiff/ops/losses.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/softmax.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;

// Elements that a thread takes at once.
constexpr Int chunk_elements = 16384;

template <class T>
const detail::LossKernels<T>& table() {
  return detail::kernels<detail::LossKernels<T>>();
}

/// Rows of scores [rows, classes], with what makes them log-probabilities as the latest evaluation found it.
template <class T>
struct ScoreRows {
  Tensor<T> largest, log_sum;

  void evaluate(const T* x, Int rows, Int classes) {
    largest = empty_tensor<T>({rows});
    log_sum = empty_tensor<T>({rows});
    detail::parallel_for(rows, grain(classes), [&](Int begin, Int end) {
      table<T>().log_normalizer(x + begin * classes, static_cast<std::size_t>(end - begin),
                                static_cast<std::size_t>(classes), largest.data() + begin, log_sum.data() + begin);
    });
  }
  T log_probability(T x, Int row) const {
    const T top = largest.data()[row];
    return (x == top ? T(0) : x - top) - log_sum.data()[row];
  }
  static Int grain(Int classes) { return std::max<Int>(1, chunk_elements / std::max<Int>(1, classes)); }
};

Shape without_last(const Shape& shape) {
  Shape out = shape;
  if (out.rank() > 0) out.erase(out.rank() - 1);
  return out;
}
Shape column_of(const Shape& rows) {
  Shape out = rows;
  out.push_back(1);
  return out;
}

/// -sum_k q_k log p_k for p = softmax(x), with q_k = w_k ((1 - smoothing) [k is the label] + smoothing / classes), and
/// q = 0 for an ignored label.
template <class T>
class CrossEntropy final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  CrossEntropy(const Indices& labels, const CrossEntropyOptions<T>& options)
      : labels_(labels), options_(options), smoothing_(static_cast<T>(options.smoothing)) {}
  explicit CrossEntropy(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    std::int64_t ignored = options_.ignored_label.value_or(0);
    bool ignores = options_.ignored_label.has_value(), weighted = options_.class_weights.has_value();
    std::vector<T> weights;
    if (weighted) weights.assign(options_.class_weights->begin(), options_.class_weights->end());
    a.computed(labels_), a(options_.reduction), a(options_.smoothing), a(ignores), a(ignored), a(weights), a(weighted);
    Attributes::require(options_.reduction >= Reduction::none && options_.reduction <= Reduction::sum &&
                        options_.smoothing >= 0 && options_.smoothing <= 1);
    if (!a.reading()) return;
    smoothing_ = static_cast<T>(options_.smoothing);
    if (ignores) options_.ignored_label = ignored;
    if (!weighted) return;
    options_.class_weights = empty_tensor<T>({static_cast<std::int64_t>(weights.size())});
    std::copy(weights.begin(), weights.end(), options_.class_weights->begin());
  }
  std::string_view name() const override { return "cross_entropy"; }
  Shape shape(const Shapes& in, int) const override {
    const Shape& x = in[0];
    detail::check_label_shape(name(), labels_, x);
    if (options_.class_weights && shape_of(*options_.class_weights) != Shape{x.back()})
      fail<ShapeError>(name(), "class weights of shape ", shape_of(*options_.class_weights), " for scores of shape ",
                       x);
    return detail::reduced_shape(name(), labels_.shape(), options_.reduction);
  }
  std::uint32_t needs() const override { return Needs::input(0); }

  void forward(Forward<T>& c) override {
    const T* x = c.input(0).data;
    T* y = c.output().data;
    const Int classes = c.input(0).shape.back(), rows = labels_.size();
    detail::check_labels(name(), labels_, c.input(0).shape, options_.ignored_label);
    rows_.evaluate(x, rows, classes);
    const auto evaluate = [&](Int begin, Int end, T* out) {
      for (Int r = begin; r < end; ++r) out[r - begin] = loss(x + r * classes, r, classes);
    };
    if (options_.reduction == Reduction::none)
      evaluate(0, rows, y);
    else
      *y = detail::sum_of_blocks<T>(rows, 1024, evaluate) * factor();
  }

  void backward(Backward<T>& c) override {
    const Array<const T> x = c.input(0);
    const Int classes = x.shape.back(), rows = labels_.size();
    const bool whole = options_.reduction == Reduction::none;
    const T scaled = whole ? T(0) : c.gradient()[0] * factor(), *g = c.gradient().data;
    const detail::Scratch<T> shares(static_cast<std::size_t>(3 * rows));
    T *a = shares.data(), *b = a + rows, *at_label = b + rows;
    const Tensor<T> weights = all_weights(classes);
    const T total = sum_of(weights), even = smoothing_ / static_cast<T>(std::max<Int>(1, classes));
    for (Int r = 0; r < rows; ++r) {
      const T gradient = whole ? g[r] : scaled;
      const bool ignored = ignores(r);
      at_label[r] = ignored ? T(0) : gradient * (1 - smoothing_) * weight(r);
      b[r] = ignored ? T(0) : gradient * even;
      a[r] = at_label[r] + b[r] * total;
    }
    const Target<T> to = c.target(0);
    detail::parallel_for(rows, ScoreRows<T>::grain(classes), [&](Int begin, Int end) {
      T* out = to.data + begin * classes;
      table<T>().weighted_difference(x.data + begin * classes, static_cast<std::size_t>(end - begin),
                                     static_cast<std::size_t>(classes), rows_.largest.data() + begin,
                                     rows_.log_sum.data() + begin, a + begin, b + begin,
                                     smoothing_ == 0 ? nullptr : weights.data(), 0, out, to.accumulate);
      for (Int r = begin; r < end; ++r, out += classes)
        if (!ignores(r)) out[labels_[r]] -= at_label[r];
    });
  }

  void vjp(Vjp<T>& c) override {
    const Shape& shape = c.shape(0);
    const Int classes = shape.back();
    const Tensor<T> weights = all_weights(classes);
    Tensor<T> q = empty_tensor<T>(shape), total = empty_tensor<T>(column_of(labels_.shape()));
    T* to = q.data();
    for (Int r = 0; r < labels_.size(); ++r, to += classes) {
      T sum = 0;
      for (Int k = 0; k < classes; ++k) {
        const T even = smoothing_ / static_cast<T>(classes), label = k == labels_[r] ? 1 - smoothing_ : T(0);
        sum += to[k] = ignores(r) ? T(0) : weights.data()[k] * (label + even);
      }
      total.data()[r] = sum;
    }
    const Var<T> g = options_.reduction == Reduction::none ? reshape(c.gradient(), column_of(labels_.shape()))
                                                           : c.gradient() * factor();
    c.add(0, g * (Var<T>(std::move(total)) * softmax(c.input(0)) - Var<T>(std::move(q))));
  }

 private:
  bool ignores(Int r) const { return options_.ignored_label && labels_[r] == *options_.ignored_label; }
  T weight(Int r) const { return options_.class_weights ? options_.class_weights->data()[labels_[r]] : T(1); }
  Tensor<T> all_weights(Int classes) const {
    if (options_.class_weights) return *options_.class_weights;
    Tensor<T> ones = empty_tensor<T>({classes});
    std::fill(ones.begin(), ones.end(), T(1));
    return ones;
  }
  static T sum_of(const Tensor<T>& x) {
    T sum = 0;
    for (const T value : x) sum += value;
    return sum;
  }
  // What the sum is multiplied by: for the mean, one over the weights of the labels that count.
  T factor() const {
    if (options_.reduction != Reduction::mean) return T(1);
    T total = 0;
    for (Int r = 0; r < labels_.size(); ++r)
      if (!ignores(r)) total += weight(r);
    return total > 0 ? 1 / total : T(0);
  }
  T loss(const T* x, Int r, Int classes) const {
    if (ignores(r)) return T(0);
    const T share = (1 - smoothing_) * weight(r);
    T loss = share == 0 ? T(0) : -share * rows_.log_probability(x[labels_[r]], r);
    if (smoothing_ == 0) return loss;
    const T even = smoothing_ / static_cast<T>(classes);
    for (Int k = 0; k < classes; ++k) {
      const T w = options_.class_weights ? options_.class_weights->data()[k] : T(1);
      if (w != 0) loss -= even * w * rows_.log_probability(x[k], r);
    }
    return loss;
  }

  Indices labels_;
  CrossEntropyOptions<T> options_;
  T smoothing_;
  ScoreRows<T> rows_;
};

/// -sum_k t_k log p_k for p = softmax(x); of t_k = 0 nothing.
template <class T>
class SoftCrossEntropy final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;
  static constexpr std::string_view name_ = "cross_entropy_with_probabilities";

 public:
  explicit SoftCrossEntropy(Reduction reduction) : reduction_(reduction) {}
  explicit SoftCrossEntropy(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(reduction_);
    Attributes::require(reduction_ >= Reduction::none && reduction_ <= Reduction::sum);
  }
  std::string_view name() const override { return name_; }
  Shape shape(const Shapes& in, int) const override {
    if (in.size() != 2 || in[0].rank() == 0 || in[0] != in[1])
      fail<ShapeError>(name_, "targets of shape ", in[1], " for scores of shape ", in[0]);
    return detail::reduced_shape(name_, without_last(in[0]), reduction_);
  }
  std::uint32_t needs() const override { return Needs::all_inputs; }

  void forward(Forward<T>& c) override {
    const T *x = c.input(0).data, *t = c.input(1).data;
    const auto [rows, classes] = extents(c.input(0).shape);
    rows_.evaluate(x, rows, classes);
    const Int n = classes;
    const auto evaluate = [&](Int begin, Int end, T* out) {
      for (Int r = begin; r < end; ++r) {
        T loss = 0;
        for (Int k = r * n; k < (r + 1) * n; ++k)
          if (t[k] != 0) loss -= t[k] * rows_.log_probability(x[k], r);
        out[r - begin] = loss;
      }
    };
    if (reduction_ == Reduction::none)
      evaluate(0, rows, c.output().data);
    else
      *c.output().data =
          detail::sum_of_blocks<T>(rows, std::min<Int>(1024, ScoreRows<T>::grain(n)), evaluate) * factor(rows);
  }

  void backward(Backward<T>& c) override {
    const T *x = c.input(0).data, *t = c.input(1).data, *g = c.gradient().data;
    const auto [rows, n] = extents(c.input_shape(0));
    const detail::Scratch<T> shares(static_cast<std::size_t>(2 * rows));
    T *a = shares.data(), *b = a + rows;
    for (Int r = 0; r < rows; ++r) {
      b[r] = reduction_ == Reduction::none ? g[r] : *g * factor(rows);
      T sum = 0;
      for (Int k = r * n; k < (r + 1) * n; ++k) sum += t[k];
      a[r] = b[r] * sum;
    }
    if (c.wants(0)) {
      const Target<T> to = c.target(0);
      detail::parallel_for(rows, ScoreRows<T>::grain(n), [&, columns = n](Int begin, Int end) {
        const auto width = static_cast<std::size_t>(columns);
        const Int at = begin * columns;
        table<T>().weighted_difference(x + at, static_cast<std::size_t>(end - begin), width,
                                       rows_.largest.data() + begin, rows_.log_sum.data() + begin, a + begin, b + begin,
                                       t + at, width, to.data + at, to.accumulate);
      });
    }
    if (c.wants(1)) {
      T* out = c.add_to(1);
      for (Int r = 0; r < rows; ++r)
        for (Int k = r * n; b[r] != 0 && k < (r + 1) * n; ++k) out[k] -= b[r] * rows_.log_probability(x[k], r);
    }
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> x = c.input(0), t = c.input(1);
    const Var<T> g = reduction_ == Reduction::none ? reshape(c.gradient(), column_of(without_last(x.shape())))
                                                   : c.gradient() * factor(extents(x.shape()).first);
    if (c.wants(0)) c.add(0, g * (sum(t, {-1}, true) * softmax(x) - t));
    if (c.wants(1)) c.add(1, -g * log_softmax(x));
  }

 private:
  static std::pair<Int, Int> extents(const Shape& x) { return {without_last(x).elements(), x.back()}; }
  T factor(Int rows) const { return reduction_ == Reduction::mean ? 1 / static_cast<T>(rows) : T(1); }

  Reduction reduction_;
  ScoreRows<T> rows_;
};

}  // namespace

void detail::register_cross_entropy() {
  register_operation<CrossEntropy<float>>("cross_entropy");
  register_operation<CrossEntropy<double>>("cross_entropy");
  register_operation<SoftCrossEntropy<float>>("cross_entropy_with_probabilities");
  register_operation<SoftCrossEntropy<double>>("cross_entropy_with_probabilities");
}

template <class T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels, Reduction reduction) {
  return record(std::make_unique<CrossEntropy<T>>(labels, CrossEntropyOptions<T>{.reduction = reduction}), logits);
}

template <class T>
Var<T> cross_entropy(const Var<T>& logits, const Indices& labels,
                     const CrossEntropyOptions<std::type_identity_t<T>>& options) {
  if (!(options.smoothing >= 0 && options.smoothing <= 1))
    fail<NumericalError>("cross_entropy", "a smoothing of ", options.smoothing, " is not within 0 and 1");
  if (options.class_weights)
    for (const T weight : *options.class_weights)
      if (!(weight >= 0) || std::isinf(weight))
        fail<NumericalError>("cross_entropy", "a class weight of ", weight, " is negative or not finite");
  return record(std::make_unique<CrossEntropy<T>>(labels, options), logits);
}

template <class T>
Var<T> cross_entropy_with_probabilities(const Var<T>& logits, const Var<T>& targets, Reduction reduction) {
  return record(std::make_unique<SoftCrossEntropy<T>>(reduction), logits, targets);
}

#define TAPESTRY_INSTANTIATE(T)                                                                                      \
  template Var<T> cross_entropy(const Var<T>&, const Indices&, Reduction);                                           \
  template Var<T> cross_entropy(const Var<T>&, const Indices&, const CrossEntropyOptions<std::type_identity_t<T>>&); \
  template Var<T> cross_entropy_with_probabilities(const Var<T>&, const Var<T>&, Reduction);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
