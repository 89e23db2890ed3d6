#include <tapestry/autodiff/ops/einsum.hpp>

#include <algorithm>
#include <map>
#include <string>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/ops/arithmetic.hpp>
#include <tapestry/autodiff/ops/contraction_order.hpp>
#include <tapestry/autodiff/ops/matmul.hpp>
#include <tapestry/autodiff/ops/reduction.hpp>
#include <tapestry/autodiff/ops/shaping.hpp>
#include <tapestry/autodiff/ops/slicing.hpp>

namespace tapestry {
namespace {

using detail::AxisSet;
using Labels = std::vector<int>;  // the axes of a tensor by their numbers

AxisSet bit(int label) {
  return AxisSet{1} << label;
}
AxisSet set_of(const Labels& labels) {
  AxisSet out = 0;
  for (const int label : labels) out |= bit(label);
  return out;
}
bool contains(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}
Labels join(Labels a, const Labels& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Labels only(const Labels& labels, AxisSet wanted) {
  Labels out;
  for (const int label : labels)
    if ((wanted & bit(label)) != 0) out.push_back(label);
  return out;
}

template <class T>
struct Term {
  Var<T> x;
  Labels labels;
};

// An equation with letters turned into numbers, and the extents that go with them.
class Equation {
 public:
  Equation(std::string_view text, const std::vector<Shape>& shapes) : text_(text) {
    std::string clean;
    for (const char c : text)
      if (c != ' ') clean += c;
    const std::size_t arrow = clean.find("->");
    std::vector<std::string> parts{""};
    for (const char c : clean.substr(0, arrow)) {
      if (c == ',')
        parts.emplace_back();
      else
        parts.back() += c;
    }
    if (parts.size() != shapes.size()) refuse(parts.size(), " operands in the equation, ", shapes.size(), " given");
    for (std::size_t i = 0; i < parts.size(); ++i) operands.push_back(read_operand(parts[i], shapes[i]));
    result = arrow == std::string::npos ? implied(parts) : read_result(clean.substr(arrow + 2));
    for (const auto& [name, label] : numbers_)
      if (label >= 64) refuse("more than 64 different axes");
  }

  std::vector<Labels> operands;
  Labels result;
  std::vector<std::int64_t> extents;

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<ShapeError>("einsum", parts..., " in \"", text_, "\"");
  }

  static std::string letter(char c) { return std::string(1, c); }
  // The i-th axis of "...", counted from the last one.
  static std::string hidden(int from_end) { return "." + std::to_string(from_end); }

  Labels read_operand(const std::string& part, const Shape& shape) {
    const std::size_t dots = part.find("...");
    const int letters = static_cast<int>(part.size()) - (dots == std::string::npos ? 0 : 3);
    const int more = shape.rank() - letters;
    if (more < 0 || (more > 0 && dots == std::string::npos))
      refuse("\"", part, "\" does not name the axes of a shape ", shape);
    Labels out;
    for (std::size_t at = 0; at < part.size(); ++at) {
      if (at == dots) {
        for (int i = more; i-- > 0;) out.push_back(number(hidden(i), shape[static_cast<int>(out.size())], shape));
        hidden_ = std::max(hidden_, more);
        at += 2;
        continue;
      }
      check_letter(part[at]);
      out.push_back(number(letter(part[at]), shape[static_cast<int>(out.size())], shape));
    }
    return out;
  }

  Labels read_result(const std::string& part) {
    Labels out;
    const std::size_t dots = part.find("...");
    for (std::size_t at = 0; at < part.size(); ++at) {
      if (at == dots) {
        for (int i = hidden_; i-- > 0;) out.push_back(numbers_.at(hidden(i)));
        at += 2;
        continue;
      }
      check_letter(part[at]);
      const auto known = numbers_.find(letter(part[at]));
      if (known == numbers_.end()) refuse("the result's axis '", part[at], "' is not in an operand");
      if (contains(out, known->second)) refuse("the result has the axis '", part[at], "' twice");
      out.push_back(known->second);
    }
    return out;
  }

  Labels implied(const std::vector<std::string>& parts) const {
    std::map<char, int> times;
    for (const std::string& part : parts)
      for (const char c : part)
        if (c != '.') ++times[c];
    Labels out;
    for (int i = hidden_; i-- > 0;) out.push_back(numbers_.at(hidden(i)));
    for (const auto& [c, count] : times)
      if (count == 1) out.push_back(numbers_.at(letter(c)));
    return out;
  }

  void check_letter(char c) const {
    if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z')) refuse("'", c, "' is not a letter");
  }

  int number(const std::string& name, std::int64_t extent, const Shape& shape) {
    const auto [known, added] = numbers_.try_emplace(name, static_cast<int>(numbers_.size()));
    if (added) {
      extents.push_back(extent);
      return known->second;
    }
    std::int64_t& extent_before = extents[static_cast<std::size_t>(known->second)];
    if (extent_before == 1)
      extent_before = extent;
    else if (extent != 1 && extent != extent_before)
      refuse("axis '", name, "' has an extent of ", extent_before, " and in ", shape, " of ", extent);
    return known->second;
  }

  std::string_view text_;
  std::map<std::string, int> numbers_;
  int hidden_ = 0;
};

// The axes in another order, all of them.
template <class T>
Var<T> ordered(const Term<T>& term, const Labels& labels) {
  if (labels == term.labels) return term.x;
  Axes axes;
  for (const int label : labels)
    axes.push_back(std::find(term.labels.begin(), term.labels.end(), label) - term.labels.begin());
  return transpose(term.x, axes);
}

// Without axes of extent 1 that broadcast, repeated axes, and axes that nobody else has.
template <class T>
Term<T> simplified(Term<T> term, AxisSet kept, const std::vector<std::int64_t>& extents) {
  for (std::size_t i = 0; i < term.labels.size(); ++i)
    for (std::size_t j = i + 1; j < term.labels.size(); ++j) {
      if (term.labels[i] != term.labels[j]) continue;
      const int label = term.labels[i], a = static_cast<int>(i), b = static_cast<int>(j);
      if (term.x.shape()[a] == term.x.shape()[b]) {
        term.x = diagonal(term.x, 0, a, b);
        term.labels.erase(term.labels.begin() + b);
        term.labels.erase(term.labels.begin() + a);
        term.labels.push_back(label);
      } else {
        const int single = term.x.shape()[a] == 1 ? a : b;
        Shape shape = term.x.shape();
        shape.erase(single);
        term.x = reshape(term.x, shape);
        term.labels.erase(term.labels.begin() + single);
      }
      return simplified(std::move(term), kept, extents);
    }
  Axes summed;
  Shape shape;
  Labels labels;
  for (std::size_t i = 0; i < term.labels.size(); ++i) {
    const int label = term.labels[i];
    const std::int64_t extent = term.x.shape()[static_cast<int>(i)];
    const bool repeats = extent == 1 && extents[static_cast<std::size_t>(label)] != 1;
    if ((kept & bit(label)) != 0 && !repeats) {
      shape.push_back(extent);
      labels.push_back(label);
    } else if (!repeats) {
      summed.push_back(static_cast<std::int64_t>(i));
    }
  }
  if (labels == term.labels) return term;
  if (!summed.empty()) term.x = sum(term.x, summed);
  return {reshape(term.x, shape), labels};
}

template <class T>
Shape extents_of(const Labels& labels, const std::vector<std::int64_t>& extents) {
  Shape out;
  for (const int label : labels) out.push_back(extents[static_cast<std::size_t>(label)]);
  return out;
}

/// a and b multiplied, summed over the axes that are not kept.
template <class T>
Term<T> contract(const Term<T>& a, const Term<T>& b, AxisSet kept, const std::vector<std::int64_t>& extents) {
  const AxisSet in_a = set_of(a.labels), in_b = set_of(b.labels), both = in_a & in_b;
  const Labels batch = only(a.labels, both & kept), summed = only(a.labels, both & ~kept);
  const Labels free_a = only(a.labels, in_a & ~in_b), free_b = only(b.labels, in_b & ~in_a);
  const auto size = [&](const Labels& labels) { return extents_of<T>(labels, extents).elements(); };
  const Labels result = join(join(batch, free_a), free_b);
  if (summed.empty()) {
    Shape left = extents_of<T>(join(batch, free_a), extents), right = extents_of<T>(batch, extents);
    for (std::size_t i = 0; i < free_b.size(); ++i) left.push_back(1);
    for (std::size_t i = 0; i < free_a.size(); ++i) right.push_back(1);
    for (const int label : free_b) right.push_back(extents[static_cast<std::size_t>(label)]);
    return {reshape(ordered(a, join(batch, free_a)), left) * reshape(ordered(b, join(batch, free_b)), right), result};
  }
  // Whichever way round the axes lie already needs no copy.
  const bool trans_a = a.labels == join(join(batch, summed), free_a);
  const bool trans_b = b.labels == join(join(batch, free_b), summed);
  const std::int64_t items = size(batch), m = size(free_a), n = size(free_b), k = size(summed);
  const Var<T> left = ordered(a, trans_a ? a.labels : join(join(batch, free_a), summed));
  const Var<T> right = ordered(b, trans_b ? b.labels : join(join(batch, summed), free_b));
  const auto matrices = [&](std::int64_t rows, std::int64_t columns, bool transposed) {
    Shape shape;
    if (!batch.empty()) shape.push_back(items);
    shape.push_back(transposed ? columns : rows);
    shape.push_back(transposed ? rows : columns);
    return shape;
  };
  const Var<T> product = matmul(reshape(left, matrices(m, k, trans_a)), reshape(right, matrices(k, n, trans_b)),
                                {.transpose_a = trans_a, .transpose_b = trans_b});
  return {reshape(product, extents_of<T>(result, extents)), result};
}

}  // namespace

template <class T>
Var<T> einsum(std::string_view equation, const std::vector<Var<T>>& operands) {
  std::vector<Shape> shapes;
  for (const Var<T>& x : operands) shapes.push_back(x.shape());
  const Equation parsed(equation, shapes);
  const std::vector<std::int64_t>& extents = parsed.extents;
  const AxisSet result = set_of(parsed.result);

  std::vector<Term<T>> terms;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    AxisSet elsewhere = result;
    for (std::size_t j = 0; j < operands.size(); ++j)
      if (j != i) elsewhere |= set_of(parsed.operands[j]);
    terms.push_back(simplified(Term<T>{operands[i], parsed.operands[i]}, elsewhere, extents));
  }
  // An axis that only one term has left after broadcasting is summed there.
  for (std::size_t i = 0; i < terms.size(); ++i) {
    AxisSet elsewhere = result;
    for (std::size_t j = 0; j < terms.size(); ++j)
      if (j != i) elsewhere |= set_of(terms[j].labels);
    terms[i] = simplified(std::move(terms[i]), elsewhere, extents);
  }
  std::vector<AxisSet> sets;
  for (const Term<T>& term : terms) sets.push_back(set_of(term.labels));
  for (const auto& [i, j] : detail::contraction_order(sets, result, extents)) {
    AxisSet kept = result;
    for (std::size_t k = 0; k < terms.size(); ++k)
      if (k != i && k != j) kept |= set_of(terms[k].labels);
    terms[i] = contract(terms[i], terms[j], kept, extents);
    terms.erase(terms.begin() + static_cast<std::ptrdiff_t>(j));
  }
  return ordered(terms.front(), parsed.result);
}

template Var<float> einsum(std::string_view, const std::vector<Var<float>>&);
template Var<double> einsum(std::string_view, const std::vector<Var<double>>&);

}  // namespace tapestry
