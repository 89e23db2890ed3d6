#include <tapestry/graph/module.hpp>

#include <algorithm>
#include <iomanip>
#include <ostream>
#include <unordered_map>
#include <unordered_set>

namespace tapestry::detail {
namespace {

template <class T>
class Collect final : public Members {
 public:
  std::vector<NamedParameter<T>> found;

 private:
  void parameter(Var<T>& variable) override {
    if (seen_.insert(variable.node()).second) found.push_back({name(), variable});
  }
  std::unordered_set<const Node*> seen_;
};

class Count final : public Members {
 public:
  std::int64_t total = 0;

 private:
  template <class T>
  void add(const Var<T>& variable) {
    if (seen_.insert(variable.node()).second) total += variable.size();
  }
  void parameter(Var<float>& variable) override { add(variable); }
  void parameter(Var<double>& variable) override { add(variable); }
  std::unordered_set<const Node*> seen_;
};

class SetTraining final : public Members {
 public:
  explicit SetTraining(bool training) : training_(training) {}

 private:
  void mode(Mode& mode) override { mode.training = training_; }
  bool training_;
};

class SetRequiresGrad final : public Members {
 public:
  SetRequiresGrad(std::string_view prefix, bool requires_grad) : prefix_(prefix), requires_grad_(requires_grad) {}
  bool any = false;

 private:
  template <class T>
  void set(Var<T>& variable) {
    if (!name().starts_with(prefix_)) return;
    if (!prefix_.empty() && name().size() > prefix_.size() && name()[prefix_.size()] != '.') return;
    any = true;
    variable.set_requires_grad(requires_grad_);
  }
  void parameter(Var<float>& variable) override { set(variable); }
  void parameter(Var<double>& variable) override { set(variable); }
  std::string prefix_;
  bool requires_grad_;
};

class ZeroGradients final : public Members {
  void parameter(Var<float>& variable) override { variable.zero_gradient(); }
  void parameter(Var<double>& variable) override { variable.zero_gradient(); }
};

class Separate final : public Members {
  template <class T>
  void separate(Var<T>& variable, std::unordered_map<const Node*, Var<T>>& copies) {
    auto [place, added] = copies.try_emplace(variable.node());
    if (added) {
      originals_.push_back(variable.reference());
      const Var<T> copy(variable.tensor(), variable.requires_grad());
      place->second = copy;
      // What is a copy already stands for itself: a shared member is visited several times.
      copies.emplace(copy.node(), copy);
      variable = copy;
    } else {
      variable = place->second;
    }
  }
  void parameter(Var<float>& variable) override { separate(variable, floats_); }
  void parameter(Var<double>& variable) override { separate(variable, doubles_); }
  std::unordered_map<const void*, std::shared_ptr<void>>* copies() override { return &objects_; }
  std::unordered_map<const void*, std::shared_ptr<void>> objects_;
  std::unordered_map<const Node*, Var<float>> floats_;
  std::unordered_map<const Node*, Var<double>> doubles_;
  std::vector<NodeRef> originals_;  // so that no new node takes the address of an old one
};

class Summary final : public Members {
 public:
  struct Row {
    std::string name, shape, kind;
    std::int64_t elements;
  };
  std::vector<Row> rows;

 private:
  template <class T>
  void add_parameter(const Var<T>& variable) {
    const auto [first, added] = seen_.try_emplace(variable.node(), name());
    const std::string kind = !added ? "shared with " + first->second : variable.requires_grad() ? "" : "frozen";
    rows.push_back({name(), to_string(variable.shape()), kind, added ? variable.size() : 0});
  }
  template <class T>
  void add_buffer(const T& tensor) {
    rows.push_back({name(), to_string(shape_of(tensor)), "buffer", 0});
  }
  void parameter(Var<float>& variable) override { add_parameter(variable); }
  void parameter(Var<double>& variable) override { add_parameter(variable); }
  void buffer(Tensor<float>& tensor) override { add_buffer(tensor); }
  void buffer(Tensor<double>& tensor) override { add_buffer(tensor); }
  void buffer(IndexTensor& tensor) override { add_buffer(tensor); }
  std::unordered_map<const Node*, std::string> seen_;
};

}  // namespace

void no_copy(const std::string& name) {
  fail<GraphError>("clone", "the object behind ", name, " cannot be copied");
}

template <class T>
std::vector<NamedParameter<T>> collect_parameters(const std::function<void(Members&)>& visit) {
  Collect<T> members;
  visit(members);
  return std::move(members.found);
}
template std::vector<NamedParameter<float>> collect_parameters(const std::function<void(Members&)>&);
template std::vector<NamedParameter<double>> collect_parameters(const std::function<void(Members&)>&);

std::int64_t count(const std::function<void(Members&)>& visit) {
  Count members;
  visit(members);
  return members.total;
}

void set_training(const std::function<void(Members&)>& visit, bool training) {
  SetTraining members(training);
  visit(members);
}

void set_requires_grad(const std::function<void(Members&)>& visit, std::string_view prefix, bool requires_grad) {
  SetRequiresGrad members(prefix, requires_grad);
  visit(members);
  if (!members.any)
    fail(requires_grad ? "unfreeze" : "freeze", "'", prefix, "' names no parameter, and no member that has any");
}

void zero_gradients(const std::function<void(Members&)>& visit) {
  ZeroGradients members;
  visit(members);
}

void separate(const std::function<void(Members&)>& visit) {
  Separate members;
  visit(members);
}

void summary(const std::function<void(Members&)>& visit, std::ostream& out) {
  Summary members;
  visit(members);
  std::size_t name = 4, shape = 5;
  std::int64_t total = 0;
  for (const Summary::Row& row : members.rows) {
    name = std::max(name, row.name.size());
    shape = std::max(shape, row.shape.size());
    total += row.elements;
  }
  const auto line = [&](const std::string& a, const std::string& b, const std::string& c, const std::string& d) {
    out << std::left << std::setw(static_cast<int>(name) + 2) << a << std::setw(static_cast<int>(shape) + 2) << b
        << std::right << std::setw(12) << c << (d.empty() ? "" : "  ") << d << '\n';
  };
  line("name", "shape", "count", "");
  for (const Summary::Row& row : members.rows) line(row.name, row.shape, std::to_string(row.elements), row.kind);
  line("total", "", std::to_string(total), "");
}

}  // namespace tapestry::detail
