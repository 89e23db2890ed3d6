#include <tapestry/prob/inference/elimination_order.hpp>

#include <algorithm>
#include <queue>

#include <tapestry/autodiff/error.hpp>
#include <tapestry/prob/inference/split_mix.hpp>

namespace tapestry {
namespace {

// Tables beyond this many entries can never be held: from there on only the cost of searching matters.
constexpr double hopeless = 1e12;
constexpr double most_search_steps = 4e9, most_hopeless_steps = 3e8;
constexpr int most_hopeless_rounds = 20;

using Graph = std::vector<std::vector<std::int32_t>>;

Graph interaction_graph(std::size_t variables, const std::vector<std::vector<std::int64_t>>& scopes) {
  Graph graph(variables);
  for (const auto& scope : scopes)
    for (const std::int64_t a : scope) {
      if (a < 0 || a >= static_cast<std::int64_t>(variables))
        fail<IndexError>("elimination_order", "a scope names variable ", a, " of ", variables);
      for (const std::int64_t b : scope)
        if (a != b) graph[static_cast<std::size_t>(a)].push_back(static_cast<std::int32_t>(b));
    }
  for (auto& neighbours : graph) {
    std::sort(neighbours.begin(), neighbours.end());
    neighbours.erase(std::unique(neighbours.begin(), neighbours.end()), neighbours.end());
  }
  return graph;
}

/// One greedy run. Neighbours are unsorted lists; membership goes by stamping an array.
class Run {
 public:
  Run(Graph graph, const std::vector<std::int64_t>& cardinalities, EliminationHeuristic heuristic, std::uint64_t seed,
      double give_up)
      : graph_(std::move(graph)),
        cardinalities_(cardinalities),
        heuristic_(heuristic),
        seed_(seed),
        give_up_(give_up),
        cost_(graph_.size()),
        gone_(graph_.size(), 0),
        stamp_(graph_.size(), 0),
        changed_(graph_.size(), 0) {}

  EliminationOrder run() {
    for (std::int32_t v = 0; v < size(); ++v) enqueue(v, cost(v));
    while (!queue_.empty()) {
      const Entry top = queue_.top();
      queue_.pop();
      const auto v = static_cast<std::size_t>(top.variable);
      if (gone_[v] || top.cost != cost_[v]) continue;
      eliminate(top.variable);
      if (result_.entries > give_up_ ||
          steps_ > (result_.entries > hopeless ? most_hopeless_steps : most_search_steps)) {
        result_.complete = result_.order.size() == graph_.size();
        return std::move(result_);
      }
      if (fills() && result_.entries > hopeless) {
        heuristic_ = EliminationHeuristic::min_weight;
        for (std::int32_t u = 0; u < size(); ++u)
          if (!gone_[static_cast<std::size_t>(u)]) enqueue(u, cost(u));
      }
    }
    return std::move(result_);
  }

  double steps() const { return steps_; }

 private:
  struct Entry {
    double cost;
    std::uint64_t tie;
    std::int32_t variable;
    bool operator<(const Entry& other) const {
      return cost != other.cost ? cost > other.cost : tie != other.tie ? tie > other.tie : variable > other.variable;
    }
  };

  std::int32_t size() const { return static_cast<std::int32_t>(graph_.size()); }
  double states(std::int32_t v) const { return static_cast<double>(cardinalities_[static_cast<std::size_t>(v)]); }
  bool fills() const {
    return heuristic_ == EliminationHeuristic::min_fill || heuristic_ == EliminationHeuristic::weighted_min_fill;
  }
  double weight(std::int32_t a, std::int32_t b) const {
    return heuristic_ == EliminationHeuristic::weighted_min_fill ? states(a) * states(b) : 1;
  }
  void mark(const std::vector<std::int32_t>& list) {
    ++now_;
    for (const std::int32_t u : list) stamp_[static_cast<std::size_t>(u)] = now_;
  }
  bool marked(std::int32_t v) const { return stamp_[static_cast<std::size_t>(v)] == now_; }
  std::vector<std::int32_t>& neighbours(std::int32_t v) { return graph_[static_cast<std::size_t>(v)]; }

  void enqueue(std::int32_t v, double cost) {
    cost_[static_cast<std::size_t>(v)] = cost;
    queue_.push({cost, detail::split_mix(seed_ ^ static_cast<std::uint64_t>(v)), v});
  }

  double table(std::int32_t v) {
    double entries = states(v);
    for (const std::int32_t u : neighbours(v)) entries *= states(u);
    return entries;
  }

  double cost(std::int32_t v) {
    const auto& list = neighbours(v);
    steps_ += static_cast<double>(list.size());
    if (heuristic_ == EliminationHeuristic::min_degree) return static_cast<double>(list.size());
    if (heuristic_ == EliminationHeuristic::min_weight) return table(v);
    mark(list);
    double missing = 0;  // twice the weight of the edges between neighbours that are not there
    double total = 0, squares = 0;
    for (const std::int32_t u : list) {
      const double w = heuristic_ == EliminationHeuristic::weighted_min_fill ? states(u) : 1;
      total += w;
      squares += w * w;
      steps_ += static_cast<double>(neighbours(u).size());
      for (const std::int32_t x : neighbours(u))
        if (marked(x)) missing -= weight(u, x);
    }
    return (missing + total * total - squares) / 2;
  }

  void eliminate(std::int32_t v) {
    const std::vector<std::int32_t> list = std::move(neighbours(v));
    neighbours(v).clear();
    gone_[static_cast<std::size_t>(v)] = 1;
    double entries = states(v);
    for (const std::int32_t u : list) entries *= states(u);
    result_.entries += entries;
    result_.width = std::max(result_.width, static_cast<std::int64_t>(list.size()));
    result_.order.push_back(v);
    result_.neighbours.emplace_back(list.begin(), list.end());

    std::vector<std::int32_t> touched;
    new_edges_.clear();
    for (std::size_t i = 0; i < list.size(); ++i) {
      auto& own = neighbours(list[i]);
      own.erase(std::find(own.begin(), own.end(), v));
      mark(own);
      steps_ += static_cast<double>(own.size() + list.size());
      for (std::size_t j = i + 1; j < list.size(); ++j)
        if (!marked(list[j])) new_edges_.push_back({list[i], list[j]});
    }
    // Others that neighbour both ends of a new edge have one pair less to connect.
    if (fills()) {
      std::size_t edge = 0;
      while (edge < new_edges_.size()) {
        const std::int32_t a = new_edges_[edge].first;
        mark(neighbours(a));
        for (; edge < new_edges_.size() && new_edges_[edge].first == a; ++edge) {
          const std::int32_t b = new_edges_[edge].second;
          steps_ += static_cast<double>(neighbours(b).size());
          for (const std::int32_t x : neighbours(b))
            if (marked(x)) {
              cost_[static_cast<std::size_t>(x)] -= weight(a, b);
              if (!changed_[static_cast<std::size_t>(x)]) touched.push_back(x);
              changed_[static_cast<std::size_t>(x)] = 1;
            }
        }
      }
    }
    for (const auto& [a, b] : new_edges_) {
      neighbours(a).push_back(b);
      neighbours(b).push_back(a);
    }
    for (const std::int32_t u : list) enqueue(u, cost(u));
    ++now_;
    for (const std::int32_t u : list) stamp_[static_cast<std::size_t>(u)] = now_;
    for (const std::int32_t x : touched) {
      changed_[static_cast<std::size_t>(x)] = 0;
      if (!marked(x)) enqueue(x, cost_[static_cast<std::size_t>(x)]);
    }
  }

  Graph graph_;
  const std::vector<std::int64_t>& cardinalities_;
  EliminationHeuristic heuristic_;
  std::uint64_t seed_;
  double give_up_;
  std::vector<double> cost_;
  std::vector<char> gone_;
  std::vector<std::uint64_t> stamp_;
  std::vector<char> changed_;
  std::uint64_t now_ = 0;
  std::priority_queue<Entry> queue_;
  std::vector<std::pair<std::int32_t, std::int32_t>> new_edges_;
  EliminationOrder result_;
  double steps_ = 0;
};

}  // namespace

EliminationOrder elimination_order(const std::vector<std::int64_t>& cardinalities,
                                   const std::vector<std::vector<std::int64_t>>& scopes,
                                   const EliminationOptions& options) {
  const Graph graph = interaction_graph(cardinalities.size(), scopes);
  std::vector<EliminationHeuristic> heuristics = {options.heuristic};
  if (options.heuristic == EliminationHeuristic::best) {
    heuristics = {EliminationHeuristic::min_fill, EliminationHeuristic::min_weight};
    if (std::adjacent_find(cardinalities.begin(), cardinalities.end(), std::not_equal_to<>()) != cardinalities.end())
      heuristics.push_back(EliminationHeuristic::weighted_min_fill);
  }
  const int rounds = options.heuristic == EliminationHeuristic::best ? std::max(options.restarts, 1) : 1;
  Run first(graph, cardinalities, heuristics.front(), options.seed, 1e300);
  EliminationOrder best = first.run();
  double steps = first.steps();
  for (int round = 0; round < rounds && (best.entries < hopeless || round < most_hopeless_rounds); ++round)
    for (std::size_t i = round == 0 ? 1 : 0; i < heuristics.size(); ++i) {
      // A step of the search costs about as much as ten entries of the tables, which are passed several times.
      if (best.complete && (steps > best.entries || steps > most_search_steps / 8)) return best;
      // The first round's are what each heuristic gives by itself.
      Run run(graph, cardinalities, heuristics[i],
              round == 0 ? options.seed
                         : detail::split_mix(options.seed + static_cast<std::uint64_t>(round) * heuristics.size() + i),
              best.complete ? best.entries : 1e300);
      EliminationOrder order = run.run();
      steps += run.steps();
      if (order.complete && (!best.complete || order.entries < best.entries)) best = std::move(order);
      if (!best.complete && steps > (best.entries > hopeless ? most_hopeless_steps : most_search_steps)) return best;
    }
  return best;
}

}  // namespace tapestry
