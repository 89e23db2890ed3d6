#include <tapestry/autodiff/saved_operation.hpp>

#include <cstring>
#include <map>
#include <mutex>

namespace tapestry {

void Attributes::raw(void* data, std::size_t bytes) {
  if (!reading_) {
    bytes_.append(static_cast<const char*>(data), bytes);
    return;
  }
  require(bytes <= bytes_.size() - at_);
  std::memcpy(data, bytes_.data() + at_, bytes);
  at_ += bytes;
}

void Attributes::operator()(std::string& text) {
  auto count = static_cast<std::int64_t>(text.size());
  (*this)(count);
  require(!reading_ || (count >= 0 && static_cast<std::size_t>(count) <= bytes_.size() - at_));
  if (reading_) text.resize(static_cast<std::size_t>(count));
  raw(text.data(), text.size());
}

void Attributes::operator()(Shape& shape) {
  std::vector<std::int64_t> extents(shape.begin(), shape.end());
  (*this)(extents);
  if (!reading_) return;
  require(extents.size() <= static_cast<std::size_t>(Shape::max_rank));
  std::int64_t elements = 1;
  for (const std::int64_t extent : extents) {
    require(extent >= 0 && (extent == 0 || elements <= (std::int64_t{1} << 48) / extent));
    elements *= extent == 0 ? 1 : extent;
  }
  shape = Shape(extents.begin(), extents.end());
}

void Attributes::operator()(Indices& indices) {
  has_indices_ = true;
  Shape shape = indices.shape();
  (*this)(shape);
  require(!reading_ || static_cast<std::size_t>(shape.elements()) <= (bytes_.size() - at_) / 8);
  if (!reading_) {
    raw(const_cast<std::int64_t*>(indices.data()), static_cast<std::size_t>(indices.size()) * 8);
    return;
  }
  IndexTensor values = empty_tensor<std::int64_t>(shape);
  raw(values.data(), values.size() * 8);
  indices = Indices(std::move(values));
}

namespace detail {
namespace {

struct Table {
  std::mutex lock;
  std::map<std::pair<std::string, DType>, OperationFactory, std::less<>> factories;
};

Table& table() {
  static Table& only = *new Table;
  return only;
}

void register_own() {
  static const bool done = [] {
    for (const auto add : {register_shaping, register_reductions, register_softmax, register_products, register_linear,
                           register_views, register_joining, register_cross_entropy})
      add();
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

void add_operation(std::string_view name, DType type, OperationFactory factory) {
  Table& all = table();
  const std::lock_guard guard(all.lock);
  if (!all.factories.try_emplace({std::string(name), type}, std::move(factory)).second)
    fail("register_operation", "an operation ", name, " is there already");
}

const OperationFactory* find_operation(std::string_view name, DType type) {
  register_own();
  Table& all = table();
  const std::lock_guard guard(all.lock);
  const auto found = all.factories.find(std::pair{std::string(name), type});
  return found == all.factories.end() ? nullptr : &found->second;
}

}  // namespace detail
}  // namespace tapestry
