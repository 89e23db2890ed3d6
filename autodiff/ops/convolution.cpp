#include <tapestry/autodiff/ops/convolution.hpp>

#include <string>

#include <tapestry/autodiff/kernels/reduce.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/convolution_products.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/saved_operation.hpp>

namespace tapestry {
namespace {

using Int = std::int64_t;
using Geometry = detail::ConvolutionGeometry;

/// The three arrays of a convolution y = x * w. Each of its products takes two of them to the third, and the
/// derivatives of each product are the other two.
enum class Role { x, w, y };

struct Plan {
  Geometry geometry;
  int axes = 1;  // of the image: 1 or 2

  void exchange(Attributes& a) {
    Geometry& g = geometry;
    a(axes), a(g.batch), a(g.channels), a(g.height), a(g.width), a(g.outputs), a(g.kernel_height), a(g.kernel_width);
    a(g.y_height), a(g.y_width), a(g.stride_height), a(g.stride_width), a(g.padding_height), a(g.padding_width);
    a(g.dilation_height), a(g.dilation_width), a(g.groups);
  }
  // What a file says.
  bool consistent() const {
    const Geometry& g = geometry;
    constexpr Int most = Int{1} << 30;
    for (const Int extent :
         {g.batch, g.channels, g.height, g.width, g.outputs, g.y_height, g.y_width, g.padding_height, g.padding_width})
      if (extent < 0 || extent > most) return false;
    for (const Int extent : {g.kernel_height, g.kernel_width, g.stride_height, g.stride_width, g.dilation_height,
                             g.dilation_width, g.groups})
      if (extent < 1 || extent > most) return false;
    const auto windows = [](Int size, Int padding, Int kernel, Int dilation, Int stride) {
      const Int room = size + 2 * padding - dilation * (kernel - 1) - 1;
      return room < 0 ? -1 : room / stride + 1;
    };
    if (axes != 2 && (axes != 1 || g.height != 1 || g.kernel_height != 1 || g.y_height != 1)) return false;
    return g.channels % g.groups == 0 && g.outputs % g.groups == 0 &&
           g.y_height == windows(g.height, g.padding_height, g.kernel_height, g.dilation_height, g.stride_height) &&
           g.y_width == windows(g.width, g.padding_width, g.kernel_width, g.dilation_width, g.stride_width);
  }
  Shape shape(Role role) const {
    const Geometry& g = geometry;
    switch (role) {
      case Role::x:
        return image(g.batch, g.channels, g.height, g.width);
      case Role::w:
        return image(g.outputs, g.channels / g.groups, g.kernel_height, g.kernel_width);
      default:
        return image(g.batch, g.outputs, g.y_height, g.y_width);
    }
  }
  Shape image(Int first, Int second, Int height, Int width) const {
    return axes == 1 ? Shape{first, second, width} : Shape{first, second, height, width};
  }
  std::string_view name(Role result) const {
    static constexpr std::string_view names[2][3] = {{"conv_transpose1d", "conv_weight1d", "conv1d"},
                                                     {"conv_transpose2d", "conv_weight2d", "conv2d"}};
    return names[axes - 1][static_cast<int>(result)];
  }
};

// The inputs of a product, in the order of x, w, y; of the transposed convolution, y before w.
Role first_of(Role result) {
  return result == Role::x ? Role::y : Role::x;
}
Role second_of(Role result) {
  return result == Role::w ? Role::y : Role::w;
}

template <class T>
class Convolution final : public Operation<T>, public SavedOperation {
  using typename Operation<T>::Shapes;

 public:
  Convolution(const Plan& plan, Role result) : plan_(plan), result_(result) {}
  explicit Convolution(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override {
    a(result_), plan_.exchange(a);
    Attributes::require(result_ >= Role::x && result_ <= Role::y && plan_.consistent());
  }
  bool suits(const Shapes& in) override {
    const bool fits = in.size() >= 2 && in.size() <= 3 && in[0] == plan_.shape(first_of(result_)) &&
                      in[1] == plan_.shape(second_of(result_));
    return fits && (in.size() == 2 || (result_ != Role::w && in[2] == Shape{plan_.shape(result_)[1]}));
  }

  std::string_view name() const override { return plan_.name(result_); }
  Shape shape(const Shapes&, int) const override { return plan_.shape(result_); }
  std::uint32_t needs() const override { return Needs::input(0) | Needs::input(1); }

  void forward(Forward<T>& c) override {
    compute(result_, first_of(result_), c.input(0).data, c.input(1).data, c.inputs() > 2 ? c.input(2).data : nullptr,
            c.output().data, false);
  }

  void backward(Backward<T>& c) override {
    const auto g = c.gradient();
    const Role roles[] = {first_of(result_), second_of(result_)};
    for (const int i : {0, 1}) {
      if (!c.wants(i)) continue;
      const Target<T> to = c.target(i);
      compute(roles[i], result_, g.data, c.input(1 - i).data, nullptr, to.data, to.accumulate);
    }
    if (c.inputs() > 2 && c.wants(2)) sum_channels(c, g);
  }

  void vjp(Vjp<T>& c) override {
    const Var<T> g = c.gradient();
    const Role roles[] = {first_of(result_), second_of(result_)};
    for (const int i : {0, 1})
      if (c.wants(i)) c.add(i, product(roles[i], result_, g, c.input(1 - i)));
    if (c.inputs() > 2 && c.wants(2)) c.add(2, plan_.axes == 1 ? sum(g, {0, 2}) : sum(g, {0, 2, 3}));
  }

  std::vector<Var<T>> jvp(Jvp<T>& c) override {
    Var<T> total;
    const auto add_term = [&](const Var<T>& term) { total = total.defined() ? total + term : term; };
    if (c.has_tangent(0)) add_term(product(result_, first_of(result_), c.tangent(0), c.input(1)));
    if (c.has_tangent(1)) add_term(product(result_, first_of(result_), c.input(0), c.tangent(1)));
    if (c.inputs() > 2 && c.has_tangent(2)) {
      const Var<T> bias = reshape(c.tangent(2), plan_.image(1, c.tangent(2).size(), 1, 1));
      add_term(broadcast_to(bias, plan_.shape(result_)));
    }
    return {total};
  }

 private:
  // `result` from the array of role `given` and the one that is neither.
  void compute(Role result, Role given, const T* a, const T* b, const T* bias, T* out, bool accumulate) const {
    const Geometry& g = plan_.geometry;
    const bool in_order = given == first_of(result);
    const T* first = in_order ? a : b;
    const T* second = in_order ? b : a;
    switch (result) {
      case Role::x:
        return detail::convolve_transposed(g, first, second, bias, out, accumulate);
      case Role::w:
        return detail::convolution_weight(g, first, second, out, accumulate);
      case Role::y:
        return detail::convolve(g, first, second, bias, out, accumulate);
    }
  }

  Var<T> product(Role result, Role given, const Var<T>& a, const Var<T>& b) const {
    const bool in_order = given == first_of(result);
    return record(std::make_unique<Convolution>(plan_, result), in_order ? a : b, in_order ? b : a);
  }

  static void sum_channels(Backward<T>& c, const Array<const T>& g) {
    const auto batch = static_cast<std::size_t>(g.shape[0]), channels = static_cast<std::size_t>(g.shape[1]);
    const Target<T> to = c.target(2);
    const auto& table = detail::kernels<detail::ReduceKernels<T>>();
    const detail::Scratch<T> rows(batch * channels);
    const std::size_t pixels = batch * channels == 0 ? 0 : static_cast<std::size_t>(g.size()) / (batch * channels);
    table.sum(g.data, {batch * channels, pixels, 1}, rows.data(), false);
    table.sum(rows.data(), {1, batch, channels}, to.data, to.accumulate);
  }

  Plan plan_{};
  Role result_ = Role::y;
};

struct Settings {
  int axes;
  HeightWidth stride, padding, dilation;
  Int groups;
  HeightWidth output_padding = 0;
};

Settings settings(const Conv1dOptions& o) {
  return {1, {1, o.stride}, {0, o.padding}, {1, o.dilation}, o.groups};
}
Settings settings(const Conv2dOptions& o) {
  return {2, o.stride, o.padding, o.dilation, o.groups};
}
Settings settings(const ConvTranspose1dOptions& o) {
  return {1, {1, o.stride}, {0, o.padding}, {1, o.dilation}, o.groups, {0, o.output_padding}};
}
Settings settings(const ConvTranspose2dOptions& o) {
  return {2, o.stride, o.padding, o.dilation, o.groups, o.output_padding};
}

Geometry checked_geometry(std::string_view name, const Settings& o, const Shape& image, const Shape& weight) {
  if (image.rank() != o.axes + 2)
    fail<ShapeError>(name, "x must be [batch, channels, ", o.axes == 1 ? "width" : "height, width", "], not ", image);
  if (weight.rank() != o.axes + 2)
    fail<ShapeError>(name, "the weight needs ", o.axes + 2, " axes, not those of ", weight);
  for (const auto& [what, setting] : {std::pair{"stride", o.stride}, std::pair{"dilation", o.dilation}})
    if (setting.height < 1 || setting.width < 1)
      fail<ShapeError>(name, "a ", what, " of ", std::min(setting.height, setting.width), " is less than 1");
  if (o.padding.height < 0 || o.padding.width < 0)
    fail<ShapeError>(name, "a padding of ", std::min(o.padding.height, o.padding.width), " is negative");
  for (int i = 1; i < weight.rank(); ++i)
    if (weight[i] == 0) fail<ShapeError>(name, "the weight ", weight, " has an empty filter");
  Geometry g;
  g.batch = image[0];
  g.kernel_height = o.axes == 1 ? 1 : weight[2];
  g.kernel_width = weight.back();
  g.stride_height = o.stride.height;
  g.stride_width = o.stride.width;
  g.padding_height = o.padding.height;
  g.padding_width = o.padding.width;
  g.dilation_height = o.dilation.height;
  g.dilation_width = o.dilation.width;
  g.groups = o.groups;
  if (g.groups < 1 || image[1] % g.groups != 0 || weight[0] % g.groups != 0)
    fail<ShapeError>(name, g.groups, " groups do not divide the channels of x ", image, " and weight ", weight);
  return g;
}

Int reach(Int kernel, Int dilation) {
  return dilation * (kernel - 1) + 1;
}

Plan plan(std::string_view name, const Settings& o, const Shape& x, const Shape& weight) {
  Geometry g = checked_geometry(name, o, x, weight);
  g.channels = x[1];
  g.outputs = weight[0];
  g.height = o.axes == 1 ? 1 : x[2];
  g.width = x.back();
  if (weight[1] * g.groups != g.channels)
    fail<ShapeError>(name, "x ", x, " has ", g.channels, " channels, the weight ", weight, " takes ",
                     weight[1] * g.groups);
  const Int room_height = g.height + 2 * g.padding_height - reach(g.kernel_height, g.dilation_height);
  const Int room_width = g.width + 2 * g.padding_width - reach(g.kernel_width, g.dilation_width);
  if (room_height < 0 || room_width < 0)
    fail<ShapeError>(name, "the filter of weight ", weight, " is larger than the padded x ", x);
  g.y_height = room_height / g.stride_height + 1;
  g.y_width = room_width / g.stride_width + 1;
  return {g, o.axes};
}

Plan transposed_plan(std::string_view name, const Settings& o, const Shape& x, const Shape& weight) {
  Geometry g = checked_geometry(name, o, x, weight);
  g.outputs = x[1];
  g.channels = weight[1] * g.groups;
  g.y_height = o.axes == 1 ? 1 : x[2];
  g.y_width = x.back();
  if (weight[0] != x[1])
    fail<ShapeError>(name, "x ", x, " has ", x[1], " channels, the weight ", weight, " takes ", weight[0]);
  if (g.y_height == 0 || g.y_width == 0) fail<ShapeError>(name, "x ", x, " has no pixels");
  const HeightWidth& extra = o.output_padding;
  if (extra.height < 0 || extra.width < 0 || extra.height >= g.stride_height || extra.width >= g.stride_width)
    fail<ShapeError>(name, "the output padding must be at least 0 and less than the stride");
  g.height = (g.y_height - 1) * g.stride_height - 2 * g.padding_height + reach(g.kernel_height, g.dilation_height) +
             extra.height;
  g.width =
      (g.y_width - 1) * g.stride_width - 2 * g.padding_width + reach(g.kernel_width, g.dilation_width) + extra.width;
  if (g.height < 1 || g.width < 1)
    fail<ShapeError>(name, "the padding cuts off all of the result of x ", x, " and weight ", weight);
  return {g, o.axes};
}

template <class T>
Var<T> with_bias(const Plan& p, Role result, const Var<T>& x, const Var<T>& weight, const Var<T>& bias) {
  const Int channels = p.shape(result)[1];
  if (bias.shape() != Shape{channels})
    fail<ShapeError>(p.name(result), "a bias of shape ", bias.shape(), " does not fit ", channels, " outputs");
  return record(std::make_unique<Convolution<T>>(p, result), x, weight, bias);
}

}  // namespace

void detail::register_convolution() {
  register_operations<Convolution>("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "conv_weight1d",
                                   "conv_weight2d");
}

#define TAPESTRY_CONVOLUTION(function, Options, make_plan, role)                                         \
  template <class T>                                                                                     \
  Var<T> function(const Var<T>& x, const Var<T>& weight, const Options& options) {                       \
    const Plan p = make_plan(#function, settings(options), x.shape(), weight.shape());                   \
    return record(std::make_unique<Convolution<T>>(p, role), x, weight);                                 \
  }                                                                                                      \
  template <class T>                                                                                     \
  Var<T> function(const Var<T>& x, const Var<T>& weight, const Var<T>& bias, const Options& options) {   \
    const Plan p = make_plan(#function, settings(options), x.shape(), weight.shape());                   \
    return with_bias(p, role, x, weight, bias);                                                          \
  }                                                                                                      \
  template Var<float> function(const Var<float>&, const Var<float>&, const Options&);                    \
  template Var<double> function(const Var<double>&, const Var<double>&, const Options&);                 \
  template Var<float> function(const Var<float>&, const Var<float>&, const Var<float>&, const Options&); \
  template Var<double> function(const Var<double>&, const Var<double>&, const Var<double>&, const Options&);
TAPESTRY_CONVOLUTION(conv1d, Conv1dOptions, plan, Role::y)
TAPESTRY_CONVOLUTION(conv2d, Conv2dOptions, plan, Role::y)
TAPESTRY_CONVOLUTION(conv_transpose1d, ConvTranspose1dOptions, transposed_plan, Role::x)
TAPESTRY_CONVOLUTION(conv_transpose2d, ConvTranspose2dOptions, transposed_plan, Role::x)
#undef TAPESTRY_CONVOLUTION

}  // namespace tapestry
