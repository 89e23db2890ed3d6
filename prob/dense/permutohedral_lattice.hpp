#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tapestry::detail {

/// Sums over points weighted by a Gaussian of unit variance of their positions' difference, approximately and in linear
/// time (Adams, Baek, Davis 2010): values are spread on the corners of the simplices of a lattice A*_d that points lie
/// in, blurred along its d + 1 directions, and read again. Scaled such that the weight of a pair integrates, over the
/// position of either, to what exp(-|a - b|^2 / 2) does.
template <class T>
class PermutohedralLattice {
 public:
  /// positions [points, dimensions]. @throws NumericalError for positions that are not finite or too far apart
  PermutohedralLattice(std::size_t points, std::size_t dimensions, const T* positions);

  /// in and out are [points, channels]. The transposed filter blurs along the directions in reverse order.
  void filter(const T* in, std::size_t channels, bool transposed, T* out) const;
  /// The weight of each point with itself, where no corner that the blur needs is missing.
  const std::vector<T>& diagonal() const { return diagonal_; }

  std::size_t points() const { return points_; }
  std::size_t vertices() const { return vertices_; }

 private:
  std::size_t points_, dimensions_, vertices_ = 0;
  // By point: d + 1 corners and the weights of each. By vertex: the points that it is a corner for.
  std::vector<std::uint32_t> corner_offsets_, corners_, point_offsets_, vertex_points_;
  std::vector<T> corner_weights_, point_weights_;
  std::vector<std::uint32_t> neighbours_;  // [d + 1, vertices, 2]; `vertices` where there is none
  std::vector<T> diagonal_;
};

extern template class PermutohedralLattice<float>;
extern template class PermutohedralLattice<double>;

}  // namespace tapestry::detail
