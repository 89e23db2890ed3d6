#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/graph/module.hpp>
#include <tapestry/graph/safetensors.hpp>

namespace tapestry {

struct LoadOptions {
  bool allow_missing = false;     ///< what the file lacks stays as it is
  bool allow_unexpected = false;  ///< what is only in the file is ignored
  bool convert = false;           ///< between float and double
};

/// Everything that is saved and loaded together, by name. A class takes part by a function
///
///     void archive(Archive& a) { a("rate", rate_)("steps", steps_); }
///
/// that names its variables, tensors, numbers, strings, generators, lists of numbers (of any length), modules, and
/// objects with such a function. A variable that comes several times (tied weights) is saved once. The Archive refers
/// to what it was given.
class Archive {
 public:
  template <class X>
  Archive& operator()(std::string_view name, X& x);

  /// The members that a visitor names, under a common name; generators or not.
  Archive& members(std::string_view name, const std::function<void(Members&)>& visit, bool generators = true);

  /// Copies of all values.
  NamedTensors save() const;
  /// Sets all values; nothing is changed where anything does not fit. `source` names the values in messages.
  /// @throws IoError listing everything that is missing, unexpected, or of another shape or type
  void load(const NamedTensors& values, const std::string& source, LoadOptions options = {}) const;

 private:
  using Value = NamedTensors::Value;
  struct Place {
    std::string name;
    std::size_t type;  ///< index in Value
    Shape shape;
    bool any_length;
    std::function<Value()> get;
    std::function<void(const Value&)> set;
  };
  struct Text {
    std::string name;
    std::string* text;
  };
  class Parts;

  /// Appends to the name, and returns its length before.
  std::size_t enter(std::string_view name);
  void add(float& x);
  void add(double& x);
  void add(std::int64_t& x);
  void add(std::uint64_t& x);
  void add(int& x);
  void add(bool& x);
  void add(std::string& x);
  void add(Generator& x);
  void add(Tensor<float>& x);
  void add(Tensor<double>& x);
  void add(IndexTensor& x);
  void add(std::vector<double>& x);
  void add(std::vector<std::int64_t>& x);
  void add(const Var<float>& x);
  void add(const Var<double>& x);

  template <class T>
  void add_tensor(Tensor<T>& x);
  template <class T>
  void add_variable(const Var<T>& x);
  template <class T, class X>
  void add_number(X& x);
  template <class T>
  void add_list(std::vector<T>& x);
  void add_place(std::size_t type, const Shape& shape, bool any_length, std::function<Value()> get,
                 std::function<void(const Value&)> set);

  std::string name_;
  std::vector<Place> places_;
  std::vector<Text> texts_;
  std::vector<detail::NodeRef> variables_;
};

template <class X>
Archive& Archive::operator()(std::string_view name, X& x) {
  if constexpr (Module<std::remove_const_t<X>>) {
    return members(name, detail::visitor(x));
  } else {
    const std::size_t outer = enter(name);
    if constexpr (requires { x.archive(*this); })
      x.archive(*this);
    else
      add(x);
    name_.resize(outer);
    return *this;
  }
}

/// The parameters and buffers of a module (not its generators).
template <Module M>
Archive weights(const M& module) {
  Archive archive;
  archive.members("", detail::visitor(module), false);
  return archive;
}

}  // namespace tapestry
