#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/storage.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// What makes an operation what it is beside its name: it is written to a captured program's file and read again by one
/// function that names the members, `void attributes(Attributes& a) { a(axis_), a(keep_dims_); }`.
class Attributes {
 public:
  /// For writing.
  Attributes() = default;
  /// For reading.
  explicit Attributes(std::string bytes) : bytes_(std::move(bytes)), reading_(true) {}

  bool reading() const noexcept { return reading_; }
  const std::string& bytes() const noexcept { return bytes_; }
  bool at_end() const noexcept { return at_ == bytes_.size(); }
  /// For another operation of the same program, with which handles may be shared.
  Attributes next();
  Attributes next(std::string bytes);

  /// Arrays among them that change: those that the operation reads, and those that its forward() writes.
  const std::vector<const void*>& arrays_read() const noexcept { return read_; }
  const std::vector<const void*>& arrays_written() const noexcept { return written_; }

  template <class X>
  requires(std::is_enum_v<X> || std::is_integral_v<X>) void operator()(X& x) {
    std::int64_t number = reading_ ? 0 : static_cast<std::int64_t>(x);
    raw(&number, sizeof number);
    if (!reading_) return;
    if constexpr (std::is_same_v<X, bool>) {
      x = number != 0;
    } else {
      x = static_cast<X>(number);
      require(static_cast<std::int64_t>(x) == number);
    }
  }
  template <std::floating_point X>
  void operator()(X& x) {
    double number = reading_ ? 0 : static_cast<double>(x);
    raw(&number, sizeof number);
    if (reading_) x = static_cast<X>(number);
  }
  template <class X, std::size_t n>
  void operator()(std::array<X, n>& values) {
    for (X& value : values) (*this)(value);
  }
  void operator()(std::string& text);
  void operator()(Shape& shape);
  void operator()(Generator& generator);
  /// Operations that hold the same handle do so again after reading.
  void operator()(Indices& indices);
  /// Indices that another operation may compute: each evaluation must check them.
  void computed(Indices& indices);
  /// Indices that the operation computes, for its derivatives.
  void state(Indices& indices);
  /// An object that several operations share. Where it occurs first f(object) exchanges what it consists of; when
  /// reading the object is made by f, too.
  template <class X, class F>
  void shared(std::shared_ptr<X>& object, F f) {
    std::shared_ptr<void> known = std::const_pointer_cast<std::remove_const_t<X>>(object);
    if (find(known, typeid(X))) {
      object = std::static_pointer_cast<X>(known);
      return;
    }
    f(object);
    keep(std::const_pointer_cast<std::remove_const_t<X>>(object), typeid(X));
  }
  /// The same for memory of any kind, which `bytes` tells the size of.
  void computed(detail::StorageRef& memory);
  void state(detail::StorageRef& memory);
  template <class X>
  void operator()(std::optional<X>& value) {
    bool there = value.has_value();
    (*this)(there);
    if (reading_ && there) value.emplace();
    if (there) (*this)(*value);
  }
  template <class X>
  void operator()(std::vector<X>& values) {
    auto count = static_cast<std::int64_t>(values.size());
    (*this)(count);
    // Each value takes eight bytes or more.
    require(!reading_ || (count >= 0 && static_cast<std::size_t>(count) <= (bytes_.size() - at_) / 8));
    if (reading_) values.resize(static_cast<std::size_t>(count));
    for (X& value : values) (*this)(value);
  }

  /// Memory as it is.
  void raw(void* data, std::size_t bytes);
  /// What is still to be read.
  std::size_t rest() const noexcept { return bytes_.size() - at_; }

  /// @throws IoError unless what was read makes sense
  static void require(bool sensible) {
    if (!sensible) fail<IoError>("load_program", "the file is damaged: it contradicts itself");
  }

 private:
  enum class Use { given, computed, state };
  struct Handles;
  Handles& handles();
  void exchange(Indices& indices, Use use);
  void exchange(detail::StorageRef& memory, Use use);
  void note(const void* array, Use use);
  /// Exchanges the number of an object. @return whether it occurred before
  bool find(std::shared_ptr<void>& object, const std::type_info& type);
  void keep(std::shared_ptr<void> object, const std::type_info& type);

  std::string bytes_;
  std::size_t at_ = 0;
  bool reading_ = false;
  std::vector<const void*> read_, written_;
  std::shared_ptr<Handles> handles_;
};

/// An operation that captured programs can save derives from this, too, can be made from Attributes (with the name that
/// it was registered by, or without anything), and is made known by register_operation().
class SavedOperation {
 public:
  virtual ~SavedOperation() = default;
  virtual void attributes(Attributes& a) = 0;
  /// Whether inputs of these shapes go with attributes that come from a file. Is asked once, before shape().
  virtual bool suits(const detail::Shapes&) { return true; }
};

namespace detail {

using OperationFactory = std::function<OperationBase*(Attributes&)>;
void add_operation(std::string_view name, DType type, OperationFactory factory);
/// @return null where there is none of that name
const OperationFactory* find_operation(std::string_view name, DType type);

/// The library's own, by family.
void register_with_gradient();
void register_shaping();
void register_reductions();
void register_extrema();
void register_norm();
void register_cumulative();
void register_softmax();
void register_products();
void register_linear();
void register_views();
void register_joining();
void register_indexing();
void register_indexing_along();
void register_sorting();
void register_masking();
void register_cross_entropy();
void register_elementwise_losses();
void register_convolution();
void register_pooling();
void register_normalization();
void register_dropout();
void register_lstm();
void register_gru();
void register_sparse();
void register_solvers();
void register_determinant();
void register_cholesky();
void register_matrix_exp();
void register_decomposition();
void register_matrix_parts();

}  // namespace detail

/// Makes an operation known to load_program() by the name that it gives itself. Op is Operation<T> and SavedOperation,
/// for float and double each, and is made by Op(Attributes&, name), Op(Attributes&), or Op() and its attributes().
/// @throws Error where the name is taken
template <class Op>
void register_operation(std::string_view name) {
  constexpr bool single = std::is_base_of_v<Operation<float>, Op>;
  static_assert(single || std::is_base_of_v<Operation<double>, Op>);
  detail::add_operation(name, single ? detail::DType::float32 : detail::DType::float64,
                        [own = std::string(name)](Attributes& a) -> detail::OperationBase* {
                          if constexpr (std::is_constructible_v<Op, Attributes&, std::string_view>) {
                            return new Op(a, own);
                          } else if constexpr (std::is_constructible_v<Op, Attributes&>) {
                            return new Op(a);
                          } else {
                            auto made = std::make_unique<Op>();
                            made->attributes(a);
                            return made.release();
                          }
                        });
}

namespace detail {

/// An operation template for both types, under each of these names.
template <template <class> class Op, class... Names>
void register_operations(const Names&... names) {
  (register_operation<Op<float>>(names), ...);
  (register_operation<Op<double>>(names), ...);
}

}  // namespace detail

}  // namespace tapestry
