#include <tapestry/autodiff/ops/masking.hpp>

#include <algorithm>
#include <optional>

#include <tapestry/autodiff/elementwise_form.hpp>
#include <tapestry/autodiff/ops/binary_operation.hpp>
#include <tapestry/autodiff/ops/broadcast_plan.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/tape.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace detail {

template <class T>
Var<T> numbers(const Indices& indices) {
  Var<T> out = Var<T>::zeros(indices.shape());
  std::transform(indices.data(), indices.data() + indices.size(), out.mutable_data(),
                 [](std::int64_t i) { return static_cast<T>(i); });
  return out;
}

namespace {

// Elements per piece of work of a thread.
constexpr std::int64_t grain = 32768;

// The condition in the result's shape.
template <class T>
class Condition {
 public:
  Condition(const T* data, const Shape& shape, const Shape& out) : data_(data) {
    if (shape == out) return;
    full_.emplace(static_cast<std::size_t>(out.elements()));
    broadcast_copy(data, shape, full_->data(), out, false);
    data_ = full_->data();
  }
  const T* data() const { return data_; }

 private:
  const T* data_;
  std::optional<Scratch<T>> full_;
};

template <class T>
class Where final : public Operation<T>, public SavedOperation {
 public:
  void attributes(Attributes&) override {}
  bool suits(const Shapes& in) override { return in.size() == 3; }
  std::string_view name() const override { return "where"; }
  Shape shape(const Shapes& in, int) const override {
    return broadcast("where", in[0], broadcast("where", in[1], in[2]));
  }
  std::uint32_t needs() const override { return Needs::input(0); }
  bool elementwise_form(ElementwiseForm& form) const override {
    form.kind = ElementwiseForm::Kind::select;
    return true;
  }
  void forward(Forward<T>& c) override {
    const auto a = c.input(1), b = c.input(2);
    const auto y = c.output();
    const Condition<T> condition(c.input(0).data, c.input(0).shape, y.shape);
    const auto select = kernels<ElementwiseKernels<T>>().select;
    const BroadcastPlan plan(a.shape, b.shape, y.shape);
    plan.for_each_run([&](std::int64_t from_a, std::size_t stride_a, std::int64_t from_b, std::size_t stride_b,
                          std::int64_t to, std::int64_t length) {
      parallel_for(length, grain, [&](std::int64_t begin, std::int64_t end) {
        select(condition.data() + to + begin, 1, a.data + from_a + begin * static_cast<std::int64_t>(stride_a),
               stride_a, b.data + from_b + begin * static_cast<std::int64_t>(stride_b), stride_b, y.data + to + begin,
               static_cast<std::size_t>(end - begin));
      });
    });
  }
  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    if (!c.wants(1) && !c.wants(2)) return;
    const Condition<T> condition(c.input(0).data, c.input(0).shape, g.shape);
    for (const int i : {1, 2}) {
      if (!c.wants(i)) continue;
      if (c.input_shape(i) == g.shape) {
        const Target<T> out = c.target(i);
        pass(g, condition, i == 1, out.data, out.accumulate);
      } else {
        const Scratch<T> full(static_cast<std::size_t>(g.size()));
        pass(g, condition, i == 1, full.data(), false);
        c.add_reduced(i, full.data());
      }
    }
  }
  void vjp(Vjp<T>& c) override {
    const Var<T> zero(T(0));
    if (c.wants(1)) c.add(1, where(c.input(0), c.gradient(), zero));
    if (c.wants(2)) c.add(2, where(c.input(0), zero, c.gradient()));
  }
  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    const Var<T> y = where(c.input(0), c.tangent(1), c.tangent(2));
    return {y};
  }

 private:
  static void pass(Array<const T> g, const Condition<T>& condition, bool side, T* out, bool accumulate) {
    const auto kernel = kernels<ElementwiseKernels<T>>().select_backward;
    parallel_for(g.size(), grain, [&](std::int64_t begin, std::int64_t end) {
      kernel(g.data + begin, condition.data() + begin, 1, side, out + begin, static_cast<std::size_t>(end - begin),
             accumulate);
    });
  }
};

template <class T>
class Triangle final : public Operation<T>, public SavedOperation {
 public:
  Triangle(bool upper, std::int64_t offset) : upper_(upper), offset_(offset) {}
  explicit Triangle(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(upper_), a(offset_);
    constexpr std::int64_t most = std::int64_t{1} << 48;
    Attributes::require(offset_ >= -most && offset_ <= most);
  }
  std::string_view name() const override { return upper_ ? "triu" : "tril"; }
  Shape shape(const Shapes& in, int) const override {
    if (in[0].rank() < 2) fail<ShapeError>(name(), "x of shape ", in[0], " has less than two axes");
    return in[0];
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override { keep(c.input(0).data, c.output().data, c.output().shape, false); }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    keep(c.gradient().data, out.data, out.shape, out.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, upper_ ? triu(c.gradient(), offset_) : tril(c.gradient(), offset_)); }

 private:
  void keep(const T* x, T* y, const Shape& shape, bool accumulate) const {
    const std::int64_t columns = shape[shape.rank() - 1], height = shape[shape.rank() - 2];
    const std::int64_t rows = columns == 0 ? 0 : shape.elements() / columns;
    const std::int64_t step = std::max<std::int64_t>(1, grain / std::max<std::int64_t>(1, columns));
    parallel_for(rows, step, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = first; r < last; ++r) {
        const std::int64_t diagonal = r % height + offset_;
        const std::int64_t begin = upper_ ? std::clamp<std::int64_t>(diagonal, 0, columns) : 0;
        const std::int64_t end = upper_ ? columns : std::clamp<std::int64_t>(diagonal + 1, 0, columns);
        const T* from = x + r * columns;
        T* to = y + r * columns;
        if (accumulate) {
          for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
        } else {
          std::fill(to, to + begin, T(0));
          std::copy(from + begin, from + end, to + begin);
          std::fill(to + end, to + columns, T(0));
        }
      }
    });
  }

  bool upper_ = false;
  std::int64_t offset_ = 0;
};

template <class T, Binary kernel>
Var<T> compare(const Var<T>& a, const Var<T>& b) {
  constexpr std::string_view names[] = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"};
  static constexpr BinaryRule<T> rule{names[static_cast<int>(kernel) - static_cast<int>(Binary::less)], kernel,
                                      Needs::nothing, Linearity::elementwise, [](Vjp<T>&) {}};
  static OperationBase* const operation = make_binary(rule);
  const NoGradients off;
  return apply_shared(operation, a, b);
}

}  // namespace

void register_masking() {
  register_operations<Where>("where");
  register_operations<Triangle>("triu", "tril");
}

}  // namespace detail

template <class T>
Var<T> less(const Var<T>& a, const Var<T>& b) {
  return detail::compare<T, detail::Binary::less>(a, b);
}
template <class T>
Var<T> less_equal(const Var<T>& a, const Var<T>& b) {
  return detail::compare<T, detail::Binary::less_equal>(a, b);
}
template <class T>
Var<T> greater(const Var<T>& a, const Var<T>& b) {
  return detail::compare<T, detail::Binary::greater>(a, b);
}
template <class T>
Var<T> greater_equal(const Var<T>& a, const Var<T>& b) {
  return detail::compare<T, detail::Binary::greater_equal>(a, b);
}
template <class T>
Var<T> equal(const Var<T>& a, const Var<T>& b) {
  return detail::compare<T, detail::Binary::equal>(a, b);
}
template <class T>
Var<T> not_equal(const Var<T>& a, const Var<T>& b) {
  return detail::compare<T, detail::Binary::not_equal>(a, b);
}

template <class T>
Var<T> where(const Var<T>& condition, const Var<T>& a, const Var<T>& b) {
  static detail::OperationBase* const operation = new detail::Where<T>;
  return detail::apply_shared(operation, condition, a, b);
}
template <class T>
Var<T> where(const Indices& condition, const Var<T>& a, const Var<T>& b) {
  return where(detail::numbers<T>(condition), a, b);
}

template <class T>
Var<T> masked_fill(const Var<T>& x, const Var<T>& mask, std::type_identity_t<T> value) {
  if (broadcast("masked_fill", x.shape(), mask.shape()) != x.shape())
    fail<ShapeError>("masked_fill", "a mask of shape ", mask.shape(), " for a tensor of shape ", x.shape());
  return where(mask, Var<T>(value), x);
}
template <class T>
Var<T> masked_fill(const Var<T>& x, const Indices& mask, std::type_identity_t<T> value) {
  return masked_fill(x, detail::numbers<T>(mask), value);
}

template <class T>
Var<T> triu(const Var<T>& x, std::int64_t offset) {
  return record(std::make_unique<detail::Triangle<T>>(true, offset), x);
}
template <class T>
Var<T> tril(const Var<T>& x, std::int64_t offset) {
  return record(std::make_unique<detail::Triangle<T>>(false, offset), x);
}

#define TAPESTRY_INSTANTIATE(T)                                                        \
  template Var<T> detail::numbers(const Indices&);                                     \
  template Var<T> less(const Var<T>&, const Var<T>&);                                  \
  template Var<T> less_equal(const Var<T>&, const Var<T>&);                            \
  template Var<T> greater(const Var<T>&, const Var<T>&);                               \
  template Var<T> greater_equal(const Var<T>&, const Var<T>&);                         \
  template Var<T> equal(const Var<T>&, const Var<T>&);                                 \
  template Var<T> not_equal(const Var<T>&, const Var<T>&);                             \
  template Var<T> where(const Var<T>&, const Var<T>&, const Var<T>&);                  \
  template Var<T> where(const Indices&, const Var<T>&, const Var<T>&);                 \
  template Var<T> masked_fill(const Var<T>&, const Var<T>&, std::type_identity_t<T>);  \
  template Var<T> masked_fill(const Var<T>&, const Indices&, std::type_identity_t<T>); \
  template Var<T> triu(const Var<T>&, std::int64_t);                                   \
  template Var<T> tril(const Var<T>&, std::int64_t);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
