#include <tapestry/prob/dense/permutohedral_lattice.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/kernels/dispatch.hpp>
#include <tapestry/prob/kernels/lattice.hpp>
#include <tapestry/prob/pool_buffer.hpp>
#include <tapestry/prob/split.hpp>

namespace tapestry::detail {
namespace {

constexpr double pi = 3.14159265358979323846;
constexpr std::uint32_t absent = 0xffffffff;

/// Numbers the lattice's vertices, by their first d coordinates, in the order in which they are first seen.
class Vertices {
 public:
  explicit Vertices(std::size_t dimensions) : dimensions_(dimensions), slots_(1 << 12, absent) {}
  std::uint32_t size() const { return size_; }
  const std::int32_t* key(std::uint32_t vertex) const { return keys_.data() + vertex * dimensions_; }
  std::uint32_t find(const std::int32_t* key) const { return slots_[slot(key)]; }
  std::uint32_t insert(const std::int32_t* key) {
    std::size_t at = slot(key);
    if (slots_[at] != absent) return slots_[at];
    keys_.insert(keys_.end(), key, key + dimensions_);
    slots_[at] = size_++;
    if (2 * static_cast<std::size_t>(size_) > slots_.size()) grow();
    return size_ - 1;
  }

 private:
  std::size_t slot(const std::int32_t* key) const {
    std::uint64_t hash = 0x9e3779b97f4a7c15;
    for (std::size_t i = 0; i < dimensions_; ++i) {
      hash = (hash ^ static_cast<std::uint32_t>(key[i])) * 0xff51afd7ed558ccd;
      hash ^= hash >> 32;
    }
    std::size_t at = hash & (slots_.size() - 1);
    while (slots_[at] != absent &&
           std::memcmp(keys_.data() + slots_[at] * dimensions_, key, dimensions_ * sizeof(std::int32_t)) != 0)
      at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    slots_.assign(2 * slots_.size(), absent);
    for (std::uint32_t v = 0; v < size_; ++v) slots_[slot(key(v))] = v;
  }
  std::size_t dimensions_;
  std::uint32_t size_ = 0;
  std::vector<std::uint32_t> slots_;
  std::vector<std::int32_t> keys_;
};

/// The simplex that a position lies in.
class Simplex {
 public:
  explicit Simplex(std::size_t dimensions)
      : d_(dimensions), elevated_(d_ + 1), origin_(d_ + 1), rank_(d_ + 1), weights_(d_ + 2), key_(d_) {}

  /// Barycentric weights of the corners, by their remainder.
  template <class T>
  const double* find(const T* position) {
    const auto n = static_cast<double>(d_ + 1);
    // Into the hyperplane of coordinates that sum to zero, such that spreading, blur and reading add up to variance 1.
    double sum = 0;
    for (std::size_t j = d_; j > 0; --j) {
      const auto jd = static_cast<double>(j);
      const double x = static_cast<double>(position[j - 1]) * n * std::sqrt(2. / 3. / (jd * (jd + 1)));
      elevated_[j] = sum - jd * x;
      sum += x;
      if (!(std::abs(elevated_[j]) < 1e9))
        fail<NumericalError>("gaussian_filter", "a feature of ", position[j - 1], " is not finite or too large");
    }
    elevated_[0] = sum;
    // The nearest vertex of remainder 0: round each, and mend the sum where rounding went furthest.
    std::int64_t excess = 0;
    for (std::size_t i = 0; i <= d_; ++i) {
      const double rounded = std::round(elevated_[i] / n);
      origin_[i] = static_cast<std::int32_t>(rounded) * static_cast<std::int32_t>(d_ + 1);
      excess += static_cast<std::int64_t>(rounded);
      rank_[i] = 0;
    }
    for (std::size_t i = 0; i < d_; ++i)
      for (std::size_t j = i + 1; j <= d_; ++j) ++rank_[elevated_[i] - origin_[i] < elevated_[j] - origin_[j] ? i : j];
    const auto size = static_cast<std::int64_t>(d_ + 1);
    for (std::size_t i = 0; i <= d_; ++i) {
      std::int64_t rank = rank_[i] + excess;
      if (rank < 0) {
        rank += size;
        origin_[i] += static_cast<std::int32_t>(size);
      } else if (rank >= size) {
        rank -= size;
        origin_[i] -= static_cast<std::int32_t>(size);
      }
      rank_[i] = rank;
    }
    std::fill(weights_.begin(), weights_.end(), 0.0);
    for (std::size_t i = 0; i <= d_; ++i) {
      const double x = (elevated_[i] - origin_[i]) / n;
      weights_[d_ - static_cast<std::size_t>(rank_[i])] += x;
      weights_[d_ + 1 - static_cast<std::size_t>(rank_[i])] -= x;
    }
    weights_[0] += 1 + weights_[d_ + 1];
    return weights_.data();
  }
  const std::int32_t* corner(std::size_t remainder) {
    for (std::size_t i = 0; i < d_; ++i) {
      const bool low = rank_[i] <= static_cast<std::int64_t>(d_ - remainder);
      key_[i] = origin_[i] + static_cast<std::int32_t>(remainder) - (low ? 0 : static_cast<std::int32_t>(d_ + 1));
    }
    return key_.data();
  }

 private:
  std::size_t d_;
  std::vector<double> elevated_;
  std::vector<std::int32_t> origin_;
  std::vector<std::int64_t> rank_;
  std::vector<double> weights_;
  std::vector<std::int32_t> key_;
};

template <class T>
std::size_t padded_row(std::size_t channels) {
  constexpr std::size_t line = 64 / sizeof(T);
  return (channels + line - 1) / line * line;
}

}  // namespace

template <class T>
PermutohedralLattice<T>::PermutohedralLattice(std::size_t points, std::size_t dimensions, const T* positions)
    : points_(points), dimensions_(dimensions), diagonal_(points) {
  const std::size_t d = dimensions, corners = d + 1;
  if (points * corners >= absent) fail<NumericalError>("gaussian_filter", points, " points are too many for a lattice");
  // Two corners whose remainders differ by m are joined by blurring along m directions, or back along the others.
  std::vector<double> joined(corners);
  const double scale = std::pow(4 * pi / 3, .5 * static_cast<double>(d)) * std::sqrt(static_cast<double>(corners));
  for (std::size_t m = 0; m < corners; ++m) {
    const auto a = static_cast<double>(m), b = static_cast<double>(corners - m);
    joined[m] = std::exp2(-2 * a - b) + std::exp2(-2 * b - a) + (m == 0 ? std::exp2(-2 * b) : 0);
  }
  Vertices vertices(d);
  Simplex simplex(d);
  corner_offsets_.resize(points + 1);
  corners_.resize(points * corners);
  corner_weights_.resize(points * corners);
  for (std::size_t p = 0; p < points; ++p) {
    const double* weights = simplex.find(positions + p * d);
    double own = 0;
    for (std::size_t k = 0; k < corners; ++k) {
      corners_[p * corners + k] = vertices.insert(simplex.corner(k));
      corner_weights_[p * corners + k] = static_cast<T>(weights[k] * std::sqrt(scale));
      for (std::size_t l = 0; l < corners; ++l) own += weights[k] * weights[l] * joined[k > l ? k - l : l - k];
    }
    diagonal_[p] = static_cast<T>(own * scale);
    corner_offsets_[p + 1] = static_cast<std::uint32_t>((p + 1) * corners);
  }
  vertices_ = vertices.size();

  point_offsets_.assign(vertices_ + 1, 0);
  for (const std::uint32_t v : corners_) ++point_offsets_[v + 1];
  for (std::size_t v = 0; v < vertices_; ++v) point_offsets_[v + 1] += point_offsets_[v];
  std::vector<std::uint32_t> next(point_offsets_.begin(), point_offsets_.end() - 1);
  vertex_points_.resize(corners_.size());
  point_weights_.resize(corners_.size());
  for (std::size_t e = 0; e < corners_.size(); ++e) {
    const std::uint32_t at = next[corners_[e]]++;
    vertex_points_[at] = static_cast<std::uint32_t>(e / corners);
    point_weights_[at] = corner_weights_[e];
  }

  neighbours_.resize(corners * vertices_ * 2);
  split(vertices_, 4096, [&](std::size_t begin, std::size_t end) {
    std::vector<std::int32_t> key(d);
    for (std::size_t axis = 0; axis < corners; ++axis)
      for (std::size_t v = begin; v < end; ++v)
        for (const int sign : {-1, 1}) {
          const std::int32_t* own = vertices.key(static_cast<std::uint32_t>(v));
          for (std::size_t i = 0; i < d; ++i) key[i] = own[i] + sign * (i == axis ? static_cast<std::int32_t>(d) : -1);
          const std::uint32_t found = vertices.find(key.data());
          neighbours_[(axis * vertices_ + v) * 2 + (sign > 0)] =
              found == absent ? static_cast<std::uint32_t>(vertices_) : found;
        }
  });
}

template <class T>
void PermutohedralLattice<T>::filter(const T* in, std::size_t channels, bool transposed, T* out) const {
  const auto& kernel = kernels<LatticeKernels<T>>();
  const std::size_t stride = padded_row<T>(channels), grain = 65536 / stride + 1;
  PoolBuffer<T> points(points_ * stride), first((vertices_ + 1) * stride), second((vertices_ + 1) * stride);
  T* rows = points.data();
  split(points_, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t p = begin; p < end; ++p) {
      std::copy_n(in + p * channels, channels, rows + p * stride);
      std::fill_n(rows + p * stride + channels, stride - channels, T(0));
    }
  });
  T *from = first.data(), *to = second.data();
  // The row after the last is what missing neighbours hold.
  std::fill_n(from + vertices_ * stride, stride, T(0));
  std::fill_n(to + vertices_ * stride, stride, T(0));
  split(vertices_, grain, [&](std::size_t begin, std::size_t end) {
    kernel.gather(stride, point_offsets_.data(), vertex_points_.data(), point_weights_.data(), rows, begin, end, from);
  });
  for (std::size_t i = 0; i <= dimensions_; ++i) {
    const std::size_t axis = transposed ? dimensions_ - i : i;
    split(vertices_, grain, [&](std::size_t begin, std::size_t end) {
      kernel.blur(stride, neighbours_.data() + axis * vertices_ * 2, from, begin, end, to);
    });
    std::swap(from, to);
  }
  split(points_, grain, [&](std::size_t begin, std::size_t end) {
    kernel.gather(stride, corner_offsets_.data(), corners_.data(), corner_weights_.data(), from, begin, end, rows);
    for (std::size_t p = begin; p < end; ++p) std::copy_n(rows + p * stride, channels, out + p * channels);
  });
}

template class PermutohedralLattice<float>;
template class PermutohedralLattice<double>;

}  // namespace tapestry::detail
