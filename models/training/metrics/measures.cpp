#include <tapestry/models/training/metrics/measures.hpp>

#include <cmath>
#include <limits>

#include <tapestry/autodiff/error.hpp>

namespace tapestry {

double accuracy(std::span<const std::int64_t> truth, std::span<const std::int64_t> prediction) {
  if (truth.size() != prediction.size())
    fail<ShapeError>("accuracy", truth.size(), " true classes and ", prediction.size(), " predictions");
  if (truth.empty()) return 0;
  std::int64_t hits = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) hits += truth[i] == prediction[i];
  return static_cast<double>(hits) / static_cast<double>(truth.size());
}

template <class T>
double top_k_accuracy(std::span<const std::int64_t> truth, const Tensor<T>& scores, std::int64_t k) {
  const Shape shape = shape_of(scores);
  if (shape.rank() != 2 || shape[0] != static_cast<std::int64_t>(truth.size()))
    fail<ShapeError>("top_k_accuracy", "scores ", shape, " for ", truth.size(), " true classes");
  if (truth.empty()) return 0;
  std::int64_t hits = 0;
  const T* row = scores.data();
  for (const std::int64_t c : truth) {
    if (c < 0 || c >= shape[1]) fail<IndexError>("top_k_accuracy", "class ", c, " of ", shape[1]);
    std::int64_t not_below = 0;
    for (std::int64_t other = 0; other < shape[1]; ++other) not_below += !(row[other] < row[c]);
    hits += not_below <= k;
    row += shape[1];
  }
  return static_cast<double>(hits) / static_cast<double>(truth.size());
}

template <class T>
double psnr(const Tensor<T>& truth, const Tensor<T>& estimate, double peak) {
  if (shape_of(truth) != shape_of(estimate) || truth.size() == 0)
    fail<ShapeError>("psnr", shape_of(truth), " and ", shape_of(estimate));
  double sum = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const double difference = static_cast<double>(truth.data()[i]) - static_cast<double>(estimate.data()[i]);
    sum += difference * difference;
  }
  if (sum == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(peak * peak * static_cast<double>(truth.size()) / sum);
}

template <class T>
double mask_iou(const Tensor<T>& truth, const Tensor<T>& estimate) {
  if (shape_of(truth) != shape_of(estimate)) fail<ShapeError>("mask_iou", shape_of(truth), " and ", shape_of(estimate));
  std::int64_t both = 0, any = 0;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    const bool t = truth.data()[i] != 0, e = estimate.data()[i] != 0;
    both += t && e;
    any += t || e;
  }
  return any == 0 ? 1. : static_cast<double>(both) / static_cast<double>(any);
}

double perplexity(double negative_log_likelihood, std::int64_t count) {
  if (count <= 0) fail("perplexity", count, " symbols");
  return std::exp(negative_log_likelihood / static_cast<double>(count));
}

template double top_k_accuracy(std::span<const std::int64_t>, const Tensor<float>&, std::int64_t);
template double top_k_accuracy(std::span<const std::int64_t>, const Tensor<double>&, std::int64_t);
template double psnr(const Tensor<float>&, const Tensor<float>&, double);
template double psnr(const Tensor<double>&, const Tensor<double>&, double);
template double mask_iou(const Tensor<std::uint8_t>&, const Tensor<std::uint8_t>&);
template double mask_iou(const Tensor<float>&, const Tensor<float>&);
template double mask_iou(const Tensor<double>&, const Tensor<double>&);

}  // namespace tapestry
