#include <tapestry/autodiff/ops/strided_view.hpp>

#include <algorithm>

namespace tapestry::detail {
namespace {

template <class T>
class ViewOperation final : public Operation<T> {
 public:
  explicit ViewOperation(const View& view) : view_(view) {}
  std::string_view name() const override { return view_.name; }
  Shape shape(const Shapes&, int) const override { return view_.part; }
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
class PlaceOperation final : public Operation<T> {
 public:
  PlaceOperation(const View& view, T fill) : view_(view), fill_(fill) {}
  std::string_view name() const override { return view_.name; }
  Shape shape(const Shapes&, int) const override { return view_.whole; }
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
