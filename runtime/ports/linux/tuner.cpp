#include "tuner.h"

#include <new>

#include "guard.h"
#include "system.h"

namespace edgeq {

Tuner::Tuner(const eq_store *store, uint64_t limit_bytes) : store_(store), limit_bytes_(limit_bytes) {
  table_.context = this;
  table_.plan = [](void *c, const char *name, size_t *bytes, eq_failure *f) {
    return static_cast<Tuner *>(c)->plan(name, bytes, f);
  };
  table_.take = [](void *c, size_t bytes) { return static_cast<Tuner *>(c)->take(bytes); };
  table_.borrow = [](void *, uint16_t, unsigned, const void *) {
    return false;
  }; // inputs have buffers of their own here
  table_.close = [](void *c) { static_cast<Tuner *>(c)->close(); };
  table_.ticks = [](void *) { return monotonic_ns(); };
}

void *Tuner::take(size_t bytes) {
  if (bytes > limit_bytes_ - taken_) return nullptr;
  const size_t side = guard_bytes();
  std::unique_ptr<uint64_t[]> memory(new (std::nothrow) uint64_t[(bytes + 2 * side) / sizeof(uint64_t) + 1]);
  if (!memory) return nullptr;
  auto *const start = reinterpret_cast<uint8_t *>(memory.get());
  guard_paint(start, bytes);
  taken_ += bytes;
  pieces_.push_back({std::move(memory), bytes});
  return start + side;
}

void Tuner::close() {
  for (const Piece &piece : pieces_)
    guard_tell("tune", reinterpret_cast<const uint8_t *>(piece.memory.get()), piece.bytes);
  pieces_.clear();
  taken_ = 0;
}

const uint8_t *Tuner::plan(const char *name, size_t *bytes, eq_failure *failure) {
  const eq_entry *entry = store_->find(store_->context, name, failure);
  if (!entry) return nullptr;
  const eq_entry found = *entry;
  auto *memory = static_cast<uint8_t *>(take(found.size));
  if (!memory) {
    eq_fail_with(failure, EQ_CODE_NO_MEMORY, "no memory for the plan, bytes: ", found.size);
    return nullptr;
  }
  *bytes = found.size;
  return store_->read(store_->context, &found, 0, memory, found.size, failure) ? memory : nullptr;
}

} // namespace edgeq
