#include <tapestry/autodiff/ops/pooling.hpp>

#include <algorithm>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/pooling.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/indexing.hpp>
#include <tapestry/autodiff/ops/pool_layout.hpp>
#include <tapestry/autodiff/saved_operation.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using Windows = detail::PoolLayout;

// Elements that make a chunk for a thread.
constexpr Int chunk_elements = 1 << 15;

template <class T>
const detail::PoolKernels<T>& table() {
  return detail::kernels<detail::PoolKernels<T>>();
}

Int planes_of(const Shape& x, int axes) {
  Int planes = 1;
  for (int i = 0; i + axes < x.rank(); ++i) planes *= x[i];
  return planes;
}

template <class F>
void for_planes(Int planes, Int elements, F f) {
  detail::parallel_for(planes, std::max<Int>(1, chunk_elements / std::max<Int>(1, elements)), f);
}

/// Values to their places in larger planes, and back: each is the other's transpose.
template <class T>
class MovePooled final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  MovePooled(const Indices& indices, const Shape& large, int axes, bool scatter)
      : indices_(indices), large_(large), axes_(axes), scatter_(scatter) {}
  explicit MovePooled(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { a.computed(indices_), a(large_), a(axes_), a(scatter_); }
  bool suits(const Shapes& in) override {
    const Shape& small = indices_.shape();
    bool fits = (axes_ == 1 || axes_ == 2) && large_.rank() >= axes_ && small.rank() == large_.rank() &&
                in[0] == (scatter_ ? small : large_);
    for (int i = 0; fits && i < large_.rank() - axes_; ++i) fits = small[i] == large_[i];
    return fits;
  }
  std::string_view name() const override { return scatter_ ? "max_unpool" : "max_pool_gather"; }
  Shape shape(const Shapes&, int) const override { return scatter_ ? large_ : indices_.shape(); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }

  void forward(Forward<T>& c) override {
    // Another operation may have computed them anew.
    Int plane = 1;
    for (int i = large_.rank() - axes_; i < large_.rank(); ++i) plane *= large_[i];
    detail::check_indices(name(), indices_, Shape{plane}, 0);
    move(scatter_, c.input(0).data, c.output().data, false);
  }
  void backward(Backward<T>& c) override {
    const Target<T> to = c.target(0);
    move(!scatter_, c.gradient().data, to.data, to.accumulate);
  }
  void vjp(Vjp<T>& c) override {
    c.add(0, record(std::make_unique<MovePooled>(indices_, large_, axes_, !scatter_), c.gradient()));
  }

 private:
  void move(bool scatter, const T* from, T* to, bool accumulate) const {
    const Int planes = planes_of(large_, axes_);
    if (planes == 0) return;
    const Int size = large_.elements() / planes, n = indices_.size() / planes;
    const auto f = scatter ? table<T>().scatter : table<T>().gather;
    for_planes(planes, size, [&](Int begin, Int end) {
      f(from + begin * (scatter ? n : size), end - begin, n, indices_.data() + begin * n, size,
        to + begin * (scatter ? size : n), accumulate);
    });
  }

  Indices indices_;
  Shape large_;
  int axes_ = 1;
  bool scatter_ = false;
};

template <class T>
class MaxPool final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  MaxPool(Windows windows, const Shape& x)
      : windows_(std::move(windows)), x_(x), places_(empty_tensor<Int>(windows_.pooled(x))) {}
  MaxPool(Attributes& a, std::string_view name) {
    attributes(a);
    windows_.name = name;
  }
  void attributes(Attributes& a) override { windows_.exchange(a), a(x_), a.state(places_); }
  bool suits(const Shapes& in) override {
    return in[0] == x_ && windows_.fit(x_) && places_.shape() == windows_.pooled(x_);
  }
  std::string_view name() const override { return windows_.name; }
  Shape shape(const Shapes&, int) const override { return places_.shape(); }
  std::uint32_t needs() const override { return Needs::nothing; }
  const Indices& places() const { return places_; }

  void forward(Forward<T>& c) override {
    const detail::PoolWindows raw = windows_.raw();
    // The places are this operation's; whoever else holds the handle reads those of the latest evaluation.
    Int* places = const_cast<Int*>(places_.data());
    for_planes(planes_of(x_, windows_.axes), windows_.plane(), [&](Int begin, Int end) {
      const Int n = windows_.results();
      table<T>().maximum(c.input(0).data + begin * windows_.plane(), end - begin, raw, c.output().data + begin * n,
                         places + begin * n);
    });
  }
  void backward(Backward<T>& c) override {
    const Target<T> to = c.target(0);
    const Int n = windows_.results();
    for_planes(planes_of(x_, windows_.axes), windows_.plane(), [&](Int begin, Int end) {
      table<T>().scatter(c.gradient().data + begin * n, end - begin, n, places_.data() + begin * n, windows_.plane(),
                         to.data + begin * windows_.plane(), to.accumulate);
    });
  }
  void vjp(Vjp<T>& c) override { c.add(0, moved(c.gradient(), true)); }
  std::vector<Var<T>> jvp(Jvp<T>& c) override { return {moved(c.tangent(0), false)}; }

 private:
  Var<T> moved(const Var<T>& values, bool scatter) const {
    return record(std::make_unique<MovePooled<T>>(places_, x_, windows_.axes, scatter), values);
  }

  Windows windows_;
  Shape x_;
  Indices places_;
};

template <class T>
class AveragePool final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  AveragePool(Windows windows, const Shape& x, bool transposed)
      : windows_(std::move(windows)),
        x_(x),
        transposed_(transposed),
        row_factor_(windows_.rows.factor.begin(), windows_.rows.factor.end()),
        column_factor_(windows_.columns.factor.begin(), windows_.columns.factor.end()) {}
  AveragePool(Attributes& a, std::string_view name) {
    attributes(a);
    windows_.name = name;
    row_factor_.assign(windows_.rows.factor.begin(), windows_.rows.factor.end());
    column_factor_.assign(windows_.columns.factor.begin(), windows_.columns.factor.end());
  }
  void attributes(Attributes& a) override { windows_.exchange(a), a(x_), a(transposed_); }
  bool suits(const Shapes& in) override {
    return windows_.fit(x_) && in[0] == (transposed_ ? windows_.pooled(x_) : x_);
  }
  std::string_view name() const override { return windows_.name; }
  Shape shape(const Shapes&, int) const override { return transposed_ ? x_ : windows_.pooled(x_); }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }

  void forward(Forward<T>& c) override {
    if (transposed_) {
      std::fill_n(c.output().data, c.output().size(), T(0));
      spread(c.input(0).data, c.output().data);
    } else {
      average(c.input(0).data, c.output().data);
    }
  }
  void backward(Backward<T>& c) override {
    if (!transposed_) return spread(c.gradient().data, c.add_to(0));
    const Target<T> to = c.target(0);
    if (!to.accumulate) return average(c.gradient().data, to.data);
    const detail::Scratch<T> scratch(static_cast<std::size_t>(to.size()));
    average(c.gradient().data, scratch.data());
    for (Int i = 0; i < to.size(); ++i) to.data[i] += scratch.data()[i];
  }
  void vjp(Vjp<T>& c) override {
    c.add(0, record(std::make_unique<AveragePool>(windows_, x_, !transposed_), c.gradient()));
  }

 private:
  void average(const T* x, T* y) const {
    const detail::PoolWindows raw = windows_.raw();
    for_planes(planes_of(x_, windows_.axes), windows_.plane(), [&](Int begin, Int end) {
      table<T>().average(x + begin * windows_.plane(), end - begin, raw, row_factor_.data(), column_factor_.data(),
                         y + begin * windows_.results());
    });
  }
  void spread(const T* g, T* out) const {
    const detail::PoolWindows raw = windows_.raw();
    for_planes(planes_of(x_, windows_.axes), windows_.plane(), [&](Int begin, Int end) {
      table<T>().average_backward(g + begin * windows_.results(), end - begin, raw, row_factor_.data(),
                                  column_factor_.data(), out + begin * windows_.plane());
    });
  }

  Windows windows_;
  Shape x_;
  bool transposed_ = false;
  std::vector<T> row_factor_, column_factor_;
};

}  // namespace

void detail::register_pooling() {
  register_operations<MovePooled>("max_unpool", "max_pool_gather");
  register_operations<MaxPool>("max_pool1d", "max_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d");
  register_operations<AveragePool>("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d");
}

namespace {

template <class T>
MaxPoolResult<T> max_pool(const Var<T>& x, Windows w) {
  auto operation = std::make_unique<MaxPool<T>>(std::move(w), x.shape());
  const Indices places = operation->places();
  return {record(std::move(operation), x), places};
}
template <class T>
Var<T> average_pool(const Var<T>& x, Windows w) {
  return record(std::make_unique<AveragePool<T>>(std::move(w), x.shape(), false), x);
}

template <class T>
Var<T> unpool(std::string_view name, const Var<T>& x, const Indices& indices, int axes, HeightWidth size) {
  detail::check_pool_rank(name, x.shape(), axes);
  if (x.shape() != indices.shape())
    fail<ShapeError>(name, "x ", x.shape(), " and indices ", indices.shape(), " differ in shape");
  Shape large = x.shape();
  if (axes == 2) large[large.rank() - 2] = size.height;
  large[large.rank() - 1] = size.width;
  if (size.height < 0 || size.width < 0) fail<ShapeError>(name, "a negative size for x ", x.shape());
  const Int plane = axes == 2 ? size.height * size.width : size.width;
  for (Int i = 0; i < indices.size(); ++i)
    if (indices[i] < 0 || indices[i] >= plane)
      fail<IndexError>(name, "index ", indices[i], " at element ", i, " of indices ", indices.shape(),
                       " is outside a plane of ", plane, " elements");
  return record(std::make_unique<MovePooled<T>>(indices, large, axes, true), x);
}

}  // namespace

template <class T>
Var<T> max_pool1d(const Var<T>& x, Int window, const Pool1dOptions& options) {
  return max_pool(x, detail::pool_layout("max_pool1d", x.shape(), window, options)).value;
}
template <class T>
Var<T> max_pool2d(const Var<T>& x, HeightWidth window, const Pool2dOptions& options) {
  return max_pool(x, detail::pool_layout("max_pool2d", x.shape(), window, options)).value;
}
template <class T>
MaxPoolResult<T> max_pool1d_with_indices(const Var<T>& x, Int window, const Pool1dOptions& options) {
  return max_pool(x, detail::pool_layout("max_pool1d", x.shape(), window, options));
}
template <class T>
MaxPoolResult<T> max_pool2d_with_indices(const Var<T>& x, HeightWidth window, const Pool2dOptions& options) {
  return max_pool(x, detail::pool_layout("max_pool2d", x.shape(), window, options));
}
template <class T>
Var<T> avg_pool1d(const Var<T>& x, Int window, const Pool1dOptions& options) {
  return average_pool(x, detail::pool_layout("avg_pool1d", x.shape(), window, options));
}
template <class T>
Var<T> avg_pool2d(const Var<T>& x, HeightWidth window, const Pool2dOptions& options) {
  return average_pool(x, detail::pool_layout("avg_pool2d", x.shape(), window, options));
}
template <class T>
Var<T> adaptive_avg_pool1d(const Var<T>& x, Int count) {
  return average_pool(x, detail::adaptive_pool_layout("adaptive_avg_pool1d", x.shape(), count));
}
template <class T>
Var<T> adaptive_avg_pool2d(const Var<T>& x, HeightWidth count) {
  return average_pool(x, detail::adaptive_pool_layout("adaptive_avg_pool2d", x.shape(), count));
}
template <class T>
Var<T> adaptive_max_pool1d(const Var<T>& x, Int count) {
  return max_pool(x, detail::adaptive_pool_layout("adaptive_max_pool1d", x.shape(), count)).value;
}
template <class T>
Var<T> adaptive_max_pool2d(const Var<T>& x, HeightWidth count) {
  return max_pool(x, detail::adaptive_pool_layout("adaptive_max_pool2d", x.shape(), count)).value;
}
template <class T>
Var<T> max_unpool1d(const Var<T>& x, const Indices& indices, Int size) {
  return unpool("max_unpool1d", x, indices, 1, {1, size});
}
template <class T>
Var<T> max_unpool2d(const Var<T>& x, const Indices& indices, HeightWidth size) {
  return unpool("max_unpool2d", x, indices, 2, size);
}

#define TAPESTRY_INSTANTIATE(T)                                                                        \
  template Var<T> max_pool1d(const Var<T>&, Int, const Pool1dOptions&);                                \
  template Var<T> max_pool2d(const Var<T>&, HeightWidth, const Pool2dOptions&);                        \
  template MaxPoolResult<T> max_pool1d_with_indices(const Var<T>&, Int, const Pool1dOptions&);         \
  template MaxPoolResult<T> max_pool2d_with_indices(const Var<T>&, HeightWidth, const Pool2dOptions&); \
  template Var<T> avg_pool1d(const Var<T>&, Int, const Pool1dOptions&);                                \
  template Var<T> avg_pool2d(const Var<T>&, HeightWidth, const Pool2dOptions&);                        \
  template Var<T> adaptive_avg_pool1d(const Var<T>&, Int);                                             \
  template Var<T> adaptive_avg_pool2d(const Var<T>&, HeightWidth);                                     \
  template Var<T> adaptive_max_pool1d(const Var<T>&, Int);                                             \
  template Var<T> adaptive_max_pool2d(const Var<T>&, HeightWidth);                                     \
  template Var<T> max_unpool1d(const Var<T>&, const Indices&, Int);                                    \
  template Var<T> max_unpool2d(const Var<T>&, const Indices&, HeightWidth);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
