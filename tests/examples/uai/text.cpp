#include <cstdio>

#include "models.hpp"

namespace uai_models {
namespace {

/// How a file is laid out: what separates words and lines, how numbers look, and what stands before.
struct Style {
  const char* space;
  const char* line;
  const char* number;
  const char* comment = "";
};
constexpr Style styles[] = {{" ", "\n", "%.17g"},  {"\t", "\r\n", "%.17e"},
                            {" ", " ", "%.17G"},   {"  ", " \n\n", "%+.17e"},
                            {"\n", "\n", "%.17g"}, {" ", "\nc 1 2\n", "%.17g", "c a model\n"}};

const Style& pick(int style) {
  return styles[static_cast<std::size_t>(style) % std::size(styles)];
}

}  // namespace

std::string format(const Model& model, int style) {
  const Style& how = pick(style);
  std::string out = how.comment + model.kind + how.line + std::to_string(model.variables()) + how.line;
  for (const int k : model.states) out += std::to_string(k) + how.space;
  out += how.line + std::to_string(model.scopes.size()) + how.line;
  for (const auto& scope : model.scopes) {
    out += std::to_string(scope.size());
    for (const int v : scope) out += how.space + std::to_string(v);
    out += how.line;
  }
  for (const auto& table : model.tables) {
    out += how.line + std::to_string(table.size()) + how.line;
    for (const double x : table) {
      char text[40];
      std::snprintf(text, sizeof text, how.number, x);
      out += how.space + std::string(text);
    }
    out += how.line;
  }
  return out;
}

std::string format_evidence(const Model& model, int style) {
  const Style& how = pick(style);
  if (model.evidence.empty() && style % 2 == 1) return "";
  std::string out = std::to_string(model.evidence.size());
  for (const auto& [v, s] : model.evidence)
    out += (style % 2 ? how.line : how.space) + std::to_string(v) + how.space + std::to_string(s);
  // The older format counts samples first.
  if (style % 3 == 1) out = "1" + std::string(how.line) + out;
  return how.comment + out + (style % 2 ? "" : how.line);
}

}  // namespace uai_models
