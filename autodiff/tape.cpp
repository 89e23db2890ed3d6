#include <tapestry/autodiff/tape.hpp>

#include <deque>
#include <mutex>
#include <ostream>
#include <unordered_map>
#include <vector>

#include <tapestry/autodiff/counting.hpp>
#include <tapestry/autodiff/node.hpp>
#include <tapestry/autodiff/observer.hpp>
#include <tapestry/autodiff/operation.hpp>

namespace tapestry {
namespace {

struct ThreadState {
  Tape* tape = nullptr;
  bool gradients = true;
  bool anomaly = false;
  std::uint32_t scope = 0;
  detail::Observer* observer = nullptr;
};
constinit thread_local ThreadState state{};

// Names of scopes, for the life of the process: index 0 is the outermost, nameless one.
struct ScopeNames {
  std::mutex mutex;
  std::deque<std::string> names{""};
  std::unordered_map<std::string, std::uint32_t> index{{"", 0}};
};
ScopeNames& scope_names() {
  static ScopeNames& names = *new ScopeNames;
  return names;
}

// Nothing is counted while it is held.
class TapeLock {
 public:
  explicit TapeLock(std::atomic_flag& flag) noexcept : flag_(flag), alone_(detail::begin_alone()) {
    if (alone_) return;
    detail::note_counting_thread();
    while (flag_.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~TapeLock() {
    if (alone_)
      detail::end_alone();
    else
      flag_.clear(std::memory_order_release);
  }
  TapeLock(const TapeLock&) = delete;
  TapeLock& operator=(const TapeLock&) = delete;

 private:
  std::atomic_flag& flag_;
  bool alone_;
};

}  // namespace

Tape::~Tape() {
  clear();
}

Tape& Tape::current() {
  if (state.tape == nullptr) {
    static thread_local Tape tape;
    state.tape = &tape;
  }
  return *state.tape;
}

std::size_t Tape::bytes() const {
  std::size_t sum = 0;
  for (const detail::Node* node = first_; node != nullptr; node = node->next)
    if (node->value != nullptr) sum += node->value->bytes;
  return sum;
}

void Tape::clear() noexcept {
  while (last_ != nullptr) {
    detail::Node* node = last_;
    detail::retain(node, detail::Node::edge_reference);
    node->cleared = true;
    detail::TapeAccess::unlink(node);
    node->recorded = false;
    node->tape = nullptr;
    detail::free_graph(node);
    if (node->value != nullptr) detail::release_storage(std::exchange(node->value, nullptr));
    detail::release(node, detail::Node::edge_reference);
  }
}

void Tape::print(std::ostream& out) const {
  for (const detail::Node* node = first_; node != nullptr; node = node->next) {
    out << '%' << node->sequence << " = " << (node->operation ? node->operation->name() : "freed") << ' ' << node->shape
        << '(';
    for (std::size_t i = 0; node->inputs != nullptr && i < node->input_count; ++i) {
      const detail::Node* input = node->inputs[i].node;
      out << (i ? ", " : "");
      if (input->recorded)
        out << '%' << input->sequence;
      else
        out << (input->requires_grad ? "leaf " : "constant ") << input->shape;
    }
    out << ')';
    if (node->scope != 0) out << " in " << detail::scope_name(node->scope);
    out << '\n';
  }
}

UseTape::UseTape(Tape& tape) : previous_(&Tape::current()) {
  state.tape = &tape;
}
UseTape::~UseTape() {
  state.tape = previous_;
}

bool gradients_enabled() noexcept {
  return state.gradients;
}

EnableGradients::EnableGradients(bool enabled) noexcept : previous_(state.gradients) {
  state.gradients = enabled;
}
EnableGradients::~EnableGradients() {
  state.gradients = previous_;
}

DetectAnomaly::DetectAnomaly(bool enabled) noexcept : previous_(state.anomaly) {
  state.anomaly = enabled;
}
DetectAnomaly::~DetectAnomaly() {
  state.anomaly = previous_;
}

Scope::Scope(std::string_view name) : previous_(state.scope) {
  ScopeNames& names = scope_names();
  const std::lock_guard lock(names.mutex);
  std::string full = names.names[previous_];
  if (!full.empty()) full += '/';
  full += name;
  const auto [entry, added] = names.index.try_emplace(full, static_cast<std::uint32_t>(names.names.size()));
  if (added) names.names.push_back(full);
  state.scope = entry->second;
}
Scope::~Scope() {
  state.scope = previous_;
}

namespace detail {

bool anomaly_detection() noexcept {
  return state.anomaly;
}
Observer* observer() noexcept {
  return state.observer;
}
UseObserver::UseObserver(Observer* observer) noexcept : previous_(std::exchange(state.observer, observer)) {}
UseObserver::~UseObserver() {
  state.observer = previous_;
}
std::uint32_t current_scope() noexcept {
  return state.scope;
}

std::string scope_name(std::uint32_t scope) {
  ScopeNames& names = scope_names();
  const std::lock_guard lock(names.mutex);
  return names.names[scope];
}

void TapeAccess::append(Tape& tape, Node* node) noexcept {
  const TapeLock lock(tape.lock_);
  node->tape = &tape;
  node->recorded = true;
  node->sequence = tape.sequence_++;
  node->previous = tape.last_;
  node->next = nullptr;
  (tape.last_ != nullptr ? tape.last_->next : tape.first_) = node;
  tape.last_ = node;
  ++tape.nodes_;
}

void TapeAccess::unlink(Node* node) noexcept {
  Tape& tape = *node->tape;
  const TapeLock lock(tape.lock_);
  (node->previous != nullptr ? node->previous->next : tape.first_) = node->next;
  (node->next != nullptr ? node->next->previous : tape.last_) = node->previous;
  --tape.nodes_;
}

}  // namespace detail
}  // namespace tapestry
