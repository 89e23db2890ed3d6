#include <tapestry/models/training/readers/columns.hpp>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/models/training/readers/file.hpp>

namespace tapestry {

ColumnCorpus read_columns(const std::filesystem::path& path, int columns) {
  ColumnCorpus corpus;
  corpus.text_ = std::make_shared<const std::string>(read_text(path));
  corpus.columns_ = columns;
  LineScanner lines(*corpus.text_);
  std::int64_t token = 0;
  const auto end_sentence = [&] {
    if (token > corpus.offsets_.back()) corpus.offsets_.push_back(token);
  };
  for (std::string_view line; lines.next(line);) {
    int n = 0;
    const char* p = line.data();
    const char* const end = p + line.size();
    for (;;) {
      while (p != end && (*p == ' ' || *p == '\t')) ++p;
      if (p == end) break;
      const char* const start = p;
      while (p != end && *p != ' ' && *p != '\t') ++p;
      corpus.cells_.emplace_back(start, static_cast<std::size_t>(p - start));
      ++n;
    }
    if (n == 0) {
      end_sentence();
      continue;
    }
    if (corpus.columns_ == 0) corpus.columns_ = n;
    if (n != corpus.columns_)
      fail<IoError>("read_columns", path.string(), ":", lines.number(), ": ", n, " columns where ", corpus.columns_,
                    " are expected");
    ++token;
  }
  end_sentence();
  if (token == 0) fail<IoError>("read_columns", path.string(), ": no token in the file");
  return corpus;
}

}  // namespace tapestry
