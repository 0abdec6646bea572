// Memory, plans and time for runs of the tuning module.
#pragma once

#include <memory>
#include <vector>

#include "../../proto/agent.h"

namespace edgeq {

class Tuner {
public:
  // limit_bytes: the most that a run and its plan may take together
  Tuner(const eq_store *store, uint64_t limit_bytes);
  Tuner(const Tuner &) = delete;
  Tuner &operator=(const Tuner &) = delete;

  const eq_tuner *table() const { return &table_; }

private:
  struct Piece {
    std::unique_ptr<uint64_t[]> memory;
    size_t bytes; // without guards
  };
  void *take(size_t bytes);
  void close();
  const uint8_t *plan(const char *name, size_t *bytes, eq_failure *failure);

  const eq_store *store_;
  uint64_t limit_bytes_, taken_ = 0;
  eq_tuner table_{};
  std::vector<Piece> pieces_;
};

} // namespace edgeq
