// Programs in a directory, addressed by content, found by name.
//
//   objects/<sha256>    complete, verified files; never changed once there
//   names/<name>        the SHA-256 of the object that bears the name, as text
//   partial/<sha256>    a transfer that is not complete; locked by the process that writes it
//   lock                held while names and objects change together
//
// Whatever appears under a name was written, synced and renamed before: a crash leaves the old file or the new one.
#pragma once

#include <string>
#include <vector>

#include "../../proto/agent.h"

namespace edgeq {

class Store {
public:
  // Makes the directory. Throws std::system_error when it cannot be made or is not writable.
  explicit Store(std::string directory);
  ~Store();
  Store(const Store &) = delete;
  Store &operator=(const Store &) = delete;

  const eq_store *table() const { return &table_; }
  bool find(const char *name, eq_entry *entry, eq_failure *failure) const;
  std::string object_path(const uint8_t sha256[EQ_SHA256_BYTES]) const;

  bool begin(const eq_entry &entry, uint64_t *have, eq_failure *failure);
  bool append(uint64_t offset, const uint8_t *bytes, size_t count, eq_failure *failure);
  bool read_back(uint64_t offset, uint8_t *bytes, size_t count, eq_failure *failure) const;
  bool commit(eq_failure *failure);
  void close(bool drop);
  bool list(eq_failure *failure);
  bool read(const char *name, uint64_t offset, uint8_t *bytes, size_t count, eq_failure *failure) const;
  bool erase(const char *name, eq_failure *failure);
  uint64_t free_bytes() const;
  const std::vector<eq_entry> &entries() const { return entries_; }

private:
  std::string name_path(const char *name) const { return root_ + "/names/" + name; }
  std::string partial_path(const uint8_t sha256[EQ_SHA256_BYTES]) const;
  void drop_other_partials(const std::string &keep) const;
  void drop_unnamed_objects() const;

  std::string root_;
  eq_store table_;
  std::vector<eq_entry> entries_;
  eq_entry put_{}, found_{};
  int fd_ = -1;           // the open transfer
  bool complete_ = false; // fd_ is an object that was there already
};

} // namespace edgeq
