// Executes programs of a Store, with ExecuTorch or LiteRT.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "loaded.h"
#include "store.h"

namespace edgeq {

class Engine {
public:
  static constexpr uint16_t kNets = 16;

  // limit_bytes: the most memory that one program may plan
  Engine(const Store &store, uint64_t limit_bytes);
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;

  const eq_engine *table() const { return &table_; }

  bool load(const char *name, const char *method, uint16_t *net, eq_failure *failure);
  bool unload(uint16_t net, eq_failure *failure);
  bool run(uint16_t net, uint64_t *ns, eq_failure *failure);
  bool profile(uint16_t net, uint32_t runs, uint64_t *size, eq_failure *failure);
  void reset();

private:
  struct Net {
    std::unique_ptr<Loaded> program;
    std::string path, method;
    uint64_t load_ns, before_bytes;
    bool ran = false;
  };
  Net *find(uint16_t net, eq_failure *failure);
  bool survives(const std::string &path, const char *method, eq_failure *failure);

  const Store &store_;
  uint64_t limit_bytes_;
  eq_engine table_;
  std::map<uint16_t, Net> nets_;
  uint16_t next_ = 1;
  std::set<std::string> trusted_; // path and method that have run in a child process
  std::vector<uint8_t> trace_;
};

} // namespace edgeq
