#pragma once

#include <optional>
#include <string_view>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/autodiff/tensor.hpp>

namespace tapestry::detail {

/// @throws ShapeError unless there is a label for each row of scores, which lie along the last axis
inline void check_label_shape(std::string_view operation, const Indices& labels, const Shape& scores) {
  Shape rows = scores;
  if (rows.rank() > 0) rows.erase(rows.rank() - 1);
  if (scores.rank() == 0 || labels.shape() != rows)
    fail<ShapeError>(operation, "labels of shape ", labels.shape(), " for scores of shape ", scores);
}

/// @throws IndexError for a label that is no place along the last axis of the scores, and not the ignored one
inline void check_labels(std::string_view operation, const Indices& labels, const Shape& scores,
                         std::optional<std::int64_t> ignored = std::nullopt) {
  for (std::int64_t i = 0; i < labels.size(); ++i)
    if (labels[i] != ignored && (labels[i] < 0 || labels[i] >= scores.back()))
      fail<IndexError>(operation, "label ", labels[i], " at position ", i, " for scores of shape ", scores);
}

}  // namespace tapestry::detail
