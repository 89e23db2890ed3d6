#include <tapestry/prob/dense/gaussian_filter.hpp>

#include <cmath>
#include <optional>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/prob/dense/permutohedral_lattice.hpp>
#include <tapestry/prob/pool_buffer.hpp>
#include <tapestry/prob/saved_structure.hpp>
#include <tapestry/prob/split.hpp>

namespace tapestry {
namespace {

constexpr auto operation_name = "gaussian_filter";
constexpr std::int64_t most_exact_points = 1024;

}  // namespace

namespace detail {

template <class T>
class FilterPlan {
 public:
  FilterPlan(std::vector<T> features, std::size_t points, std::size_t dimensions, const GaussianFilterOptions& options)
      : points_(points),
        dimensions_(dimensions),
        options_(options),
        include_self_(options.include_self),
        features_(std::move(features)) {
    for (const T x : features_)
      if (!std::isfinite(x)) fail<NumericalError>(operation_name, "a feature is ", x);
    if (options.method == FilterMethod::lattice ||
        (options.method == FilterMethod::automatic && static_cast<std::int64_t>(points_) > most_exact_points))
      lattice_.emplace(points_, dimensions_, features_.data());
    if (!options.normalize) return;
    std::vector<T> ones(points_, T(1)), sums(points_);
    std::swap(include_self_, self_for_sums_);
    run(ones.data(), 1, false, sums.data());
    std::swap(include_self_, self_for_sums_);
    for (T& x : sums) x = 1 / std::sqrt(x);
    scale_ = std::move(sums);
  }

  /// What it is made of. @throws IoError where what is read makes no sense
  static void exchange(Attributes& a, std::shared_ptr<const FilterPlan>& plan) {
    a.shared(plan, [&a](std::shared_ptr<const FilterPlan>& own) {
      GaussianFilterOptions options = own ? own->options_ : GaussianFilterOptions();
      std::size_t dimensions = own ? own->dimensions_ : 1;
      std::vector<T> features = own ? own->features_ : std::vector<T>();
      a(options.method), a(options.include_self), a(options.normalize), a(dimensions), a(features);
      Attributes::require(!a.reading() ||
                          (options.method >= FilterMethod::automatic && options.method <= FilterMethod::lattice &&
                           dimensions >= 1 && dimensions <= 4096 && features.size() % dimensions == 0));
      const std::size_t points = features.size() / dimensions;
      if (a.reading()) own = std::make_shared<const FilterPlan>(std::move(features), points, dimensions, options);
    });
  }

  void run(const T* in, std::size_t channels, bool transposed, T* out) const {
    PoolBuffer<T> scaled;
    if (!scale_.empty()) {
      T* to = scaled.reserve(points_ * channels);
      for (std::size_t i = 0; i < points_ * channels; ++i) to[i] = in[i] * scale_[i / channels];
      in = to;
    }
    if (lattice_)
      lattice_->filter(in, channels, transposed, out);
    else
      sum_pairs(in, channels, out);
    for (std::size_t p = 0; p < points_; ++p)
      for (std::size_t c = 0; c < channels; ++c) {
        T& x = out[p * channels + c];
        if (!include_self_) x -= (lattice_ ? lattice_->diagonal()[p] : T(1)) * in[p * channels + c];
        if (!scale_.empty()) x *= scale_[p];
      }
  }
  std::int64_t points() const { return static_cast<std::int64_t>(points_); }
  std::int64_t vertices() const { return lattice_ ? static_cast<std::int64_t>(lattice_->vertices()) : 0; }
  bool exact() const { return !lattice_; }
  bool of_pairs() const { return !include_self_; }

 private:
  void sum_pairs(const T* in, std::size_t channels, T* out) const {
    split(points_, 16, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        std::fill_n(out + i * channels, channels, T(0));
        for (std::size_t j = 0; j < points_; ++j) {
          T square = 0;
          for (std::size_t k = 0; k < dimensions_; ++k) {
            const T x = features_[i * dimensions_ + k] - features_[j * dimensions_ + k];
            square += x * x;
          }
          const T weight = std::exp(-square / 2);
          for (std::size_t c = 0; c < channels; ++c) out[i * channels + c] += weight * in[j * channels + c];
        }
      }
    });
  }

  std::size_t points_, dimensions_;
  GaussianFilterOptions options_;
  bool include_self_, self_for_sums_ = true;
  std::vector<T> features_;
  std::optional<PermutohedralLattice<T>> lattice_;
  std::vector<T> scale_;
};

}  // namespace detail

namespace {

template <class T>
class Filtering final : public Operation<T>, public SavedOperation {
 public:
  using Shapes = detail::Shapes;
  Filtering(std::shared_ptr<const detail::FilterPlan<T>> plan, bool transposed)
      : plan_(std::move(plan)), transposed_(transposed) {}
  explicit Filtering(Attributes& a) { attributes(a); }
  void attributes(Attributes& a) override { detail::FilterPlan<T>::exchange(a, plan_), a(transposed_); }
  bool suits(const Shapes& in) override { return in.size() == 1; }
  std::string_view name() const override { return operation_name; }
  std::uint32_t needs() const override { return Needs::nothing; }
  Linearity linearity() const override { return Linearity::linear; }
  Shape shape(const Shapes& inputs, int) const override {
    if (inputs[0].rank() != 2 || inputs[0][0] != plan_->points())
      fail<ShapeError>(operation_name, "values of shape ", inputs[0], " for ", plan_->points(),
                       " points: [points, channels] is expected");
    return inputs[0];
  }
  void forward(Forward<T>& c) override {
    plan_->run(c.input(0).data, static_cast<std::size_t>(c.output().shape[1]), transposed_, c.output().data);
  }
  void backward(Backward<T>& c) override {
    if (!c.wants(0)) return;
    const auto gradient = c.gradient();
    const auto channels = static_cast<std::size_t>(gradient.shape[1]);
    const auto target = c.target(0);
    if (!target.accumulate) return plan_->run(gradient.data, channels, !transposed_, target.data);
    detail::PoolBuffer<T> sums(static_cast<std::size_t>(target.size()));
    plan_->run(gradient.data, channels, !transposed_, sums.data());
    for (std::int64_t i = 0; i < target.size(); ++i) target.data[i] += sums.data()[i];
  }
  void vjp(Vjp<T>& c) override { c.add(0, record(std::make_unique<Filtering>(plan_, !transposed_), c.gradient())); }

 private:
  std::shared_ptr<const detail::FilterPlan<T>> plan_;
  bool transposed_ = false;
};

template <class T>
void check_deviation(T deviation) {
  if (!(deviation > 0) || !std::isfinite(deviation))
    fail<NumericalError>("pixel_features", "a standard deviation of ", deviation);
}

template <class T>
Tensor<T> features_of(std::int64_t height, std::int64_t width, T position_deviation, const T* colors,
                      std::int64_t channels, T color_deviation) {
  check_deviation(position_deviation);
  Tensor<T> out = empty_tensor<T>({height * width, 2 + channels});
  T* to = out.data();
  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x) {
      *to++ = static_cast<T>(y) / position_deviation;
      *to++ = static_cast<T>(x) / position_deviation;
      for (std::int64_t c = 0; c < channels; ++c) *to++ = *colors++ / color_deviation;
    }
  return out;
}

}  // namespace

void detail::register_gaussian_filter() {
  register_operations<Filtering>(operation_name);
}

template <class T>
GaussianFilter<T>::GaussianFilter(const Tensor<T>& features, GaussianFilterOptions options) {
  if (features.dimension() != 2 || features.shape()[1] < 1)
    fail<ShapeError>(operation_name, "features of shape ", shape_of(features), ": [points, dimensions] is expected");
  plan_ = std::make_shared<const detail::FilterPlan<T>>(std::vector<T>(features.begin(), features.end()),
                                                        features.shape()[0], features.shape()[1], options);
}

template <class T>
Var<T> GaussianFilter<T>::operator()(const Var<T>& values) const {
  return record(std::make_unique<Filtering<T>>(plan_, false), values);
}
template <class T>
std::int64_t GaussianFilter<T>::points() const {
  return plan_->points();
}
template <class T>
bool GaussianFilter<T>::exact() const {
  return plan_->exact();
}
template <class T>
bool GaussianFilter<T>::of_pairs() const {
  return plan_->of_pairs();
}
template <class T>
std::int64_t GaussianFilter<T>::vertices() const {
  return plan_->vertices();
}

template <class T>
Tensor<T> pixel_features(std::int64_t height, std::int64_t width, T position_deviation) {
  if (height < 0 || width < 0) fail<ShapeError>("pixel_features", "an image of ", height, " x ", width);
  return features_of<T>(height, width, position_deviation, nullptr, 0, T(1));
}
template <class T>
Tensor<T> pixel_features(const Tensor<T>& image, T position_deviation, T color_deviation) {
  if (image.dimension() != 3)
    fail<ShapeError>("pixel_features", "an image of shape ", shape_of(image), " is not [height, width, channels]");
  check_deviation(color_deviation);
  const Shape shape = shape_of(image);
  return features_of<T>(shape[0], shape[1], position_deviation, image.data(), shape[2], color_deviation);
}

#define TAPESTRY_INSTANTIATE(T)                                        \
  template class GaussianFilter<T>;                                    \
  template Tensor<T> pixel_features<T>(std::int64_t, std::int64_t, T); \
  template Tensor<T> pixel_features<T>(const Tensor<T>&, T, T);
TAPESTRY_INSTANTIATE(float)
TAPESTRY_INSTANTIATE(double)
#undef TAPESTRY_INSTANTIATE

}  // namespace tapestry
