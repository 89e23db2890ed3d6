#include <tapestry/prob/io/bif.hpp>

#include <algorithm>
#include <unordered_map>

#include <tapestry/prob/io/text_reader.hpp>

namespace tapestry {
namespace {

using detail::excerpt;

// A table that `default` fills is not bounded by the file's size.
constexpr double most_default_entries = 1 << 24;

struct Token {
  std::string_view text;
  char mark = 0;  // the delimiter, 'w' for a word, '"' for a quoted one, 0 at the end
  std::int64_t line = 1;
};

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}
bool is_delimiter(char c) {
  return std::string_view("{}()[],;|").find(c) != std::string_view::npos;
}

class BifReader {
 public:
  BifReader(std::string_view text, std::string_view file) : text_(text), file_(file) { advance(); }

  DiscreteModel read() {
    model_.kind = ModelKind::bayes;
    if (token_.mark == 0) error(line_, "the file ends where network, variable or probability should be");
    while (token_.mark != 0) {
      const auto keyword = word("network, variable or probability");
      if (keyword == "network")
        read_network();
      else if (keyword == "variable")
        read_variable();
      else if (keyword == "probability")
        read_probability();
      else
        error(line_, "expected network, variable or probability, not '", excerpt(keyword), "'");
    }
    for (std::size_t v = 0; v < lines_.size(); ++v)
      if (lines_[v] == 0) error(line_, "variable ", model_.names[v], " has no probability table");
    if (const auto fault = detail::network_fault(model_, RowSums::one)) {
      if (fault->factor < 0) error(line_, fault->message);
      const auto child = static_cast<std::size_t>(model_.scopes[static_cast<std::size_t>(fault->factor)].back());
      error(lines_[child], model_.names[child], ": ", fault->message);
    }
    return std::move(model_);
  }

 private:
  struct Row {
    std::int64_t index;
    std::vector<double> values;
  };

  template <class... Parts>
  [[noreturn]] void error(std::int64_t line, const Parts&... parts) const {
    fail<IoError>("read_bif", file_, ":", line, ": ", parts...);
  }

  void skip_to(std::string_view end, std::size_t start) {
    const std::size_t found = text_.find(end, start);
    const std::size_t stop = found == std::string_view::npos ? text_.size() : found + end.size();
    if (found == std::string_view::npos && end != "\n") error(next_line_, "the file ends inside a comment");
    for (; position_ < stop; ++position_) next_line_ += text_[position_] == '\n';
  }

  void advance() {
    line_ = token_.line;
    while (position_ < text_.size()) {
      if (is_space(text_[position_])) {
        next_line_ += text_[position_++] == '\n';
      } else if (text_.substr(position_, 2) == "//") {
        skip_to("\n", position_);
      } else if (text_.substr(position_, 2) == "/*") {
        skip_to("*/", position_ + 2);
      } else {
        break;
      }
    }
    token_ = {{}, 0, next_line_};
    if (position_ == text_.size()) return;
    const std::size_t start = position_;
    const char c = text_[position_];
    if (is_delimiter(c)) {
      ++position_;
      token_ = {text_.substr(start, 1), c, next_line_};
    } else if (c == '"') {
      const std::size_t end = text_.find('"', start + 1);
      if (end == std::string_view::npos) error(next_line_, "the file ends inside a quoted name");
      token_ = {text_.substr(start + 1, end - start - 1), '"', next_line_};
      for (; position_ <= end; ++position_) next_line_ += text_[position_] == '\n';
    } else {
      while (position_ < text_.size() && !is_space(text_[position_]) && !is_delimiter(text_[position_]) &&
             text_[position_] != '"')
        ++position_;
      token_ = {text_.substr(start, position_ - start), 'w', next_line_};
    }
  }

  bool at(char mark) const { return token_.mark == mark; }
  bool at_word() const { return at('w') || at('"'); }
  bool accept(char mark) {
    if (!at(mark)) return false;
    advance();
    return true;
  }
  void expect(char mark) {
    if (accept(mark)) return;
    if (at(0)) error(token_.line, "the file ends where '", mark, "' should be");
    error(token_.line, "expected '", mark, "', not '", excerpt(token_.text), "'");
  }
  std::string_view word(std::string_view what) {
    if (!at_word()) {
      if (at(0)) error(token_.line, "the file ends where ", what, " should be");
      error(token_.line, "expected ", what, ", not '", excerpt(token_.text), "'");
    }
    const auto text = token_.text;
    advance();
    return text;
  }

  void skip_property() {
    while (!at(';')) {
      if (at(0)) error(token_.line, "the file ends inside a property");
      advance();
    }
    advance();
  }

  void read_network() {
    if (at_word()) advance();
    expect('{');
    while (!accept('}')) {
      if (word("property or '}'") != "property") error(line_, "expected property or '}'");
      skip_property();
    }
  }

  void read_variable() {
    const std::string name(word("a variable's name"));
    if (!position_of_.emplace(name, model_.variables()).second) error(line_, "a second variable named ", name);
    std::vector<std::string> states;
    expect('{');
    while (!accept('}')) {
      const auto keyword = word("type, property or '}'");
      if (keyword == "property") {
        skip_property();
        continue;
      }
      if (keyword != "type") error(line_, "expected type, property or '}', not '", excerpt(keyword), "'");
      if (!states.empty()) error(line_, "a second type of variable ", name);
      if (word("discrete") != "discrete") error(line_, "variable ", name, " is not discrete");
      expect('[');
      std::int64_t promised = 0;
      const auto number = word("the number of states");
      if (!detail::parse_integer(number, promised) || promised < 1)
        error(line_, "the number of states should be a positive integer, not '", excerpt(number), "'");
      expect(']');
      expect('{');
      while (!accept('}')) {
        states.emplace_back(word("a state's name"));
        if (static_cast<std::int64_t>(states.size()) > promised)
          error(line_, "variable ", name, " has more than the ", promised, " states promised");
        accept(',');
      }
      if (static_cast<std::int64_t>(states.size()) != promised)
        error(line_, "variable ", name, " has ", states.size(), " states, not the ", promised, " promised");
      std::unordered_map<std::string, std::int64_t> seen;
      for (const auto& state : states)
        if (!seen.emplace(state, 0).second) error(line_, "variable ", name, " has two states named ", state);
      accept(';');
    }
    if (states.empty()) error(line_, "variable ", name, " has no states");
    std::unordered_map<std::string, std::int64_t> index;
    for (std::size_t k = 0; k < states.size(); ++k) index.emplace(states[k], static_cast<std::int64_t>(k));
    state_of_.push_back(std::move(index));
    model_.cardinalities.push_back(static_cast<std::int64_t>(states.size()));
    model_.names.push_back(name);
    model_.states.push_back(std::move(states));
    lines_.push_back(0);
  }

  std::int64_t known_variable() {
    const std::string name(word("a variable's name"));
    const auto found = position_of_.find(name);
    if (found == position_of_.end()) error(line_, "no variable is named ", excerpt(name));
    return found->second;
  }

  std::vector<double> read_numbers() {
    std::vector<double> values;
    while (!accept(';')) {
      const auto text = word("a probability or ';'");
      double value = 0;
      if (!detail::parse_number(text, value)) error(line_, "expected a probability, not '", excerpt(text), "'");
      if (value < 0) error(line_, "a negative probability: ", value);
      values.push_back(value);
      accept(',');
    }
    return values;
  }

  std::int64_t read_row_index(const std::vector<std::int64_t>& scope) {
    std::int64_t index = 0;
    for (std::size_t i = 0; i + 1 < scope.size(); ++i) {
      const std::string state(word("a parent's state"));
      const auto& states = state_of_[static_cast<std::size_t>(scope[i])];
      const auto found = states.find(state);
      if (found == states.end())
        error(line_, "variable ", model_.names[static_cast<std::size_t>(scope[i])], " has no state named ",
              excerpt(state));
      index = index * model_.cardinalities[static_cast<std::size_t>(scope[i])] + found->second;
      accept(',');
    }
    expect(')');
    return index;
  }

  void read_probability() {
    const std::int64_t first_line = line_;
    expect('(');
    std::vector<std::int64_t> scope;
    const std::int64_t child = known_variable();
    double entries = static_cast<double>(model_.cardinalities[static_cast<std::size_t>(child)]);
    while (!accept(')')) {
      if (accept('|') || accept(',')) continue;
      scope.push_back(known_variable());
      if (scope.back() == child || std::find(scope.begin(), scope.end() - 1, scope.back()) != scope.end() - 1)
        error(line_, "the table of ", model_.names[static_cast<std::size_t>(child)], " names a variable twice");
      entries *= static_cast<double>(model_.cardinalities[static_cast<std::size_t>(scope.back())]);
      // Row indices are 64-bit integers; no table this large could be held anyway.
      if (entries > 1e18) error(line_, "the table needs ", entries, " entries");
    }
    scope.push_back(child);
    auto& defined = lines_[static_cast<std::size_t>(child)];
    const auto& name = model_.names[static_cast<std::size_t>(child)];
    if (defined != 0) error(first_line, "a second table of ", name, "; the first is in line ", defined);
    defined = first_line;

    std::vector<Row> rows;
    std::vector<double> whole, defaults;
    expect('{');
    while (!accept('}')) {
      if (accept('(')) {
        const std::int64_t index = read_row_index(scope);
        rows.push_back({index, read_numbers()});
        check_row(rows.back().values, child, line_);
        continue;
      }
      const auto keyword = word("table, default, property, '(' or '}'");
      if (keyword == "property") {
        skip_property();
      } else if (keyword == "default") {
        defaults = read_numbers();
        check_row(defaults, child, line_);
      } else if (keyword == "table") {
        if (!whole.empty()) error(line_, "a second table of ", name);
        whole = read_numbers();
        if (static_cast<double>(whole.size()) != entries)
          error(line_, "the table of ", name, " has ", whole.size(), " entries, not ", entries);
      } else {
        error(line_, "expected table, default, property, '(' or '}', not '", excerpt(keyword), "'");
      }
    }
    model_.tables.push_back(assemble(child, entries, rows, whole, defaults));
    model_.scopes.push_back(std::move(scope));
  }

  void check_row(const std::vector<double>& values, std::int64_t child, std::int64_t line) const {
    const std::int64_t states = model_.cardinalities[static_cast<std::size_t>(child)];
    if (static_cast<std::int64_t>(values.size()) != states)
      error(line, "a row of ", values.size(), " probabilities, ", model_.names[static_cast<std::size_t>(child)],
            " has ", states, " states");
  }

  std::vector<double> assemble(std::int64_t child, double entries, const std::vector<Row>& rows,
                               const std::vector<double>& whole, const std::vector<double>& defaults) const {
    const auto& name = model_.names[static_cast<std::size_t>(child)];
    const std::int64_t states = model_.cardinalities[static_cast<std::size_t>(child)];
    const double needed = entries / static_cast<double>(states);
    if (whole.empty() && defaults.empty() && static_cast<double>(rows.size()) != needed)
      error(line_, "the table of ", name, " has ", rows.size(), " rows, not ", needed);
    if (!defaults.empty() && entries > most_default_entries)
      error(line_, "the table of ", name, " would have ", entries, " entries, most of them by default");
    const auto size = static_cast<std::int64_t>(entries), count = size / states;
    std::vector<double> table(static_cast<std::size_t>(size));
    for (std::int64_t row = 0; row < count; ++row)
      for (std::int64_t k = 0; k < states; ++k)
        table[static_cast<std::size_t>(row * states + k)] = !whole.empty()
                                                                ? whole[static_cast<std::size_t>(k * count + row)]
                                                            : !defaults.empty() ? defaults[static_cast<std::size_t>(k)]
                                                                                : 0;
    std::vector<bool> given(rows.empty() ? 0 : static_cast<std::size_t>(count));
    for (const auto& row : rows) {
      if (given[static_cast<std::size_t>(row.index)]) error(line_, "the table of ", name, " gives a row twice");
      given[static_cast<std::size_t>(row.index)] = true;
      std::copy(row.values.begin(), row.values.end(), table.begin() + row.index * states);
    }
    return table;
  }

  std::string_view text_, file_;
  std::size_t position_ = 0;
  std::int64_t next_line_ = 1, line_ = 1;  // line_ is that of the token before token_
  Token token_;
  DiscreteModel model_;
  std::unordered_map<std::string, std::int64_t> position_of_;
  std::vector<std::unordered_map<std::string, std::int64_t>> state_of_;
  std::vector<std::int64_t> lines_;  // of each variable's table
};

std::string quoted(const std::string& name) {
  const bool plain =
      !name.empty() && name.substr(0, 2) != "//" && name.substr(0, 2) != "/*" &&
      std::none_of(name.begin(), name.end(), [](char c) { return is_space(c) || is_delimiter(c) || c == '"'; });
  if (plain) return name;
  if (name.find('"') != std::string::npos) fail<IoError>("write_bif", "a name holds a quotation mark: ", name);
  return '"' + name + '"';
}

}  // namespace

DiscreteModel parse_bif(std::string_view text, std::string_view file) {
  return BifReader(text, file).read();
}

DiscreteModel read_bif(const std::string& path) {
  return parse_bif(detail::read_text("read_bif", path), path);
}

std::string format_bif(const DiscreteModel& model) {
  if (model.kind != ModelKind::bayes) fail<NumericalError>("write_bif", "the model is no Bayesian network");
  validate(model);
  const auto variable = [&](std::int64_t v) {
    return model.names.empty() ? "x" + std::to_string(v) : quoted(model.names[static_cast<std::size_t>(v)]);
  };
  const auto state = [&](std::int64_t v, std::int64_t k) {
    return model.states.empty() ? "s" + std::to_string(k)
                                : quoted(model.states[static_cast<std::size_t>(v)][static_cast<std::size_t>(k)]);
  };
  std::string out = "network unknown {\n}\n";
  for (std::int64_t v = 0; v < model.variables(); ++v) {
    const std::int64_t states = model.cardinalities[static_cast<std::size_t>(v)];
    out += "variable " + variable(v) + " {\n  type discrete [ " + std::to_string(states) + " ] { ";
    for (std::int64_t k = 0; k < states; ++k) out += (k ? ", " : "") + state(v, k);
    out += " };\n}\n";
  }
  for (std::size_t f = 0; f < model.scopes.size(); ++f) {
    const auto& scope = model.scopes[f];
    const std::int64_t states = model.cardinalities[static_cast<std::size_t>(scope.back())];
    out += "probability ( " + variable(scope.back());
    for (std::size_t i = 0; i + 1 < scope.size(); ++i) out += (i ? ", " : " | ") + variable(scope[i]);
    out += " ) {\n";
    const auto rows = static_cast<std::int64_t>(model.tables[f].size()) / states;
    for (std::int64_t row = 0; row < rows; ++row) {
      std::string label = scope.size() == 1 ? "  table" : "";
      std::int64_t rest = row;
      for (std::size_t i = scope.size() - 1; i-- > 0;) {
        const std::int64_t k = model.cardinalities[static_cast<std::size_t>(scope[i])];
        label = state(scope[i], rest % k) + (label.empty() ? "" : ", " + label);
        rest /= k;
      }
      out += scope.size() == 1 ? label : "  (" + label + ")";
      for (std::int64_t k = 0; k < states; ++k) {
        out += k ? ", " : " ";
        detail::append_number(out, model.tables[f][static_cast<std::size_t>(row * states + k)]);
      }
      out += ";\n";
    }
    out += "}\n";
  }
  return out;
}

void write_bif(const std::string& path, const DiscreteModel& model) {
  detail::write_text("write_bif", path, format_bif(model));
}

}  // namespace tapestry
