#include <tapestry/graph/drawing.hpp>

#include <algorithm>
#include <iomanip>
#include <map>
#include <ostream>
#include <set>
#include <sstream>
#include <unordered_map>

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

// "a/relax[3]/b": where a step's scope ends, its loop "a/relax", its number.
struct StepName {
  std::string step, loop;
};
bool first_step(const std::string& scope, StepName& out) {
  for (std::size_t begin = 0; begin < scope.size();) {
    const std::size_t end = std::min(scope.find('/', begin), scope.size());
    const std::size_t open = scope.rfind('[', end);
    if (scope[end - 1] == ']' && open != std::string::npos && open > begin && open + 2 < end &&
        std::all_of(scope.begin() + static_cast<std::ptrdiff_t>(open) + 1,
                    scope.begin() + static_cast<std::ptrdiff_t>(end) - 1,
                    [](char c) { return c >= '0' && c <= '9'; })) {
      out = {scope.substr(0, end), scope.substr(0, open)};
      return true;
    }
    begin = end + 1;
  }
  return false;
}

// For each node the one that is drawn for it, and for each step that stands for others their number.
struct Collapsed {
  std::vector<std::size_t> shown;
  std::map<std::string, std::size_t> times;
};

Collapsed collapse(const Drawing& drawing, bool steps) {
  Collapsed out;
  out.shown.resize(drawing.nodes.size());
  struct Step {
    std::string loop, signature;
    std::vector<std::size_t> nodes;
  };
  std::map<std::string, Step> found;
  for (std::size_t i = 0; i < drawing.nodes.size(); ++i) {
    out.shown[i] = i;
    const Drawing::Node& node = drawing.nodes[i];
    StepName name;
    if (!steps || node.kind != Drawing::Kind::operation || !first_step(node.scope, name)) continue;
    Step& step = found[name.step];
    step.loop = name.loop;
    step.nodes.push_back(i);
    step.signature += node.name + to_string(node.shape) + node.scope.substr(name.step.size()) + ';';
  }
  std::vector<std::pair<std::string, const Step*>> order;
  for (const auto& [name, step] : found) order.emplace_back(name, &step);
  std::sort(order.begin(), order.end(),
            [](const auto& a, const auto& b) { return a.second->nodes[0] < b.second->nodes[0]; });
  std::map<std::string, std::pair<std::string, const Step*>> representatives;
  for (const auto& [name, step] : order) {
    const auto [entry, added] = representatives.try_emplace(step->loop + '\n' + step->signature, name, step);
    ++out.times[entry->second.first];
    if (!added)
      for (std::size_t k = 0; k < step->nodes.size(); ++k) out.shown[step->nodes[k]] = entry->second.second->nodes[k];
  }
  return out;
}

struct Cluster {
  std::map<std::string, Cluster> inner;
  std::vector<std::size_t> nodes;
};

class DotWriter {
 public:
  DotWriter(const Drawing& drawing, const DrawingOptions& options, std::ostream& out)
      : drawing_(drawing), collapsed_(collapse(drawing, options.collapse_steps)), out_(out) {}

  void write() {
    out_ << "digraph tapestry {\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#eef3fb\", "
            "fontname=\"Helvetica\", fontsize=10];\n  edge [arrowsize=0.6, color=\"#555555\"];\n  "
            "fontname=\"Helvetica\";\n"
            "  fontsize=10;\n";
    Cluster root;
    for (std::size_t i = 0; i < drawing_.nodes.size(); ++i)
      if (collapsed_.shown[i] == i) place(root, i);
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
      const auto times = collapsed_.times.find(full);
      const bool repeated = times != collapsed_.times.end() && times->second > 1;
      out_ << indent << "subgraph cluster_" << clusters_++ << " {\n"
           << indent << "  label=" << detail::json_text(repeated ? name + " x " + std::to_string(times->second) : name)
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
        const std::size_t from = collapsed_.shown[input], to = collapsed_.shown[i];
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
