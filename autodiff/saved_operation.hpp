#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/operation.hpp>
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
  /// Whether there are indices among them, which may change.
  bool has_indices() const noexcept { return has_indices_; }
  bool at_end() const noexcept { return at_ == bytes_.size(); }

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
  void operator()(Indices& indices);
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
  std::string bytes_;
  std::size_t at_ = 0;
  bool reading_ = false, has_indices_ = false;
};

/// An operation that captured programs can save derives from this, too, has a constructor from Attributes, and is made
/// known by register_operation().
class SavedOperation {
 public:
  virtual ~SavedOperation() = default;
  virtual void attributes(Attributes& a) = 0;
};

namespace detail {

using OperationFactory = std::function<OperationBase*(Attributes&)>;
void add_operation(std::string_view name, DType type, OperationFactory factory);
/// @return null where there is none of that name
const OperationFactory* find_operation(std::string_view name, DType type);

/// The library's own, by family.
void register_shaping();
void register_reductions();
void register_softmax();
void register_products();
void register_linear();
void register_views();
void register_joining();
void register_cross_entropy();

}  // namespace detail

/// Makes an operation known to load_program() by the name that it gives itself. Op is Operation<T> and SavedOperation,
/// and is made by Op(Attributes&), for float and double each. @throws Error where the name is taken
template <class Op>
void register_operation(std::string_view name) {
  constexpr bool single = std::is_base_of_v<Operation<float>, Op>;
  static_assert(single || std::is_base_of_v<Operation<double>, Op>);
  detail::add_operation(name, single ? detail::DType::float32 : detail::DType::float64,
                        [](Attributes& a) -> detail::OperationBase* { return new Op(a); });
}

}  // namespace tapestry
