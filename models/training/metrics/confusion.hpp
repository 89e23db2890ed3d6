#pragma once

#include <cstdint>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

namespace tapestry {

/// Counts of (true class, predicted class), and what follows from them. A ratio without cases is 0; averages over
/// classes ("macro") are over those that occur as truth or as prediction.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(std::int64_t classes);

  /// @throws IndexError for a class that does not exist.
  void add(std::int64_t truth, std::int64_t prediction, std::int64_t count = 1);
  /// @throws ShapeError if the lengths differ, IndexError; then nothing is added.
  void add(std::span<const std::int64_t> truth, std::span<const std::int64_t> prediction);
  /// Adds the counts of another matrix. @throws ShapeError
  void add(const ConfusionMatrix& other);

  std::int64_t classes() const noexcept { return classes_; }
  std::int64_t total() const noexcept { return total_; }
  std::int64_t count(std::int64_t truth, std::int64_t prediction) const;
  std::int64_t truths(std::int64_t of_class) const;
  std::int64_t predictions(std::int64_t of_class) const;

  double accuracy() const;
  double precision(std::int64_t of_class) const;
  double recall(std::int64_t of_class) const;
  double f1(std::int64_t of_class) const;
  /// Intersection over union of the cases of a class.
  double iou(std::int64_t of_class) const;

  double macro_precision() const;
  double macro_recall() const;
  double macro_f1() const;
  double mean_iou() const;
  /// F1 of the summed counts of the given classes (all but a "none" class, say); over all it is the accuracy.
  double micro_f1(std::span<const std::int64_t> of_classes) const;

 private:
  template <class F>
  double mean(F&& f) const;
  void check(std::int64_t of_class) const;

  std::int64_t classes_;
  std::int64_t total_ = 0;
  std::vector<std::int64_t> counts_;
};

/// A table of the counts, truth by row.
std::ostream& operator<<(std::ostream& out, const ConfusionMatrix& matrix);

}  // namespace tapestry
