#include <tapestry/models/training/metrics/confusion.hpp>

#include <algorithm>
#include <iomanip>
#include <ostream>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {
namespace {

constexpr const char* operation = "ConfusionMatrix";

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0. : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

ConfusionMatrix::ConfusionMatrix(std::int64_t classes) : classes_(classes) {
  if (classes < 0) fail<ShapeError>(operation, classes, " classes");
  counts_.resize(static_cast<std::size_t>(classes * classes), 0);
}

void ConfusionMatrix::check(std::int64_t of_class) const {
  if (of_class < 0 || of_class >= classes_) fail<IndexError>(operation, "class ", of_class, " of ", classes_);
}

void ConfusionMatrix::add(std::int64_t truth, std::int64_t prediction, std::int64_t count) {
  check(truth);
  check(prediction);
  counts_[static_cast<std::size_t>(truth * classes_ + prediction)] += count;
  total_ += count;
}

void ConfusionMatrix::add(std::span<const std::int64_t> truth, std::span<const std::int64_t> prediction) {
  if (truth.size() != prediction.size())
    fail<ShapeError>(operation, truth.size(), " true classes and ", prediction.size(), " predictions");
  for (const std::int64_t c : truth) check(c);
  for (const std::int64_t c : prediction) check(c);
  for (std::size_t i = 0; i < truth.size(); ++i) add(truth[i], prediction[i]);
}

void ConfusionMatrix::add(const ConfusionMatrix& other) {
  if (other.classes_ != classes_) fail<ShapeError>(operation, classes_, " and ", other.classes_, " classes");
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  total_ += other.total_;
}

std::int64_t ConfusionMatrix::count(std::int64_t truth, std::int64_t prediction) const {
  check(truth);
  check(prediction);
  return counts_[static_cast<std::size_t>(truth * classes_ + prediction)];
}

std::int64_t ConfusionMatrix::truths(std::int64_t of_class) const {
  check(of_class);
  std::int64_t sum = 0;
  for (std::int64_t c = 0; c < classes_; ++c) sum += count(of_class, c);
  return sum;
}

std::int64_t ConfusionMatrix::predictions(std::int64_t of_class) const {
  check(of_class);
  std::int64_t sum = 0;
  for (std::int64_t c = 0; c < classes_; ++c) sum += count(c, of_class);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  std::int64_t hits = 0;
  for (std::int64_t c = 0; c < classes_; ++c) hits += count(c, c);
  return ratio(hits, total_);
}

double ConfusionMatrix::precision(std::int64_t of_class) const {
  return ratio(count(of_class, of_class), predictions(of_class));
}
double ConfusionMatrix::recall(std::int64_t of_class) const {
  return ratio(count(of_class, of_class), truths(of_class));
}
double ConfusionMatrix::f1(std::int64_t of_class) const {
  return ratio(2 * count(of_class, of_class), truths(of_class) + predictions(of_class));
}
double ConfusionMatrix::iou(std::int64_t of_class) const {
  const std::int64_t hits = count(of_class, of_class);
  return ratio(hits, truths(of_class) + predictions(of_class) - hits);
}

template <class F>
double ConfusionMatrix::mean(F&& f) const {
  double sum = 0;
  std::int64_t present = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    if (truths(c) + predictions(c) == 0) continue;
    sum += f(c);
    ++present;
  }
  return present == 0 ? 0. : sum / static_cast<double>(present);
}

double ConfusionMatrix::macro_precision() const {
  return mean([this](std::int64_t c) { return precision(c); });
}
double ConfusionMatrix::macro_recall() const {
  return mean([this](std::int64_t c) { return recall(c); });
}
double ConfusionMatrix::macro_f1() const {
  return mean([this](std::int64_t c) { return f1(c); });
}
double ConfusionMatrix::mean_iou() const {
  return mean([this](std::int64_t c) { return iou(c); });
}

double ConfusionMatrix::micro_f1(std::span<const std::int64_t> of_classes) const {
  std::int64_t hits = 0, all = 0;
  for (const std::int64_t c : of_classes) {
    hits += count(c, c);
    all += truths(c) + predictions(c);
  }
  return ratio(2 * hits, all);
}

std::ostream& operator<<(std::ostream& out, const ConfusionMatrix& matrix) {
  std::int64_t largest = matrix.classes();
  for (std::int64_t t = 0; t < matrix.classes(); ++t)
    for (std::int64_t p = 0; p < matrix.classes(); ++p) largest = std::max(largest, matrix.count(t, p));
  const int width = static_cast<int>(std::to_string(largest).size()) + 1;
  out << std::setw(width) << "";
  for (std::int64_t p = 0; p < matrix.classes(); ++p) out << std::setw(width) << p;
  out << '\n';
  for (std::int64_t t = 0; t < matrix.classes(); ++t) {
    out << std::setw(width) << t;
    for (std::int64_t p = 0; p < matrix.classes(); ++p) out << std::setw(width) << matrix.count(t, p);
    out << '\n';
  }
  return out;
}

}  // namespace tapestry
