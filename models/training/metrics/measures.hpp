#pragma once

#include <cstdint>
#include <span>

#include <tapestry/autodiff/tensor.hpp>

namespace tapestry {

/// Share of equal elements; 0 for empty ones. @throws ShapeError if the lengths differ.
double accuracy(std::span<const std::int64_t> truth, std::span<const std::int64_t> prediction);

/// Share of the rows of scores [n, classes] whose true class is among the k highest scores (ties count against it).
/// @throws ShapeError, IndexError for a class that does not exist.
template <class T>
double top_k_accuracy(std::span<const std::int64_t> truth, const Tensor<T>& scores, std::int64_t k = 1);

/// Peak signal-to-noise ratio in decibels, 10 log10(peak^2 / mean squared error); infinite for equal arrays.
/// @throws ShapeError if shapes differ or are empty.
template <class T>
double psnr(const Tensor<T>& truth, const Tensor<T>& estimate, double peak = 1);

/// Intersection over union of two masks (non-zero is inside); 1 when both are empty. @throws ShapeError
template <class T>
double mask_iou(const Tensor<T>& truth, const Tensor<T>& estimate);

/// exp of the mean negative log-likelihood (in nats) of `count` symbols. @throws Error unless count is positive.
double perplexity(double negative_log_likelihood, std::int64_t count);

}  // namespace tapestry
