// Text chunking (CoNLL-2000) with a linear-chain CRF: on sparse indicator features, or on a bidirectional LSTM.
#include "chunking_models.hpp"

namespace {

using namespace chunking;

void write_labels(const std::string& path, const Corpus& test, const Tagged& tagged) {
  std::ofstream out(path);
  for (std::size_t s = 0; s + 1 < test.offsets().size(); ++s) {
    for (std::int64_t i = test.offsets()[s]; i < test.offsets()[s + 1]; ++i)
      out << tagged.labels[static_cast<std::size_t>(i)] << '\n';
    out << '\n';
  }
  out.close();
  if (!out) fail<IoError>("--output", path, ": cannot be written");
}

void write_report(const Model& model, const Training& training, const SpanScorer& scorer, const Corpus& test,
                  const Tagged& tagged, const Settings& settings, const ExampleProgram& program) {
  Report report("Text chunking");
  report.paragraph(std::string(settings.model == "crf" ? "Linear-chain CRF on indicator features"
                                                       : "Linear-chain CRF on a bidirectional LSTM") +
                   ", " + std::to_string(model.features()) + " weights; " + fixed(100 * scorer.accuracy(), 2) +
                   " % of the test tokens have the right tag.");
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](const std::string& name, const SpanScorer::Counts& c) {
    rows.push_back({name, std::to_string(c.truths), fixed(100 * c.precision(), 2) + " %",
                    fixed(100 * c.recall(), 2) + " %", fixed(100 * c.f1(), 2)});
  };
  for (const auto& [type, counts] : scorer.by_type()) row(type, counts);
  row("all", scorer.total());
  report.heading("Chunks").table({"type", "in the test data", "precision", "recall", "F1"}, rows);
  const auto curve = [&](const std::string& name, const std::vector<double>& values) {
    std::vector<double> steps(values.size());
    std::iota(steps.begin(), steps.end(), 1.0);
    return Curve{name, std::move(steps), values};
  };
  if (!training.losses.empty()) {
    const std::string step = settings.model == "crf" && settings.method == "lbfgs" ? "iteration" : "epoch";
    report.heading("Training").plot({step, "loss", {curve("loss", training.losses)}, false, true}, "What is minimised");
    if (!training.scores.empty()) report.plot({step, "F1", {curve("F1", training.scores)}}, "F1 of the test chunks");
  }
  const auto [table, names] = model.transitions();
  double limit = 1e-6;
  for (const double v : table) limit = std::max(limit, std::abs(v));
  const Picture picture = signed_map(table, limit);
  write_png(program.report_file("transitions.png"), enlarge(picture, 16));
  std::string caption =
      "Weights of transitions, from each label (rows, in this order) to the next: red for, blue against:";
  for (const std::string& name : names) caption += ' ' + name;
  report.heading("What was learned").picture(picture, caption, 16);
  if (test.columns) {
    report.heading("Sentences with mistakes");
    int shown = 0;
    for (std::size_t s = 0; s + 1 < test.offsets().size() && shown < 3; ++s) {
      bool wrong = false;
      std::vector<std::vector<std::string>> words;
      for (std::int64_t i = test.offsets()[s]; i < test.offsets()[s + 1]; ++i) {
        const std::string truth(test.label(i)), guess(tagged.labels[static_cast<std::size_t>(i)]);
        wrong = wrong || truth != guess;
        words.push_back({std::string(test.columns->cell(i, 0)), truth, truth == guess ? "" : guess});
      }
      if (!wrong || words.size() > 25) continue;
      report.table({"word", "truth", "read as"}, words);
      ++shown;
    }
  }
  report.write(program.report_file("index.html"));
}

int run(int argc, char** argv) {
  ExampleProgram program;
  Settings settings;
  Options options("Trains a chunker of text and tags the test sentences.");
  options.text("--data", settings.data, "folder with conll2000/train.txt.gz and test.txt.gz; default $TAPESTRY_DATA")
      .text("--train", settings.train, "another file to train on")
      .text("--test", settings.test, "another file to tag")
      .text("--format", settings.format, "of the files: columns (word, tag, label) or items (CRFsuite's; crf only)")
      .text("--model", settings.model,
            "crf: indicator features, L-BFGS; bilstm: on a bidirectional LSTM, Adam; "
            "crf:FILE or bilstm:FILE: read from FILE if it is there, else train and write it; FILE is crf:FILE")
      .text("--output", settings.output, "write the test labels here, a line a token")
      .text("--log", settings.log, "write the objective of each iteration here: .csv, or JSON lines")
      .text("--loss", settings.loss,
            "crf: likelihood, pseudo_likelihood, piecewise, univariate_log, univariate_quadratic, clique_log, "
            "clique_quadratic; with --method adam or sgd also max_margin or perceptron")
      .text("--method", settings.method, "crf: lbfgs over all the data, or steps by batches: adam or sgd")
      .number("--c2", settings.training.c2, "crf: weight of the squared L2 norm")
      .number("--c1", settings.training.c1, "crf, lbfgs: weight of the L1 norm")
      .number("--iterations", settings.training.lbfgs.max_iterations, "crf, lbfgs: at most so many; 0: until converged")
      .number("--every", settings.every,
              "crf, lbfgs: iterations from a checkpoint, where L-BFGS begins anew, to the next")
      .number("--epochs", settings.epochs, "bilstm, adam, sgd: passes over the training sentences; 0: 30 or crf 15")
      .number("--batch", settings.batch, "bilstm, adam, sgd: sentences in a batch")
      .number("--rate", settings.rate, "falls to zero from here; 0: bilstm 0.002, adam 0.02, sgd 0.1")
      .number("--hidden", settings.lstm.hidden, "bilstm: states in each direction")
      .number("--dropout", settings.lstm.dropout, "bilstm: before and behind the LSTM");
  program.add_options(options).add_checkpoint(options);
  if (!options.parse(argc, argv)) return 0;
  if (settings.format != "columns" && settings.format != "items")
    throw Options::UsageError("option --format: columns or items");
  const std::size_t colon = settings.model.find(':');
  std::string kind = settings.model.substr(0, colon);
  if (kind == "crf" || kind == "bilstm") {
    if (colon != std::string::npos) settings.file = settings.model.substr(colon + 1);
  } else {
    settings.file = settings.model;
    kind = "crf";
  }
  settings.model = kind;
  settings.training.loss.kind = loss_kind(settings.loss);
  if (settings.method != "lbfgs" && settings.method != "adam" && settings.method != "sgd")
    throw Options::UsageError("option --method: lbfgs, adam or sgd");
  const bool smooth = settings.loss != "max_margin" && settings.loss != "perceptron";
  if (settings.method == "lbfgs" && !smooth)
    throw Options::UsageError("--loss " + settings.loss + " has corners: it needs --method adam or sgd");
  if (settings.method != "lbfgs" && settings.training.c1 > 0) throw Options::UsageError("--c1 needs --method lbfgs");
  if (kind == "bilstm" && settings.as_items()) throw Options::UsageError("--model bilstm reads --format columns");
  if (settings.training.c1 < 0 || settings.training.c2 < 0 || settings.training.lbfgs.max_iterations < 0)
    throw Options::UsageError("numbers must not be negative");
  settings.complete();
  if (settings.every < 1 || settings.epochs < 1 || settings.batch < 1 || settings.lstm.hidden < 1 ||
      !(settings.lstm.dropout >= 0 && settings.lstm.dropout < 1) || !(settings.rate > 0))
    throw Options::UsageError("numbers of epochs, sentences and states must be positive, dropout below 1");
  program.start();

  const auto test_path = settings.path(settings.test, "test.txt.gz");
  std::unique_ptr<Model> model;
  if (kind == "bilstm")
    model = std::make_unique<LstmModel>();
  else
    model = std::make_unique<IndicatorModel>(settings.as_items());
  Training training;
  if (!settings.file.empty() && std::filesystem::exists(settings.file)) {
    model->load(settings.file);
    std::cout << "model " << settings.file << ": " << model->features() << " weights\n";
  } else {
    training = model->train(settings, program, Corpus(test_path, settings.as_items()));
    if (!settings.file.empty() && !program.interrupted()) model->save(settings.file);
  }

  const auto tag_start = Clock::now();
  const Corpus test(test_path, settings.as_items());
  const Tagged tagged = model->tag(test);
  const double tag_seconds = seconds_since(tag_start);
  if (tagged.unknown > 0) std::cout << tagged.unknown << " test tokens have a label that is not in the training data\n";
  const SpanScorer scorer = score(test, tagged);
  std::cout << scorer;
  if (!settings.output.empty()) write_labels(settings.output, test, tagged);
  if (!program.report.empty()) write_report(*model, training, scorer, test, tagged, settings, program);
  program.finish({{"f1", 100 * scorer.total().f1()},
                  {"item_accuracy", scorer.accuracy()},
                  {"loss", training.loss},
                  {"features", static_cast<double>(model->features())},
                  {"iterations", training.iterations},
                  {"seconds_per_iteration", training.seconds_per_iteration},
                  {"tag_seconds", tag_seconds}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program(argc, argv, run);
}
