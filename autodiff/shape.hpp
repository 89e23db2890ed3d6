#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace tapestry {

/// Axes of a reduction or a permutation; negative ones count from the end.
using Axes = std::vector<std::int64_t>;

/// The extents of a tensor, outermost axis first. At most Shape::max_rank axes.
class Shape {
 public:
  static constexpr int max_rank = 16;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(extents.begin(), extents.end()) {}
  template <class Iterator>
  requires(!std::is_arithmetic_v<Iterator>) Shape(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(static_cast<std::int64_t>(*first));
  }
  Shape(const Shape& other) noexcept { *this = other; }
  Shape& operator=(const Shape& other) noexcept {
    rank_ = other.rank_;
    for (int i = 0; i < rank_; ++i) extents_[i] = other.extents_[i];
    return *this;
  }

  /// A shape of rank axes of the given extent.
  static Shape filled(int rank, std::int64_t extent = 1);

  int rank() const noexcept { return rank_; }
  bool empty() const noexcept { return rank_ == 0; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(rank_); }
  std::int64_t operator[](int axis) const noexcept { return extents_[axis]; }
  std::int64_t& operator[](int axis) noexcept { return extents_[axis]; }
  const std::int64_t* begin() const noexcept { return extents_; }
  const std::int64_t* end() const noexcept { return extents_ + rank_; }
  std::int64_t* begin() noexcept { return extents_; }
  std::int64_t* end() noexcept { return extents_ + rank_; }
  std::int64_t front() const noexcept { return extents_[0]; }
  std::int64_t back() const noexcept { return extents_[rank_ - 1]; }

  /// @throws ShapeError beyond max_rank axes or for a negative extent.
  void push_back(std::int64_t extent);
  void insert(int axis, std::int64_t extent);
  void erase(int axis);

  /// Number of elements; 1 for rank 0.
  std::int64_t elements() const noexcept {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= extents_[i];
    return n;
  }

  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.extents_[i] != b.extents_[i]) return false;
    return true;
  }

 private:
  std::int64_t extents_[max_rank];
  int rank_ = 0;
};

/// "[128, 784]"
std::string to_string(const Shape& shape);
std::ostream& operator<<(std::ostream& out, const Shape& shape);

/// Row-major strides in elements, with stride 0 where the extent is 1 (ready for broadcasting).
std::array<std::int64_t, Shape::max_rank> broadcast_strides(const Shape& shape);

/// NumPy's broadcast of two shapes. @throws ShapeError naming the operation and both shapes.
Shape broadcast(std::string_view operation, const Shape& a, const Shape& b);

/// Maps a possibly negative axis to 0..rank-1. @throws ShapeError naming the operation.
int normalize_axis(std::string_view operation, std::int64_t axis, int rank);

/// Which axes are listed (all for an empty list). @throws ShapeError on a repeated or absent axis.
std::array<bool, Shape::max_rank> axis_mask(std::string_view operation, const Axes& axes, int rank);

/// The shape that is left after a reduction over the masked axes.
Shape reduced_shape(const Shape& shape, const std::array<bool, Shape::max_rank>& mask, bool keep_dims);

}  // namespace tapestry
