#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include <tapestry/autodiff/counting.hpp>
#include <tapestry/autodiff/pool.hpp>

namespace tapestry::detail {

/// The memory behind one or several values: pooled, or a container that was moved in. The version counts changes in
/// place.
struct Storage {
  std::atomic<std::uint32_t> references{1};
  std::uint32_t version = 0;
  std::size_t bytes = 0;
  bool uniform = false;  ///< one element that stands for all of a gradient (Sweep::add_uniform)
  void* data = nullptr;
  void* owner = nullptr;
  void (*release_owner)(void*) = nullptr;
};

inline constexpr std::size_t storage_header = 64;
static_assert(sizeof(Storage) <= storage_header);

inline Storage* new_storage(std::size_t bytes) {
  void* block = pool_allocate(storage_header + bytes);
  auto* storage = ::new (block) Storage;
  storage->bytes = bytes;
  storage->data = static_cast<char*>(block) + storage_header;
  return storage;
}

inline void release_storage(Storage* storage) noexcept {
  if (count_add(storage->references, ~std::uint32_t{0}) != 0) return;
  if (storage->owner != nullptr) {
    storage->release_owner(storage->owner);
    pool_deallocate(storage, storage_header);
  } else {
    pool_deallocate(storage, storage_header + storage->bytes);
  }
}

/// Owning pointer to a Storage.
class StorageRef {
 public:
  StorageRef() = default;
  /// Takes over one reference.
  explicit StorageRef(Storage* storage) noexcept : storage_(storage) {}
  static StorageRef share(Storage* storage) noexcept {
    if (storage != nullptr) count_add(storage->references, std::uint32_t{1});
    return StorageRef(storage);
  }
  StorageRef(const StorageRef& other) noexcept : StorageRef(share(other.storage_)) {}
  StorageRef(StorageRef&& other) noexcept : storage_(std::exchange(other.storage_, nullptr)) {}
  StorageRef& operator=(StorageRef other) noexcept {
    std::swap(storage_, other.storage_);
    return *this;
  }
  ~StorageRef() {
    if (storage_ != nullptr) release_storage(storage_);
  }

  Storage* get() const noexcept { return storage_; }
  Storage* operator->() const noexcept { return storage_; }
  Storage* release() noexcept { return std::exchange(storage_, nullptr); }
  explicit operator bool() const noexcept { return storage_ != nullptr; }
  bool unique() const noexcept { return storage_->references.load(std::memory_order_acquire) == 1; }
  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(storage_->data);
  }

 private:
  Storage* storage_ = nullptr;
};

/// Pooled scratch memory for n elements, freed at the end of the scope.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t n) : bytes_(n * sizeof(T)), data_(static_cast<T*>(pool_allocate(bytes_))) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { pool_deallocate(data_, bytes_); }
  T* data() const noexcept { return data_; }
  T& operator[](std::size_t i) const noexcept { return data_[i]; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace tapestry::detail
