#include "store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

namespace edgeq {
namespace {

// A descriptor that closes itself.
class File {
public:
  explicit File(int fd) : fd_(fd) {}
  File(const std::string &path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File &) = delete;
  File &operator=(const File &) = delete;
  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

private:
  int fd_;
};

bool io_failure(eq_failure *failure, const char *what, const std::string &path) {
  const int error = errno;
  eq_fail(failure, error == ENOSPC || error == EDQUOT ? EQ_CODE_TOO_LARGE : EQ_CODE_STORE_FAILED, what);
  eq_fail_more(failure, " ");
  eq_fail_more(failure, path.c_str());
  eq_fail_more(failure, ": ");
  return eq_fail_more(failure, std::strerror(error));
}

bool write_all(int fd, uint64_t offset, const uint8_t *bytes, size_t count) {
  while (count > 0) {
    const ssize_t n = ::pwrite(fd, bytes, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes += n;
    offset += static_cast<uint64_t>(n);
    count -= static_cast<size_t>(n);
  }
  return true;
}

bool read_all(int fd, uint64_t offset, uint8_t *bytes, size_t count) {
  while (count > 0) {
    const ssize_t n = ::pread(fd, bytes, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = EIO; // shorter than it was
    if (n <= 0) return false;
    bytes += n;
    offset += static_cast<uint64_t>(n);
    count -= static_cast<size_t>(n);
  }
  return true;
}

bool sync_directory(const std::string &path) {
  const File directory(path, O_RDONLY | O_DIRECTORY);
  return directory && ::fsync(directory.get()) == 0;
}

std::string to_hex(const uint8_t *bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string hex;
  for (int i = 0; i < EQ_SHA256_BYTES; i++) {
    hex += digits[bytes[i] >> 4];
    hex += digits[bytes[i] & 15];
  }
  return hex;
}

bool from_hex(const std::string &hex, uint8_t *bytes) {
  if (hex.size() != 2 * EQ_SHA256_BYTES || hex.find_first_not_of("0123456789abcdef") != std::string::npos) return false;
  for (size_t i = 0; i < EQ_SHA256_BYTES; i++)
    bytes[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return true;
}

std::vector<std::string> names_in(const std::string &path) {
  std::vector<std::string> names;
  DIR *directory = ::opendir(path.c_str());
  if (!directory) return names;
  while (const dirent *item = ::readdir(directory))
    if (item->d_name[0] != '.') names.emplace_back(item->d_name);
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

// Writes beside and renames: the file is the old one or the new one.
bool replace_text(const std::string &path, const std::string &text) {
  const size_t slash = path.rfind('/');
  const std::string directory = path.substr(0, slash), beside = directory + "/." + path.substr(slash + 1);
  {
    const File file(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file || !write_all(file.get(), 0, reinterpret_cast<const uint8_t *>(text.data()), text.size()) ||
        ::fsync(file.get()) != 0)
      return false;
  }
  return ::rename(beside.c_str(), path.c_str()) == 0 && sync_directory(directory);
}

std::string read_text(const std::string &path) {
  const File file(path, O_RDONLY);
  char text[2 * EQ_SHA256_BYTES];
  if (!file || !read_all(file.get(), 0, reinterpret_cast<uint8_t *>(text), sizeof text)) return {};
  return {text, sizeof text};
}

class Lock {
public:
  explicit Lock(const std::string &root) : file_(root + "/lock", O_RDWR | O_CREAT) {
    while (file_ && ::flock(file_.get(), LOCK_EX) != 0 && errno == EINTR) {
    }
  }

private:
  File file_;
};

void make_directory(const std::string &path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
    throw std::system_error(errno, std::generic_category(), "cannot make " + path);
}

Store &self(void *context) { return *static_cast<Store *>(context); }

} // namespace

Store::Store(std::string directory) : root_(std::move(directory)) {
  for (size_t slash = root_.find('/', 1); slash != std::string::npos; slash = root_.find('/', slash + 1))
    make_directory(root_.substr(0, slash));
  make_directory(root_);
  for (const char *folder : {"/objects", "/names", "/partial"}) make_directory(root_ + folder);
  if (::access(root_.c_str(), W_OK) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot write to " + root_);
  drop_unnamed_objects();

  table_.context = this;
  table_.begin = [](void *c, const eq_entry *e, uint64_t *have, eq_failure *f) { return self(c).begin(*e, have, f); };
  table_.append = [](void *c, uint64_t at, const uint8_t *bytes, size_t n, eq_failure *f) {
    return self(c).append(at, bytes, n, f);
  };
  table_.read_back = [](void *c, uint64_t at, uint8_t *bytes, size_t n, eq_failure *f) {
    return self(c).read_back(at, bytes, n, f);
  };
  table_.commit = [](void *c, eq_failure *f) { return self(c).commit(f); };
  table_.close = [](void *c, bool drop) { self(c).close(drop); };
  table_.entry = [](void *c, unsigned i) -> const eq_entry * {
    eq_failure ignored;
    if (i == 0) self(c).list(&ignored);
    const std::vector<eq_entry> &entries = self(c).entries();
    return i < std::min<size_t>(entries.size(), UINT16_MAX) ? &entries[i] : nullptr;
  };
  table_.find = [](void *c, const char *name, eq_failure *f) -> const eq_entry * {
    return self(c).find(name, &self(c).found_, f) ? &self(c).found_ : nullptr;
  };
  table_.read = [](void *c, const eq_entry *e, uint64_t at, uint8_t *bytes, size_t n, eq_failure *f) {
    return self(c).read(e->name, at, bytes, n, f);
  };
  table_.erase = [](void *c, const char *name, eq_failure *f) { return self(c).erase(name, f); };
  table_.free_bytes = [](void *c) { return self(c).free_bytes(); };
}

Store::~Store() { close(false); }

std::string Store::object_path(const uint8_t *sha256) const { return root_ + "/objects/" + to_hex(sha256); }
std::string Store::partial_path(const uint8_t *sha256) const { return root_ + "/partial/" + to_hex(sha256); }

// Only one partial transfer is kept for a resume; those of other processes are locked and stay.
void Store::drop_other_partials(const std::string &keep) const {
  for (const std::string &name : names_in(root_ + "/partial")) {
    const std::string path = root_ + "/partial/" + name;
    if (path == keep) continue;
    const File file(path, O_RDWR);
    if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) ::unlink(path.c_str());
  }
}

void Store::drop_unnamed_objects() const {
  const Lock lock(root_);
  std::set<std::string> named;
  for (const std::string &name : names_in(root_ + "/names")) named.insert(read_text(name_path(name.c_str())));
  for (const std::string &object : names_in(root_ + "/objects"))
    if (named.count(object) == 0) ::unlink((root_ + "/objects/" + object).c_str());
}

bool Store::begin(const eq_entry &entry, uint64_t *have, eq_failure *failure) {
  put_ = entry;
  struct stat info{};
  File object(object_path(entry.sha256), O_RDONLY);
  if (object && ::fstat(object.get(), &info) == 0 && static_cast<uint64_t>(info.st_size) == entry.size) {
    fd_ = object.release();
    complete_ = true;
    *have = entry.size;
    return true;
  }
  const std::string path = partial_path(entry.sha256);
  drop_other_partials(path);
  File file(path, O_RDWR | O_CREAT);
  if (!file) return io_failure(failure, "cannot open", path);
  struct stat named{};
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0 || ::fstat(file.get(), &info) != 0 ||
      ::stat(path.c_str(), &named) != 0 || named.st_ino != info.st_ino)
    return eq_fail(failure, EQ_CODE_BUSY, "another client is sending the same file");
  if (static_cast<uint64_t>(info.st_size) > entry.size) {
    if (::ftruncate(file.get(), 0) != 0) return io_failure(failure, "cannot truncate", path);
    info.st_size = 0;
  }
  *have = static_cast<uint64_t>(info.st_size);
  if (entry.size - *have > free_bytes()) {
    eq_fail(failure, EQ_CODE_TOO_LARGE, "no room: free bytes are ");
    return eq_fail_number(failure, free_bytes());
  }
  fd_ = file.release();
  complete_ = false;
  return true;
}

bool Store::append(uint64_t offset, const uint8_t *bytes, size_t count, eq_failure *failure) {
  return write_all(fd_, offset, bytes, count) || io_failure(failure, "cannot write", partial_path(put_.sha256));
}

bool Store::read_back(uint64_t offset, uint8_t *bytes, size_t count, eq_failure *failure) const {
  return read_all(fd_, offset, bytes, count) || io_failure(failure, "cannot read", partial_path(put_.sha256));
}

bool Store::commit(eq_failure *failure) {
  const Lock lock(root_);
  const std::string object = object_path(put_.sha256), partial = partial_path(put_.sha256);
  if (!complete_) {
    if (::fsync(fd_) != 0) return io_failure(failure, "cannot sync", partial);
    if (::rename(partial.c_str(), object.c_str()) != 0) return io_failure(failure, "cannot rename", partial);
    if (!sync_directory(root_ + "/objects")) return io_failure(failure, "cannot sync", root_ + "/objects");
  } else if (::access(object.c_str(), R_OK) != 0) {
    return eq_fail(failure, EQ_CODE_STORE_FAILED, "the file was erased meanwhile: put it again");
  }
  const std::string before = read_text(name_path(put_.name));
  if (!replace_text(name_path(put_.name), to_hex(put_.sha256)))
    return io_failure(failure, "cannot write", name_path(put_.name));
  uint8_t old[EQ_SHA256_BYTES];
  if (from_hex(before, old) && before != to_hex(put_.sha256)) {
    bool used = false;
    for (const std::string &name : names_in(root_ + "/names")) used |= read_text(name_path(name.c_str())) == before;
    if (!used) ::unlink(object_path(old).c_str());
  }
  return true;
}

void Store::close(bool drop) {
  if (fd_ < 0) return;
  if (drop) ::unlink((complete_ ? object_path(put_.sha256) : partial_path(put_.sha256)).c_str());
  ::close(fd_);
  fd_ = -1;
}

bool Store::find(const char *name, eq_entry *entry, eq_failure *failure) const {
  struct stat info{};
  if (!from_hex(read_text(name_path(name)), entry->sha256) || ::stat(object_path(entry->sha256).c_str(), &info) != 0) {
    eq_fail(failure, EQ_CODE_NOT_FOUND, "nothing is stored as ");
    return eq_fail_more(failure, name);
  }
  std::snprintf(entry->name, sizeof entry->name, "%s", name);
  entry->size = static_cast<uint64_t>(info.st_size);
  return true;
}

bool Store::list(eq_failure *failure) {
  entries_.clear();
  for (const std::string &name : names_in(root_ + "/names")) {
    eq_entry entry{};
    if (find(name.c_str(), &entry, failure)) entries_.push_back(entry);
  }
  return true;
}

bool Store::read(const char *name, uint64_t offset, uint8_t *bytes, size_t count, eq_failure *failure) const {
  eq_entry entry{};
  if (!find(name, &entry, failure)) return false;
  const std::string path = object_path(entry.sha256);
  const File file(path, O_RDONLY);
  return (file && read_all(file.get(), offset, bytes, count)) || io_failure(failure, "cannot read", path);
}

bool Store::erase(const char *name, eq_failure *failure) {
  {
    const Lock lock(root_);
    eq_entry entry{};
    if (!find(name, &entry, failure)) return false;
    if (::unlink(name_path(name).c_str()) != 0 || !sync_directory(root_ + "/names"))
      return io_failure(failure, "cannot remove", name_path(name));
  }
  drop_unnamed_objects();
  return true;
}

uint64_t Store::free_bytes() const {
  struct statvfs info{};
  return ::statvfs(root_.c_str(), &info) == 0 ? static_cast<uint64_t>(info.f_bavail) * info.f_frsize : 0;
}

} // namespace edgeq
