#include <tapestry/autodiff/gradient.hpp>

#include <cstring>
#include <utility>

#include <tapestry/autodiff/kernels/elementwise.hpp>
#include <tapestry/autodiff/threads.hpp>

namespace tapestry::detail {
namespace {

class GradientLock {
 public:
  explicit GradientLock(Gradient& gradient) : flag_(gradient.lock) {
    while (flag_.test_and_set(std::memory_order_acquire)) {
    }
  }
  GradientLock(const GradientLock&) = delete;
  GradientLock& operator=(const GradientLock&) = delete;
  ~GradientLock() { flag_.clear(std::memory_order_release); }

 private:
  std::atomic_flag& flag_;
};

/// What somebody else holds is left to them.
void* to_be_changed(StorageRef& storage) {
  if (!storage.unique()) storage = copy_storage(*storage.get());
  return storage->data;
}

}  // namespace

void accumulate(DType type, void* out, const void* x, std::int64_t n) {
  if (type == DType::float32)
    kernels<ElementwiseKernels<float>>().accumulate(static_cast<const float*>(x), static_cast<float*>(out),
                                                    static_cast<std::size_t>(n));
  else
    kernels<ElementwiseKernels<double>>().accumulate(static_cast<const double*>(x), static_cast<double*>(out),
                                                     static_cast<std::size_t>(n));
}

StorageRef copy_storage(const Storage& storage) {
  StorageRef copy(new_storage(storage.bytes));
  std::memcpy(copy->data, storage.data, storage.bytes);
  return copy;
}

StorageRef zero_storage(std::size_t bytes) {
  StorageRef storage(new_storage(bytes));
  std::memset(storage->data, 0, bytes);
  return storage;
}

void spread_uniform(DType type, std::int64_t n, StorageRef& gradient) {
  if (!gradient || !gradient->uniform) return;
  StorageRef whole(new_storage(static_cast<std::size_t>(n) * element_size(type)));
  parallel_for(n, 65536, [&](std::int64_t begin, std::int64_t end) {
    const auto size = static_cast<std::size_t>(end - begin);
    if (type == DType::float32)
      kernels<ElementwiseKernels<float>>().fill(*gradient.as<float>(), whole.as<float>() + begin, size);
    else
      kernels<ElementwiseKernels<double>>().fill(*gradient.as<double>(), whole.as<double>() + begin, size);
  });
  gradient = std::move(whole);
}

void scatter_rows(DType type, void* dense, const Shape& shape, const Indices& rows, const void* values) {
  const std::int64_t row = shape[0] == 0 ? 0 : shape.elements() / shape[0];
  const std::size_t bytes = static_cast<std::size_t>(row) * element_size(type);
  for (std::int64_t i = 0; i < rows.size(); ++i)
    accumulate(type, static_cast<char*>(dense) + static_cast<std::size_t>(rows[i]) * bytes,
               static_cast<const char*>(values) + static_cast<std::size_t>(i) * bytes, row);
}

void add_to_gradient(const Node& node, StorageRef dense, bool may_share) {
  Gradient& gradient = *node.gradient;
  const GradientLock lock(gradient);
  if (!gradient.dense)
    gradient.dense = may_share || dense.unique() ? std::move(dense) : copy_storage(*dense.get());
  else
    accumulate(node.dtype, to_be_changed(gradient.dense), dense->data, node.elements());
  for (const RowsPiece& piece : gradient.rows)
    scatter_rows(node.dtype, to_be_changed(gradient.dense), node.shape, piece);
  gradient.rows.clear();
}

void add_to_gradient(const Node& node, RowsPiece rows) {
  Gradient& gradient = *node.gradient;
  const GradientLock lock(gradient);
  if (gradient.dense)
    scatter_rows(node.dtype, to_be_changed(gradient.dense), node.shape, rows);
  else
    gradient.rows.push_back(std::move(rows));
}

}  // namespace tapestry::detail
