#include <tapestry/graph/drawing.hpp>

#include <algorithm>
#include <iomanip>
#include <map>
#include <numeric>
#include <ostream>
#include <set>
#include <sstream>
#include <unordered_map>
#include <utility>
#include <vector>

#include <tapestry/autodiff/atomic_file.hpp>
#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/operation.hpp>
#include <tapestry/graph/json_text.hpp>

namespace tapestry {
namespace {

std::string bytes_text(std::size_t bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
  std::ostringstream out;
  out << std::setprecision(3) << value << ' ' << units[unit];
  return out.str();
}

// The steps of loops in a scope, from the outermost: of "a/relax[3]/b", "a/relax[3]" of the loop "a/relax".
struct StepName {
  std::string step, loop;
};
std::vector<StepName> steps_of(const std::string& scope) {
  std::vector<StepName> out;
  for (std::size_t begin = 0; begin < scope.size();) {
    const std::size_t end = std::min(scope.find('/', begin), scope.size());
    const std::size_t open = scope.rfind('[', end);
    if (end > begin && scope[end - 1] == ']' && open != std::string::npos && open > begin && open + 2 < end &&
        std::all_of(scope.begin() + static_cast<std::ptrdiff_t>(open) + 1,
                    scope.begin() + static_cast<std::ptrdiff_t>(end) - 1, [](char c) { return c >= '0' && c <= '9'; }))
      out.push_back({scope.substr(0, end), scope.substr(0, open)});
    begin = end + 1;
  }
  return out;
}

// For each node the one that is drawn for it, and for each step that stands for others their number.
class Collapsed {
 public:
  Collapsed(const Drawing& drawing, bool steps) : nodes_(drawing.nodes), shown_(nodes_.size()) {
    std::iota(shown_.begin(), shown_.end(), std::size_t{0});
    // Loops within a loop: in the steps of the outer one that are drawn.
    for (std::size_t depth = 0; steps && collapse_loops(depth);) ++depth;
    if (steps) collapse_sources();
  }
  std::size_t shown(std::size_t i) const {
    while (shown_[i] != i) i = shown_[i];
    return i;
  }
  std::size_t times(const std::string& step) const {
    const auto found = times_.find(step);
    return found == times_.end() ? 1 : found->second;
  }

 private:
  struct Step {
    std::string name, loop, signature;
    std::vector<std::size_t> nodes;
  };

  // Whether there are any at that depth.
  bool collapse_loops(std::size_t depth) {
    std::vector<Step> found;
    std::unordered_map<std::string, std::size_t> index;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      const Drawing::Node& node = nodes_[i];
      if (node.kind != Drawing::Kind::operation || shown_[i] != i) continue;
      const std::vector<StepName> names = steps_of(node.scope);
      if (names.size() <= depth) continue;
      const auto [entry, added] = index.try_emplace(names[depth].step, found.size());
      if (added) found.push_back({names[depth].step, names[depth].loop, "", {}});
      Step& step = found[entry->second];
      step.nodes.push_back(i);
      step.signature += node.name + to_string(node.shape) + node.scope.substr(step.name.size()) + ';';
    }
    std::map<std::pair<std::string, std::string>, const Step*> representatives;
    for (const Step& step : found) {
      const Step* first = representatives.try_emplace({step.loop, step.signature}, &step).first->second;
      ++times_[first->name];
      for (std::size_t k = 0; k < step.nodes.size(); ++k) shown_[step.nodes[k]] = first->nodes[k];
    }
    return !found.empty();
  }

  // What only steps that are not drawn read (inputs of a scan, constants) is drawn as what the drawn step reads there.
  void collapse_sources() {
    constexpr std::size_t unread = static_cast<std::size_t>(-1), apart = unread - 1;
    std::vector<std::size_t> instead(nodes_.size(), unread);
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      if (instead[i] < apart && alike(i, instead[i])) shown_[i] = instead[i];
      const std::size_t drawn = shown(i);
      for (std::size_t k = 0; k < nodes_[i].inputs.size(); ++k) {
        const std::size_t input = nodes_[i].inputs[k];
        const bool other = drawn != i && k < nodes_[drawn].inputs.size() && instead[input] != apart;
        instead[input] = other ? nodes_[drawn].inputs[k] : apart;
      }
    }
  }
  bool alike(std::size_t i, std::size_t drawn) const {
    const Drawing::Node &a = nodes_[i], &b = nodes_[drawn];
    if (i == drawn || shown_[i] != i || a.kind != b.kind || a.kind == Drawing::Kind::output) return false;
    return a.name == b.name && a.shape == b.shape && a.scope == b.scope && a.inputs == b.inputs;
  }

  const std::vector<Drawing::Node>& nodes_;
  std::vector<std::size_t> shown_;
  std::unordered_map<std::string, std::size_t> times_;
};

struct Cluster {
  std::map<std::string, Cluster> inner;
  std::vector<std::size_t> nodes;
};

class DotWriter {
 public:
  DotWriter(const Drawing& drawing, const DrawingOptions& options, std::ostream& out)
      : drawing_(drawing), collapsed_(drawing, options.collapse_steps), out_(out) {}

  void write() {
    out_ << "digraph tapestry {\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#eef3fb\", "
            "fontname=\"Helvetica\", fontsize=10];\n  edge [arrowsize=0.6, color=\"#555555\"];\n  "
            "fontname=\"Helvetica\";\n"
            "  fontsize=10;\n";
    Cluster root;
    for (std::size_t i = 0; i < drawing_.nodes.size(); ++i)
      if (collapsed_.shown(i) == i) place(root, i);
    write_cluster(root, "", 1);
    write_edges();
    out_ << "}\n";
  }

 private:
  void place(Cluster& root, std::size_t i) const {
    Cluster* at = &root;
    std::istringstream names(drawing_.nodes[i].scope);
    for (std::string name; std::getline(names, name, '/');) at = &at->inner[name];
    at->nodes.push_back(i);
  }

  void write_cluster(const Cluster& cluster, const std::string& path, int depth) {
    const std::string indent(static_cast<std::size_t>(2 * depth), ' ');
    for (const std::size_t i : cluster.nodes) write_node(i, indent);
    for (const auto& [name, inner] : cluster.inner) {
      const std::string full = path.empty() ? name : path + '/' + name;
      const std::size_t times = collapsed_.times(full);
      const bool repeated = times > 1;
      out_ << indent << "subgraph cluster_" << clusters_++ << " {\n"
           << indent << "  label=" << detail::json_text(repeated ? name + " x " + std::to_string(times) : name)
           << "; style=\"rounded\"; color=\"#8899bb\";" << (repeated ? " penwidth=2;" : "") << '\n';
      write_cluster(inner, full, depth + 1);
      out_ << indent << "}\n";
    }
  }

  void write_node(std::size_t i, const std::string& indent) {
    const Drawing::Node& node = drawing_.nodes[i];
    std::string label = node.name + "\n" + to_string(node.shape);
    if (node.bytes > 0) label += "  " + bytes_text(node.bytes);
    std::string text = detail::json_text(label);
    for (std::size_t at; (at = text.find("\\u000a")) != std::string::npos;) text.replace(at, 6, "\\n");
    out_ << indent << 'n' << i << " [label=" << text;
    if (node.kind == Drawing::Kind::leaf) out_ << ", shape=ellipse, fillcolor=\"#fdf3dc\"";
    if (node.kind == Drawing::Kind::constant) out_ << ", shape=ellipse, fillcolor=\"#f2f2f2\"";
    if (node.kind == Drawing::Kind::output) out_ << ", fillcolor=\"#e2f3e4\", penwidth=2";
    out_ << "];\n";
  }

  void write_edges() {
    std::set<std::pair<std::size_t, std::size_t>> seen;
    for (std::size_t i = 0; i < drawing_.nodes.size(); ++i)
      for (const std::size_t input : drawing_.nodes[i].inputs) {
        const std::size_t from = collapsed_.shown(input), to = collapsed_.shown(i);
        if (!seen.insert({from, to}).second) continue;
        out_ << "  n" << from << " -> n" << to;
        // From a step to the next: drawn against the order of evaluation.
        if (from >= to) out_ << " [style=dashed, constraint=false, color=\"#aa5533\"]";
        out_ << ";\n";
      }
  }

  const Drawing& drawing_;
  Collapsed collapsed_;
  std::ostream& out_;
  int clusters_ = 0;
};

}  // namespace

Drawing draw(const Tape& tape) {
  Drawing out;
  std::unordered_map<const detail::Node*, std::size_t> index;
  const auto value_bytes = [](const detail::Node* node) { return node->value == nullptr ? 0 : node->value->bytes; };
  for (const detail::Node* node = detail::TapeAccess::first(tape); node != nullptr; node = node->next) {
    Drawing::Node drawn;
    for (std::size_t i = 0; node->inputs != nullptr && i < node->input_count; ++i) {
      const detail::Node* input = node->inputs[i].node;
      const auto [entry, added] = index.try_emplace(input, out.nodes.size());
      if (added)
        out.nodes.push_back({input->requires_grad ? "leaf" : "constant",
                             input->requires_grad ? Drawing::Kind::leaf : Drawing::Kind::constant,
                             input->shape,
                             value_bytes(input),
                             "",
                             {}});
      drawn.inputs.push_back(entry->second);
    }
    drawn.name = node->operation != nullptr ? std::string(node->operation->name()) : "freed";
    drawn.shape = node->shape;
    drawn.bytes = value_bytes(node);
    drawn.scope = detail::scope_name(node->scope);
    index.try_emplace(node, out.nodes.size());
    out.nodes.push_back(std::move(drawn));
  }
  return out;
}

void write_dot(const Drawing& drawing, std::ostream& out, const DrawingOptions& options) {
  DotWriter(drawing, options, out).write();
}

void write_dot(const Drawing& drawing, const std::filesystem::path& file, const DrawingOptions& options) {
  std::ostringstream stream;
  write_dot(drawing, stream, options);
  const std::string text = stream.str();
  detail::AtomicFile out("write_dot", file);
  out.write(text.data(), text.size());
  out.commit();
}

void write_table(const Drawing& drawing, std::ostream& out) {
  std::ostringstream text;
  std::size_t bytes = 0, name_width = 9, shape_width = 5;
  for (const Drawing::Node& node : drawing.nodes) {
    name_width = std::max(name_width, node.name.size());
    shape_width = std::max(shape_width, to_string(node.shape).size());
  }
  const auto cell = [&](std::size_t width) -> std::ostream& {
    return text << std::left << std::setw(static_cast<int>(width) + 2);
  };
  cell(6) << "node";
  cell(name_width) << "operation";
  cell(shape_width) << "shape";
  cell(10) << "bytes";
  text << "inputs and scope\n";
  for (std::size_t i = 0; i < drawing.nodes.size(); ++i) {
    const Drawing::Node& node = drawing.nodes[i];
    bytes += node.bytes;
    cell(6) << "%" + std::to_string(i);
    cell(name_width) << node.name;
    cell(shape_width) << to_string(node.shape);
    cell(10) << node.bytes;
    for (const std::size_t input : node.inputs) text << '%' << input << ' ';
    if (!node.scope.empty()) text << "in " << node.scope;
    text << '\n';
  }
  text << drawing.nodes.size() << " nodes, " << bytes << " bytes\n";
  out << text.str();
}

}  // namespace tapestry
