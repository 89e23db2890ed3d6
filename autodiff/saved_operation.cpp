#include <tapestry/autodiff/saved_operation.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

namespace tapestry {

void Attributes::raw(void* data, std::size_t bytes) {
  if (bytes == 0) return;  // data may be null
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

void Attributes::operator()(Generator& generator) {
  Generator::State state = generator.state();
  (*this)(state);
  if (reading_) generator = Generator::from_state(state);
}

// What operations of one program hold, in the order of its first occurrence.
struct Attributes::Handles {
  std::vector<Indices> indices;
  std::vector<detail::StorageRef> memory;
  std::vector<bool> computed;  // of the indices: whether an operation writes them
  std::vector<std::pair<std::shared_ptr<void>, const std::type_info*>> objects;
};

Attributes::Handles& Attributes::handles() {
  if (!handles_) handles_ = std::make_shared<Handles>();
  return *handles_;
}

Attributes Attributes::next() {
  Attributes out;
  handles();
  out.handles_ = handles_;
  return out;
}

Attributes Attributes::next(std::string bytes) {
  Attributes out(std::move(bytes));
  handles();
  out.handles_ = handles_;
  return out;
}

void Attributes::note(const void* array, Use use) {
  if (array != nullptr) (use == Use::state ? written_ : read_).push_back(array);
}

void Attributes::operator()(Indices& indices) {
  exchange(indices, Use::given);
}
void Attributes::computed(Indices& indices) {
  exchange(indices, Use::computed);
}
void Attributes::state(Indices& indices) {
  exchange(indices, Use::state);
}
void Attributes::computed(detail::StorageRef& memory) {
  exchange(memory, Use::computed);
}
void Attributes::state(detail::StorageRef& memory) {
  exchange(memory, Use::state);
}

void Attributes::exchange(Indices& indices, Use use) {
  Handles& all = handles();
  const auto same = [&](const Indices& other) { return other.same(indices); };
  auto number =
      static_cast<std::size_t>(std::find_if(all.indices.begin(), all.indices.end(), same) - all.indices.begin());
  (*this)(number);
  require(number <= all.indices.size());
  if (number < all.indices.size()) {
    // What one operation computes, others may only read where they check it.
    require(!reading_ || (use != Use::state && (use == Use::computed || !all.computed[number])));
    if (use == Use::given && all.computed[number])
      fail<GraphError>("save_program", "positions of shape ", indices.shape(),
                       " that an operation finds are read by one that takes only those that are given");
    indices = all.indices[number];
  } else {
    Shape shape = indices.shape();
    (*this)(shape);
    require(!reading_ || static_cast<std::size_t>(shape.elements()) <= rest() / 8);
    if (!reading_) {
      raw(const_cast<std::int64_t*>(indices.data()), static_cast<std::size_t>(indices.size()) * 8);
    } else {
      IndexTensor values = empty_tensor<std::int64_t>(shape);
      raw(values.data(), values.size() * 8);
      indices = Indices(std::move(values));
    }
    all.indices.push_back(indices);
    all.computed.push_back(use == Use::state);
  }
  note(indices.data(), use);
}

void Attributes::exchange(detail::StorageRef& memory, Use use) {
  Handles& all = handles();
  const auto same = [&](const detail::StorageRef& other) { return other.get() == memory.get(); };
  auto number = static_cast<std::size_t>(std::find_if(all.memory.begin(), all.memory.end(), same) - all.memory.begin());
  (*this)(number);
  require(number <= all.memory.size());
  if (number < all.memory.size()) {
    require(!reading_ || use != Use::state);
    memory = detail::StorageRef::share(all.memory[number].get());
  } else {
    auto bytes = memory ? memory->bytes : std::size_t{0};
    (*this)(bytes);
    require(!reading_ || bytes <= rest());
    if (reading_) memory = detail::StorageRef(detail::new_storage(bytes));
    raw(memory->data, bytes);
    all.memory.push_back(detail::StorageRef::share(memory.get()));
  }
  note(memory->data, use);
}

bool Attributes::find(std::shared_ptr<void>& object, const std::type_info& type) {
  auto& all = handles().objects;
  const auto same = [&](const auto& other) { return other.first == object; };
  auto number = static_cast<std::size_t>(std::find_if(all.begin(), all.end(), same) - all.begin());
  (*this)(number);
  require(number <= all.size());
  if (number == all.size()) return false;
  require(*all[number].second == type);
  object = all[number].first;
  return true;
}

void Attributes::keep(std::shared_ptr<void> object, const std::type_info& type) {
  handles().objects.emplace_back(std::move(object), &type);
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
    for (const auto add : {register_with_gradient,  register_shaping,       register_reductions,
                           register_extrema,        register_norm,          register_cumulative,
                           register_softmax,        register_products,      register_linear,
                           register_views,          register_joining,       register_indexing,
                           register_indexing_along, register_sorting,       register_masking,
                           register_convolution,    register_cross_entropy, register_elementwise_losses,
                           register_pooling,        register_dropout,       register_normalization,
                           register_lstm,           register_gru,           register_sparse,
                           register_solvers,        register_determinant,   register_cholesky,
                           register_matrix_exp,     register_decomposition, register_matrix_parts})
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
