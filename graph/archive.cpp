#include <tapestry/graph/archive.hpp>

#include <algorithm>
#include <bit>
#include <limits>
#include <set>
#include <utility>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr const char* type_names[] = {"float32", "float64", "int64"};

template <class T>
constexpr std::size_t type_index = std::is_same_v<T, float>    ? 0
                                   : std::is_same_v<T, double> ? 1
                                                               : 2;

template <class T>
Tensor<T> scalar(T x) {
  Tensor<T> out = empty_tensor<T>({});
  *out.data() = x;
  return out;
}

Shape shape_of_value(const NamedTensors::Value& value) {
  return std::visit([](const auto& x) { return shape_of(x); }, value);
}

template <class From, class To>
Tensor<To> converted(const Tensor<From>& x) {
  Tensor<To> out = empty_tensor<To>(shape_of(x));
  std::transform(x.begin(), x.end(), out.begin(), [](From v) { return static_cast<To>(v); });
  return out;
}

bool between_floats(std::size_t a, std::size_t b) {
  return a < 2 && b < 2;
}

}  // namespace

/// The parts of a module, in an archive.
class Archive::Parts final : public Members {
 public:
  Parts(Archive& archive, bool generators) : archive_(archive), generators_(generators) {}

 private:
  template <class X>
  void pass(X& x) {
    const std::size_t outer = archive_.enter(name());
    archive_.add(x);
    archive_.name_.resize(outer);
  }
  void parameter(Var<float>& x) override { pass(x); }
  void parameter(Var<double>& x) override { pass(x); }
  void buffer(Tensor<float>& x) override { pass(x); }
  void buffer(Tensor<double>& x) override { pass(x); }
  void buffer(IndexTensor& x) override { pass(x); }
  void generator(Generator& x) override {
    if (generators_) pass(x);
  }

  Archive& archive_;
  bool generators_;
};

std::size_t Archive::enter(std::string_view name) {
  const std::size_t outer = name_.size();
  if (!name_.empty() && !name.empty()) name_ += '.';
  name_ += name;
  return outer;
}

Archive& Archive::members(std::string_view name, const std::function<void(Members&)>& visit, bool generators) {
  const std::size_t outer = enter(name);
  Parts parts(*this, generators);
  visit(parts);
  name_.resize(outer);
  return *this;
}

void Archive::add_place(std::size_t type, const Shape& shape, bool any_length, std::function<Value()> get,
                        std::function<void(const Value&)> set) {
  for (const Place& place : places_)
    if (place.name == name_) fail("Archive", "two values are named '", name_, "'");
  places_.push_back({name_, type, shape, any_length, std::move(get), std::move(set)});
}

template <class T>
void Archive::add_tensor(Tensor<T>& x) {
  add_place(
      type_index<T>, shape_of(x), false, [&x] { return Value(x); },
      [&x](const Value& value) { x = std::get<Tensor<T>>(value); });
}

template <class T>
void Archive::add_variable(const Var<T>& x) {
  for (const detail::NodeRef& known : variables_)
    if (known.get() == x.node()) return;
  variables_.push_back(x.reference());
  add_place(
      type_index<T>, x.shape(), false, [x] { return Value(x.tensor()); },
      [x](const Value& value) {
        Var<T> same = x;
        same.assign(std::get<Tensor<T>>(value));
      });
}

template <class T, class X>
void Archive::add_number(X& x) {
  add_place(
      type_index<T>, {}, false, [&x] { return Value(scalar(static_cast<T>(x))); },
      [&x](const Value& value) { x = static_cast<X>(*std::get<Tensor<T>>(value).data()); });
}

template <class T>
void Archive::add_list(std::vector<T>& x) {
  add_place(
      type_index<T>, {static_cast<std::int64_t>(x.size())}, true,
      [&x] {
        Tensor<T> out = empty_tensor<T>({static_cast<std::int64_t>(x.size())});
        std::copy(x.begin(), x.end(), out.begin());
        return Value(std::move(out));
      },
      [&x](const Value& value) {
        const auto& values = std::get<Tensor<T>>(value);
        x.assign(values.begin(), values.end());
      });
}

void Archive::add(float& x) {
  add_number<float>(x);
}
void Archive::add(double& x) {
  add_number<double>(x);
}
void Archive::add(std::int64_t& x) {
  add_number<std::int64_t>(x);
}
void Archive::add(std::uint64_t& x) {
  add_number<std::int64_t>(x);
}
void Archive::add(int& x) {
  add_number<std::int64_t>(x);
}
void Archive::add(bool& x) {
  add_number<std::int64_t>(x);
}
void Archive::add(Tensor<float>& x) {
  add_tensor(x);
}
void Archive::add(Tensor<double>& x) {
  add_tensor(x);
}
void Archive::add(IndexTensor& x) {
  add_tensor(x);
}
void Archive::add(std::vector<double>& x) {
  add_list(x);
}
void Archive::add(std::vector<std::int64_t>& x) {
  add_list(x);
}
void Archive::add(const Var<float>& x) {
  add_variable(x);
}
void Archive::add(const Var<double>& x) {
  add_variable(x);
}

void Archive::add(std::string& x) {
  for (const Text& text : texts_)
    if (text.name == name_) fail("Archive", "two values are named '", name_, "'");
  texts_.push_back({name_, &x});
}

void Archive::add(Generator& x) {
  add_place(
      type_index<std::int64_t>, {3}, false,
      [&x] {
        IndexTensor out = empty_tensor<std::int64_t>({3});
        const Generator::State state = x.state();
        std::transform(state.begin(), state.end(), out.begin(),
                       [](std::uint64_t word) { return std::bit_cast<std::int64_t>(word); });
        return Value(std::move(out));
      },
      [&x](const Value& value) {
        const auto& words = std::get<IndexTensor>(value);
        Generator::State state;
        std::transform(words.begin(), words.end(), state.begin(),
                       [](std::int64_t word) { return std::bit_cast<std::uint64_t>(word); });
        x = Generator::from_state(state);
      });
}

NamedTensors Archive::save() const {
  NamedTensors out;
  for (const Place& place : places_) out.tensors.emplace(place.name, place.get());
  for (const Text& text : texts_) out.metadata.emplace(text.name, *text.text);
  return out;
}

void Archive::load(const NamedTensors& values, const std::string& source, LoadOptions options) const {
  std::string differences;
  int count = 0;
  const auto differ = [&](const std::string& name, const std::string& what) {
    differences += "\n  " + name + ": " + what;
    ++count;
  };
  std::set<std::string_view> expected;
  for (const Place& place : places_) {
    expected.insert(place.name);
    const auto found = values.tensors.find(place.name);
    if (found == values.tensors.end()) {
      if (!options.allow_missing) differ(place.name, "missing");
      continue;
    }
    const Shape shape = shape_of_value(found->second);
    const bool same_shape = place.any_length ? shape.rank() == 1 : shape == place.shape;
    if (!same_shape)
      differ(place.name, "shape " + to_string(shape) + " where " +
                             (place.any_length ? "a list" : to_string(place.shape)) + " is expected");
    const std::size_t type = found->second.index();
    if (type != place.type && !(options.convert && between_floats(type, place.type)))
      differ(place.name, std::string(type_names[type]) + " where " + type_names[place.type] + " is expected");
  }
  for (const Text& text : texts_)
    if (!values.metadata.contains(text.name) && !options.allow_missing) differ(text.name, "missing");
  if (!options.allow_unexpected)
    for (const auto& [name, value] : values.tensors)
      if (!expected.contains(name)) differ(name, "unexpected");
  if (count > 0) fail<IoError>("load", source, ": ", count, count == 1 ? " difference:" : " differences:", differences);

  for (const Place& place : places_) {
    const auto found = values.tensors.find(place.name);
    if (found == values.tensors.end()) continue;
    if (found->second.index() == place.type)
      place.set(found->second);
    else if (place.type == 0)
      place.set(converted<double, float>(std::get<Tensor<double>>(found->second)));
    else
      place.set(converted<float, double>(std::get<Tensor<float>>(found->second)));
  }
  for (const Text& text : texts_)
    if (const auto found = values.metadata.find(text.name); found != values.metadata.end()) *text.text = found->second;
}

}  // namespace tapestry
