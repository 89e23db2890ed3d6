#pragma once

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// The command line of an example: `--name value` pairs and flags, and --help.
class Options {
 public:
  /// What the program was not meant to be told. main() answers with exit code 2.
  struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  explicit Options(std::string summary) : summary_(std::move(summary)) {}

  Options& text(std::string name, std::string& value, std::string help) {
    return add(std::move(name), "TEXT", std::move(help), value, [&value](std::string_view v) {
      value = v;
      return true;
    });
  }
  /// Without a value of its own the option means `bare`; what follows it must then be another option, or nothing.
  Options& optional_text(std::string name, std::string& value, std::string bare, std::string help) {
    text(std::move(name), value, std::move(help));
    options_.back().bare = std::move(bare);
    return *this;
  }
  template <class Number>
  Options& number(std::string name, Number& value, std::string help) {
    std::string shown = std::to_string(value);
    if (shown.find('.') != std::string::npos) shown.erase(shown.find_last_not_of('0') + 1);
    if (shown.ends_with('.')) shown.pop_back();
    return add(std::move(name), "N", std::move(help), shown, [&value](std::string_view v) {
      const auto [end, code] = std::from_chars(v.data(), v.data() + v.size(), value);
      return code == std::errc() && end == v.data() + v.size();
    });
  }

  /// False after --help. @throws UsageError
  bool parse(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      std::string_view name = argv[i];
      if (name == "--help" || name == "-h") {
        help(std::cout, argv[0]);
        return false;
      }
      const std::size_t equals = name.find('=');
      const bool joined = equals != std::string_view::npos;
      const std::string_view given = joined ? name.substr(equals + 1) : std::string_view();
      name = name.substr(0, equals);
      const Option* const option = find(name);
      if (!option) throw UsageError("unknown option " + std::string(name) + " (see --help)");
      const bool alone = !joined && (i + 1 == argc || std::string_view(argv[i + 1]).starts_with("--"));
      if (alone && (!option->bare || option->bare->empty()))
        throw UsageError("option " + std::string(name) + " needs a value");
      const std::string_view value = alone ? std::string_view(*option->bare) : joined ? given : argv[++i];
      if (!option->set(value))
        throw UsageError("option " + std::string(name) + ": '" + std::string(value) + "' is not a number");
    }
    return true;
  }

 private:
  struct Option {
    std::string name, metavar, help, initial;
    std::function<bool(std::string_view)> set;
    std::optional<std::string> bare{};
  };

  Options& add(std::string name, std::string metavar, std::string help, std::string initial,
               std::function<bool(std::string_view)> set) {
    options_.push_back({std::move(name), std::move(metavar), std::move(help), std::move(initial), std::move(set)});
    return *this;
  }
  const Option* find(std::string_view name) const {
    for (const Option& option : options_)
      if (option.name == name) return &option;
    return nullptr;
  }
  void help(std::ostream& out, std::string_view program) const {
    out << summary_ << "\n\nusage: " << program.substr(program.find_last_of('/') + 1) << " [options]\n";
    constexpr std::size_t indent = 22;
    for (const Option& option : options_) {
      std::string head = "  " + option.name + ' ' + option.metavar;
      head.resize(std::max<std::size_t>(head.size() + 1, indent), ' ');
      std::istringstream words(option.initial.empty() ? option.help : option.help + " (" + option.initial + ")");
      std::size_t column = head.size();
      out << head;
      for (std::string word; words >> word; column += word.size() + 1) {
        if (column > indent && column + word.size() > 100) {
          out << '\n' << std::string(indent, ' ');
          column = indent;
        }
        out << word << ' ';
      }
      out << '\n';
    }
  }

  std::string summary_;
  std::vector<Option> options_;
};

/// Runs a program's body: exit code 0, 2 for usage, 1 for any other failure.
template <class Body>
int run_program(int argc, char** argv, Body&& body) {
  try {
    const int code = body(argc, argv);
    std::cout.flush();
    if (!std::cout) throw std::runtime_error("standard output cannot be written");
    return code;
  } catch (const Options::UsageError& e) {
    std::cerr << argv[0] << ": " << e.what() << '\n';
    return 2;
  } catch (const std::exception& e) {
    std::cerr << argv[0] << ": " << e.what() << '\n';
    return 1;
  }
}

/// $TAPESTRY_DATA, or nothing.
inline std::string default_data_folder() {
  const char* const folder = std::getenv("TAPESTRY_DATA");
  return folder ? folder : "";
}
