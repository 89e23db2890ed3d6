#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <tapestry/autodiff/random.hpp>
#include <tapestry/autodiff/variable.hpp>

namespace tapestry {

namespace detail {
[[noreturn]] void no_copy(const std::string& name);
}

/// What a module trains: a leaf that requires a gradient. A variable like any other, under the name of what it is for.
template <class T>
using Parameter = Var<T>;

/// State of a module that is saved with it but gets no gradient (running means, counters).
template <class T>
struct Buffer {
  Tensor<T> value;
};

/// Whether a module trains or predicts: a member of layers that differ in the two (dropout, batch normalisation).
struct Mode {
  bool training = true;
};

/// Walks the members of a module. A module is any struct with a function
///
///     void members(Members& m) { m("weight", weight)("bias", bias)("hidden", hidden); }
///
/// that names its parameters (Var), buffers, modes, generators, modules, and ranges, maps by name, pointers and
/// optionals of these.
class Members {
 public:
  virtual ~Members() = default;

  template <class M>
  Members& operator()(std::string_view name, M& member);

 protected:
  virtual void parameter(Var<float>&) {}
  virtual void parameter(Var<double>&) {}
  virtual void buffer(Tensor<float>&) {}
  virtual void buffer(Tensor<double>&) {}
  virtual void buffer(IndexTensor&) {}
  virtual void mode(Mode&) {}
  virtual void generator(Generator&) {}
  /// Where each object behind a shared pointer gets a copy of its own: the copies so far, by original.
  virtual std::unordered_map<const void*, std::shared_ptr<void>>* copies() { return nullptr; }
  /// The dotted name of the member that is being visited.
  const std::string& name() const noexcept { return name_; }

 private:
  template <class X>
  void replace(std::shared_ptr<X>& member);

  std::string name_;
};

template <class M>
concept Module = requires(M& module, Members& members) {
  module.members(members);
};

template <class M>
Members& Members::operator()(std::string_view name, M& member) {
  const std::size_t outer = name_.size();
  if (!name_.empty()) name_ += '.';
  name_ += name;
  if constexpr (std::is_same_v<M, Var<float>> || std::is_same_v<M, Var<double>>) {
    if (member.defined()) parameter(member);
  } else if constexpr (
      requires { buffer(member.value); } && requires(M m) { Buffer(m); }) {
    buffer(member.value);
  } else if constexpr (std::is_same_v<M, Mode>) {
    mode(member);
  } else if constexpr (std::is_same_v<M, Generator>) {
    generator(member);
  } else if constexpr (Module<M>) {
    member.members(*this);
  } else if constexpr (requires { member.begin(), member.end(); }) {
    [[maybe_unused]] std::size_t i = 0;
    for (auto& element : member) {
      if constexpr (requires { std::string_view(element.first), element.second; })
        (*this)(element.first, element.second);
      else
        (*this)(std::to_string(i++), element);
    }
  } else {
    static_assert(
        requires { member ? (void)*member : (void)0; },
        "a member is a Parameter, Buffer, Mode, Generator, a struct with members(Members&), or a range, a map by name, "
        "a pointer or an optional of these");
    // Pointers and optionals: the member itself, where there is one.
    if (member) {
      if constexpr (requires { replace(member); }) replace(member);
      std::string whole = std::exchange(name_, name_.substr(0, outer));
      (*this)(name, *member);
      name_ = std::move(whole);
    }
  }
  name_.resize(outer);
  return *this;
}

template <class X>
void Members::replace(std::shared_ptr<X>& member) {
  auto* const made = copies();
  if (made == nullptr) return;
  if constexpr (std::is_copy_constructible_v<X> && !std::is_polymorphic_v<X>) {
    // What is a copy already stands for itself.
    if (const auto known = made->find(member.get()); known != made->end()) {
      member = std::static_pointer_cast<X>(known->second);
      return;
    }
    const auto original = member;
    member = std::make_shared<X>(*original);
    made->emplace(original.get(), member);
    made->emplace(member.get(), member);
  } else {
    detail::no_copy(name_);
  }
}

/// A parameter of a module and its dotted name.
template <class T>
struct NamedParameter {
  std::string name;
  Var<T> variable;
};

/// The parameters of element type T in the order of members(); one that is shared (tied weights) comes once, by the
/// first name.
template <class T, Module M>
std::vector<NamedParameter<T>> named_parameters(const M& module);
template <class T, Module M>
std::vector<Var<T>> parameters(const M& module) {
  std::vector<Var<T>> out;
  for (auto& [name, variable] : named_parameters<T>(module)) out.push_back(std::move(variable));
  return out;
}

namespace detail {

/// Members visitors may change what they visit; a const module is visited by those that do not.
template <Module M>
void visit(const M& module, Members& members) {
  const_cast<M&>(module).members(members);
}

template <class T>
std::vector<NamedParameter<T>> collect_parameters(const std::function<void(Members&)>& visit);
std::int64_t count(const std::function<void(Members&)>& visit);
void set_training(const std::function<void(Members&)>& visit, bool training);
void set_requires_grad(const std::function<void(Members&)>& visit, std::string_view prefix, bool requires_grad);
void zero_gradients(const std::function<void(Members&)>& visit);
void separate(const std::function<void(Members&)>& visit);
void summary(const std::function<void(Members&)>& visit, std::ostream& out);

template <Module M>
std::function<void(Members&)> visitor(const M& module) {
  return [&module](Members& members) { visit(module, members); };
}

}  // namespace detail

template <class T, Module M>
std::vector<NamedParameter<T>> named_parameters(const M& module) {
  return detail::collect_parameters<T>(detail::visitor(module));
}

/// Number of parameter elements; shared ones count once.
template <Module M>
std::int64_t parameter_count(const M& module) {
  return detail::count(detail::visitor(module));
}

/// Sets all modes of the module to training or prediction.
template <Module M>
void train(M& module, bool training = true) {
  detail::set_training(detail::visitor(module), training);
}
template <Module M>
void evaluate(M& module) {
  train(module, false);
}

/// Takes the parameters of the member `prefix` ("layers.1", with all within it, but not "layers.10"; or a parameter's
/// name; empty: all) out of training, or back in. @throws Error where there is none
template <Module M>
void freeze(M& module, std::string_view prefix = "") {
  detail::set_requires_grad(detail::visitor(module), prefix, false);
}
template <Module M>
void unfreeze(M& module, std::string_view prefix = "") {
  detail::set_requires_grad(detail::visitor(module), prefix, true);
}

template <Module M>
void zero_gradients(M& module) {
  detail::zero_gradients(detail::visitor(module));
}

/// A copy with parameters of its own (copying a module shares them), also behind shared pointers; what was tied stays
/// tied. What a plain pointer points to is not part of the copy and must not be among its members; a struct that cannot
/// be copied (by a unique_ptr, say) cannot be cloned.
/// @throws GraphError where a shared pointer's object cannot be copied or may be of a derived type
template <Module M>
M clone(const M& module) {
  M copy = module;
  detail::separate(detail::visitor(copy));
  return copy;
}

/// A table of the parameters and buffers: name, shape, count, frozen.
template <Module M>
void print_summary(const M& module, std::ostream& out) {
  detail::summary(detail::visitor(module), out);
}

}  // namespace tapestry
