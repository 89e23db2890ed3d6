#pragma once

#include <cstddef>
#include <utility>

#include <tapestry/autodiff/pool.hpp>

namespace tapestry::detail {

/// Uninitialised pooled memory, 64-byte aligned, which grows and never shrinks.
template <class T>
class PoolBuffer {
 public:
  PoolBuffer() = default;
  explicit PoolBuffer(std::size_t n) { reserve(n); }
  PoolBuffer(PoolBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PoolBuffer& operator=(PoolBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PoolBuffer() { release(); }

  /// At least n elements; the contents are lost where it has to grow. @throws std::bad_alloc
  T* reserve(std::size_t n) {
    if (n > size_) {
      release();
      data_ = static_cast<T*>(pool_allocate(n * sizeof(T)));
      size_ = n;
    }
    return data_;
  }
  T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  void release() noexcept {
    if (data_ != nullptr) pool_deallocate(data_, size_ * sizeof(T));
    data_ = nullptr;
    size_ = 0;
  }
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tapestry::detail
