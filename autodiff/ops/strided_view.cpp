#include <tapestry/autodiff/ops/strided_view.hpp>

#include <algorithm>
#include <cstdlib>

#include <tapestry/autodiff/ops/structure.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry::detail {
namespace {

// Operations that are views or places; the gradient of one is of the other kind and has its name.
constexpr std::string_view names[] = {"slice",     "select",   "split", "flip",       "transpose",
                                      "swap_axes", "diagonal", "pad",   "diag_embed", "permute"};
constexpr std::size_t name_count = std::size(names);

void exchange(Attributes& a, View& view) {
  auto name = static_cast<std::size_t>(std::find(names, names + name_count, view.name) - names);
  a(name), a(view.whole), a(view.part), a(view.offset), a(view.strides);
  if (!a.reading()) return;
  Attributes::require(name < name_count);
  view.name = names[name];
  if (view.part.elements() == 0) return;
  std::int64_t low = view.offset, high = view.offset;
  for (int i = 0; i < view.part.rank(); ++i) {
    constexpr std::int64_t most = std::int64_t{1} << 48;
    const std::int64_t stride = view.strides[static_cast<std::size_t>(i)];
    Attributes::require(std::abs(stride) <= most && std::abs(low) <= most && std::abs(high) <= most);
    Attributes::require(view.part[i] == 1 || std::abs(stride) <= most / view.part[i]);
    (stride < 0 ? low : high) += stride * (view.part[i] - 1);
  }
  Attributes::require(low >= 0 && high < view.whole.elements());
}

template <class T>
class ViewOperation final : public Operation<T>, public SavedOperation, public RelocatingOperation {
 public:
  Relocation relocation() const override { return {view_, false, 0}; }
  explicit ViewOperation(Attributes& a) { exchange(a, view_); }
  void attributes(Attributes& a) override {
    bool placed = false;
    a(placed), exchange(a, view_);
  }
  explicit ViewOperation(const View& view) : view_(view) {}
  std::string_view name() const override { return view_.name; }
  Shape shape(const Shapes& in, int) const override {
    if (in[0] != view_.whole) fail<ShapeError>(name(), "of a tensor of shape ", in[0], ", made for ", view_.whole);
    return view_.part;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  void forward(Forward<T>& c) override {
    strided_copy(c.input(0).data + view_.offset, view_.strides, c.output().data, row_major_strides(view_.part),
                 view_.part, false);
  }
  void backward(Backward<T>& c) override {
    bool accumulate = true;
    T* out = nullptr;
    if (view_.onto()) {
      const Target<T> target = c.target(0);
      out = target.data, accumulate = target.accumulate;
    } else {
      out = c.add_to(0);
    }
    strided_copy(c.gradient().data, row_major_strides(view_.part), out + view_.offset, view_.strides, view_.part,
                 accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, place(view_, c.gradient())); }

 private:
  View view_;
};

template <class T>
class PlaceOperation final : public Operation<T>, public SavedOperation, public RelocatingOperation {
 public:
  Relocation relocation() const override { return {view_, true, static_cast<double>(fill_)}; }
  explicit PlaceOperation(Attributes& a) { exchange(a, view_), a(fill_); }
  void attributes(Attributes& a) override {
    bool placed = true;
    a(placed), exchange(a, view_), a(fill_);
  }
  PlaceOperation(const View& view, T fill) : view_(view), fill_(fill) {}
  std::string_view name() const override { return view_.name; }
  Shape shape(const Shapes& in, int) const override {
    if (in[0] != view_.part) fail<ShapeError>(name(), "of a tensor of shape ", in[0], ", made for ", view_.part);
    return view_.whole;
  }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return fill_ == T(0) ? Linearity::linear : Linearity::general; }
  void forward(Forward<T>& c) override {
    if (!view_.onto()) std::fill_n(c.output().data, c.output().size(), fill_);
    strided_copy(c.input(0).data, row_major_strides(view_.part), c.output().data + view_.offset, view_.strides,
                 view_.part, false);
  }
  void backward(Backward<T>& c) override {
    const Target<T> out = c.target(0);
    strided_copy(c.gradient().data + view_.offset, view_.strides, out.data, row_major_strides(view_.part), view_.part,
                 out.accumulate);
  }
  void vjp(Vjp<T>& c) override { c.add(0, tapestry::detail::view(view_, c.gradient())); }
  std::vector<Var<T>> jvp(Jvp<T>& c) override { return {place(view_, c.tangent(0))}; }

 private:
  View view_;
  T fill_;
};

}  // namespace

void register_views() {
  const auto add = [](std::string_view name, auto type) {
    using T = decltype(type);
    add_operation(name, dtype_of<T>, [](Attributes& a) -> OperationBase* {
      bool placed = false;
      a(placed);
      if (placed) return new PlaceOperation<T>(a);
      return new ViewOperation<T>(a);
    });
  };
  for (const std::string_view name : names) add(name, float()), add(name, double());
}

template <class T>
Var<T> view(const View& view, const Var<T>& x) {
  return record(std::make_unique<ViewOperation<T>>(view), x);
}

template <class T>
Var<T> place(const View& view, const Var<T>& x, T fill) {
  return record(std::make_unique<PlaceOperation<T>>(view, fill), x);
}

#define TAPESTRY_INSTANTIATE(T)                          \
  template Var<T> view(const View& view, const Var<T>&); \
  template Var<T> place(const View& view, const Var<T>&, T);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry::detail
