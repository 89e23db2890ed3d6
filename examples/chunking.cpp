// Text chunking (CoNLL-2000) with a linear-chain CRF on sparse indicator features.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/threads.hpp>
#include <tapestry/models/crf/chain_tagger.hpp>
#include <tapestry/models/training/log.hpp>
#include <tapestry/models/training/metrics/spans.hpp>
#include <tapestry/models/training/progress.hpp>

#include "options.hpp"

namespace {

using namespace tapestry;
using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t interrupted = 0;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A corpus in either format, and what scoring needs of it.
struct Corpus {
  std::optional<ColumnCorpus> columns;
  std::optional<ItemCorpus> items;

  Corpus(const std::filesystem::path& path, bool as_items) {
    if (as_items)
      items = read_items(path);
    else
      columns = read_columns(path);
  }
  const std::vector<std::int64_t>& offsets() const { return columns ? columns->offsets() : items->offsets(); }
  std::string_view label(std::int64_t i) const {
    return columns ? columns->cell(i, columns->columns() - 1) : items->label(i);
  }
};

std::filesystem::path data_file(const std::string& data, const std::string& given, const char* name) {
  if (!given.empty()) return given;
  const auto path = std::filesystem::path(data) / "conll2000" / name;
  if (data.empty() || !std::filesystem::exists(path))
    fail<IoError>("chunking", path.string(),
                  " is not there. Put train.txt.gz and test.txt.gz of the CoNLL-2000 shared task "
                  "(https://www.clips.uantwerpen.be/conll2000/chunking/) into DIR/conll2000 and give --data DIR or set "
                  "TAPESTRY_DATA.");
  return path;
}

int run(int argc, char** argv) {
  std::string data = default_data_folder(), train_file, test_file, format = "columns", model_file, log_file, output;
  ChainTraining training;
  std::uint64_t seed = 1;
  int thread_count = 0;
  double minutes = 0;
  Options options("Trains a linear-chain CRF for text chunking by L-BFGS and tags the test sentences.");
  options.text("--data", data, "folder with conll2000/train.txt.gz and test.txt.gz; default $TAPESTRY_DATA")
      .text("--train", train_file, "another file to train on")
      .text("--test", test_file, "another file to tag")
      .text("--format", format, "of the files: columns (word, tag, label) or items (CRFsuite's)")
      .text("--model", model_file, "read the model from this file if it is there, else train and write it")
      .text("--output", output, "write the test labels here, a line a token")
      .text("--log", log_file, "write the objective of each iteration here: .csv, or JSON lines")
      .number("--c2", training.c2, "weight of the squared L2 norm")
      .number("--c1", training.c1, "weight of the L1 norm")
      .number("--iterations", training.lbfgs.max_iterations, "at most so many; 0: until it has converged")
      .number("--minutes", minutes, "stop training after so long; 0: no limit")
      .number("--threads", thread_count, "0: TAPESTRY_THREADS, or all cores")
      .number("--seed", seed, "of all random numbers (this training uses none)");
  if (!options.parse(argc, argv)) return 0;
  if (format != "columns" && format != "items") throw Options::UsageError("option --format: columns or items");
  if (training.c1 < 0 || training.c2 < 0 || training.lbfgs.max_iterations < 0 || minutes < 0 || thread_count < 0)
    throw Options::UsageError("numbers must not be negative");
  if (thread_count > 0) set_threads(thread_count);
  const bool as_items = format == "items";
  const auto test_path = data_file(data, test_file, "test.txt.gz");

  ChainTagger tagger(FeatureEncoder(as_items ? std::vector<FeatureTemplate>() : chunking_templates()));
  Metrics result;
  LbfgsResult trained;
  double training_seconds = 0;
  if (!model_file.empty() && std::filesystem::exists(model_file)) {
    tagger = ChainTagger::load(model_file);
    std::cout << "model " << model_file << ": " << tagger.features().size() << " features\n";
  } else {
    const auto start = Clock::now();
    const Corpus corpus(data_file(data, train_file, "train.txt.gz"), as_items);
    std::cout << "training data: " << corpus.offsets().size() - 1 << " sentences, " << corpus.offsets().back()
              << " tokens\n";
    std::optional<CsvLog> csv;
    std::optional<JsonLog> json;
    if (log_file.ends_with(".csv"))
      csv.emplace(log_file);
    else if (!log_file.empty())
      json.emplace(log_file);
    std::signal(SIGINT, [](int) { interrupted = 1; });
    Clock::time_point training_start = start;
    {
      ProgressLine progress("iteration", {.total = training.lbfgs.max_iterations});
      const LbfgsObserver observer = [&](const LbfgsProgress& p) {
        if (p.iteration == 1) training_start = Clock::now();
        const Metrics metrics{{"loss", p.value}, {"|gradient|", p.gradient_norm}, {"|weights|", p.x_norm}};
        progress.update(p.iteration, metrics);
        if (csv) csv->write(p.iteration, metrics);
        if (json) json->write(p.iteration, metrics);
        return !interrupted && (minutes == 0 || seconds_since(start) < 60 * minutes);
      };
      trained = corpus.columns ? tagger.train(*corpus.columns, training, observer)
                               : tagger.train(*corpus.items, training, observer);
    }
    std::signal(SIGINT, SIG_DFL);
    // The first iteration is left out: what is before it is reading and building.
    training_seconds = trained.iterations > 1 ? seconds_since(training_start) / (trained.iterations - 1) : 0;
    std::cout << tagger.features().size() << " features; " << to_string(trained.stop) << " after " << trained.iterations
              << " iterations, loss " << trained.value << ", " << seconds_since(start) << " s\n";
    if (!model_file.empty()) tagger.save(model_file);
  }

  const auto tag_start = Clock::now();
  const Corpus test(test_path, as_items);
  const SparseSequences encoded =
      test.columns ? tagger.encoder().encode(*test.columns) : tagger.encoder().encode(*test.items);
  const std::vector<std::int32_t> labels = tagger.tag(encoded);
  const double tag_seconds = seconds_since(tag_start);
  if (encoded.unknown_labels > 0)
    std::cout << encoded.unknown_labels << " test tokens have a label that is not in the training data\n";

  SpanScorer scorer;
  std::vector<std::string_view> truth, guess;
  for (std::size_t s = 0; s + 1 < test.offsets().size(); ++s) {
    truth.clear();
    guess.clear();
    for (std::int64_t i = test.offsets()[s]; i < test.offsets()[s + 1]; ++i) {
      truth.push_back(test.label(i));
      guess.push_back(tagger.label(labels[static_cast<std::size_t>(i)]));
    }
    scorer.add(truth, guess);
  }
  std::cout << scorer;
  if (!output.empty()) {
    std::ofstream out(output);
    for (std::size_t s = 0; s + 1 < test.offsets().size(); ++s) {
      for (std::int64_t i = test.offsets()[s]; i < test.offsets()[s + 1]; ++i)
        out << tagger.label(labels[static_cast<std::size_t>(i)]) << '\n';
      out << '\n';
    }
    out.close();
    if (!out) fail<IoError>("chunking", output, ": cannot be written");
  }
  result = {{"f1", 100 * scorer.total().f1()},
            {"item_accuracy", scorer.accuracy()},
            {"features", static_cast<double>(tagger.features().size())},
            {"tag_seconds", tag_seconds}};
  if (trained.iterations > 0) {
    result.push_back({"loss", trained.value});
    result.push_back({"iterations", static_cast<double>(trained.iterations)});
    result.push_back({"seconds_per_iteration", training_seconds});
  }
  std::cout << "result: " << to_json(result) << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run);
}
