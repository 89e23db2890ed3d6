#include <tapestry/prob/io/uai.hpp>

#include <cmath>

#include <tapestry/prob/io/text_reader.hpp>

namespace tapestry {
namespace {

using detail::TextReader;

// What marginals of a variable without factors may need is not bounded by the file's size.
constexpr std::int64_t most_states = std::int64_t{1} << 24;

void read_scope(TextReader& in, DiscreteModel& model, std::vector<std::int64_t>& seen) {
  const std::int64_t factor = model.factors();
  const std::int64_t arity = in.count("the number of variables of a factor");
  std::vector<std::int64_t> scope(static_cast<std::size_t>(arity));
  for (auto& v : scope) {
    v = in.integer("a variable of a factor", 0, model.variables() - 1);
    if (seen[static_cast<std::size_t>(v)] == factor) in.error("factor ", factor, " names variable ", v, " twice");
    seen[static_cast<std::size_t>(v)] = factor;
  }
  model.scopes.push_back(std::move(scope));
}

void read_table(TextReader& in, DiscreteModel& model) {
  const std::size_t factor = model.tables.size();
  const std::int64_t entries = in.count("the number of entries of a table");
  const std::int64_t first_line = in.line();
  double expected = 1;
  for (const std::int64_t v : model.scopes[factor]) expected *= static_cast<double>(model.cardinalities[v]);
  if (static_cast<double>(entries) != expected)
    in.error("factor ", factor, " has ", entries, " entries, its variables need ", expected);
  std::vector<double> table(static_cast<std::size_t>(entries));
  for (auto& x : table) {
    x = in.number("a table's entry");
    if (x < 0) in.error("factor ", factor, " has a negative entry: ", x);
  }
  if (const auto fault = detail::table_fault(table)) in.error_at(first_line, "factor ", factor, ": ", *fault);
  model.tables.push_back(std::move(table));
}

/// Whether a line with the number of samples alone is followed by as many of "count variable state ...".
bool has_line_by_sample(std::string_view text, std::int64_t samples) {
  std::int64_t lines = 0;
  TextReader in("read_uai_evidence", "", text);
  for (auto word = in.word(); !word.empty(); ++lines) {
    std::int64_t count = 0, words = 1;
    const std::int64_t line = in.line();
    const bool number = detail::parse_integer(word, count);
    for (word = in.word(); !word.empty() && in.line() == line; word = in.word()) ++words;
    if (!number || count != (lines == 0 ? samples : words / 2) || words % 2 == 0 || (lines == 0 && words > 1))
      return false;
  }
  return lines == 1 + samples;
}

}  // namespace

DiscreteModel parse_uai(std::string_view text, std::string_view file) {
  TextReader in("read_uai", file, text);
  DiscreteModel model;
  const auto kind = in.word();
  if (kind == "BAYES")
    model.kind = ModelKind::bayes;
  else if (kind != "MARKOV")
    in.error("a model starts with MARKOV or BAYES, not '", detail::excerpt(kind), "'");
  model.cardinalities.resize(static_cast<std::size_t>(in.count("the number of variables")));
  for (auto& k : model.cardinalities) k = in.integer("a variable's number of states", 1, most_states);
  const std::int64_t factors = in.count("the number of factors");
  std::vector<std::int64_t> seen(model.cardinalities.size(), -1);
  std::vector<std::int64_t> lines;
  for (std::int64_t f = 0; f < factors; ++f) read_scope(in, model, seen);
  for (std::int64_t f = 0; f < factors; ++f) {
    in.at_end();
    lines.push_back(in.line());
    read_table(in, model);
  }
  if (!in.at_end()) in.error("text after the last of ", factors, " tables: '", detail::excerpt(in.word()), "'");
  if (model.kind == ModelKind::bayes)
    if (const auto fault = detail::network_fault(model, RowSums::at_most_one)) {
      if (fault->factor < 0) in.error(fault->message);
      in.error_at(lines[static_cast<std::size_t>(fault->factor)], "factor ", fault->factor, ": ", fault->message);
    }
  return model;
}

DiscreteModel read_uai(const std::string& path) {
  return parse_uai(detail::read_text("read_uai", path), path);
}

std::vector<Evidence> parse_uai_evidence(std::string_view text, const std::vector<std::int64_t>& cardinalities,
                                         std::string_view file) {
  TextReader in("read_uai_evidence", file, text);
  std::int64_t words = 0;
  while (!in.word().empty()) ++words;
  if (words == 0) return {Evidence()};

  in = TextReader("read_uai_evidence", file, text);
  const std::int64_t first = in.count("the number of observations");
  if (first == 0) return {Evidence()};
  // One set of observations fills the file exactly; otherwise the first number counts samples, as it does where it and
  // each of them have a line of their own.
  const bool samples = words != 1 + 2 * first || has_line_by_sample(text, first);
  std::vector<Evidence> out;
  std::vector<std::int64_t> seen(cardinalities.size(), -1);
  for (std::int64_t sample = 0; sample < (samples ? first : 1); ++sample) {
    Evidence evidence(static_cast<std::size_t>(samples ? in.count("the number of observations") : first));
    for (auto& [variable, state] : evidence) {
      variable = in.integer("an observed variable", 0, static_cast<std::int64_t>(cardinalities.size()) - 1);
      const auto v = static_cast<std::size_t>(variable);
      state = in.integer("an observed state", 0, cardinalities[v] - 1);
      if (seen[v] >= 0 && seen[v] != state)
        in.error("variable ", variable, " is observed in states ", seen[v], " and ", state);
      seen[v] = state;
    }
    for (const auto& [variable, state] : evidence) seen[static_cast<std::size_t>(variable)] = -1;
    out.push_back(std::move(evidence));
  }
  if (!in.at_end()) in.error("text after the evidence: '", detail::excerpt(in.word()), "'");
  return out;
}

std::vector<Evidence> read_uai_evidence(const std::string& path, const std::vector<std::int64_t>& cardinalities) {
  return parse_uai_evidence(detail::read_text("read_uai_evidence", path), cardinalities, path);
}

std::string format_uai(const DiscreteModel& model) {
  validate(model, RowSums::at_most_one);
  std::string out = model.kind == ModelKind::bayes ? "BAYES\n" : "MARKOV\n";
  out += std::to_string(model.variables()) + '\n';
  for (std::size_t v = 0; v < model.cardinalities.size(); ++v)
    out += (v ? " " : "") + std::to_string(model.cardinalities[v]);
  out += '\n' + std::to_string(model.factors()) + '\n';
  for (const auto& scope : model.scopes) {
    out += std::to_string(scope.size());
    for (const std::int64_t v : scope) out += ' ' + std::to_string(v);
    out += '\n';
  }
  for (std::size_t f = 0; f < model.scopes.size(); ++f) {
    const auto& scope = model.scopes[f];
    const auto row = scope.empty() ? std::size_t{1} : static_cast<std::size_t>(model.cardinalities[scope.back()]);
    out += '\n' + std::to_string(model.tables[f].size()) + '\n';
    for (std::size_t i = 0; i < model.tables[f].size(); ++i) {
      out += i % row == 0 ? "" : " ";
      detail::append_number(out, model.tables[f][i]);
      if (i % row == row - 1) out += '\n';
    }
  }
  return out;
}

void write_uai(const std::string& path, const DiscreteModel& model) {
  detail::write_text("write_uai", path, format_uai(model));
}

std::string format_uai_evidence(const Evidence& evidence) {
  std::string out = std::to_string(evidence.size());
  for (const auto& [variable, state] : evidence) out += ' ' + std::to_string(variable) + ' ' + std::to_string(state);
  return out + '\n';
}

std::string format_uai_pr(double log_partition) {
  std::string out = "PR\n";
  detail::append_number(out, log_partition / std::log(10.0));
  return out + '\n';
}

std::string format_uai_mar(const std::vector<std::vector<double>>& marginals) {
  std::string out = "MAR\n" + std::to_string(marginals.size());
  for (const auto& marginal : marginals) {
    out += ' ' + std::to_string(marginal.size());
    for (const double p : marginal) {
      out += ' ';
      detail::append_number(out, p);
    }
  }
  return out + '\n';
}

std::string format_uai_map(const std::vector<std::int64_t>& assignment) {
  std::string out = "MAP\n" + std::to_string(assignment.size());
  for (const std::int64_t state : assignment) out += ' ' + std::to_string(state);
  return out + '\n';
}

}  // namespace tapestry
