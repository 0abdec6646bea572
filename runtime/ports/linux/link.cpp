#include "link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace edgeq {
namespace {

constexpr int kIdleMs = 2000; // a sender that pauses for longer inside a frame has given up

std::runtime_error failed(const std::string &what) { return std::runtime_error(what + ": " + std::strerror(errno)); }

int listen_on(const std::string &text) {
  const size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
  if (::inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &address.sin_addr) != 1)
    throw std::runtime_error("--listen takes 127.0.0.1:PORT, got " + text);
  if (ntohl(address.sin_addr.s_addr) >> 24 != 127)
    throw std::runtime_error(
        "the protocol has no authentication: listen on 127.0.0.1 and forward it through ssh or adb");
  char *end = nullptr;
  const unsigned long port = std::strtoul(text.c_str() + colon + 1, &end, 10);
  if (*end || port > 65535) throw std::runtime_error("bad port in " + text);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
  socklen_t size = sizeof address;
  if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      ::bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0 || ::listen(fd, 1) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size) != 0)
    throw failed("cannot listen on " + text);
  std::printf("listening tcp://%s:%u\n", ::inet_ntoa(address.sin_addr), ntohs(address.sin_port));
  return fd;
}

} // namespace

void Link::send(void *context, const uint8_t *bytes, size_t count) {
  int &out = static_cast<Link *>(context)->out_;
  while (out >= 0 && count > 0) {
    const ssize_t n = ::write(out, bytes, count);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      out = -1;
      return;
    }
    bytes += n;
    count -= static_cast<size_t>(n);
  }
}

void Link::serve(eq_agent &agent, int in, int out) {
  out_ = out;
  std::vector<uint8_t> bytes(1 << 16);
  while (out_ >= 0) {
    pollfd wait{in, POLLIN, 0};
    const bool pending = eq_agent_pending(&agent);
    const int ready = ::poll(&wait, 1, pending ? kIdleMs : agent.putting ? patience_ms_ : -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      pending ? eq_agent_idle(&agent) : eq_agent_hangup(&agent);
      continue;
    }
    const ssize_t n = ::read(in, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    eq_agent_feed(&agent, bytes.data(), static_cast<size_t>(n));
  }
  out_ = -1;
  eq_agent_hangup(&agent);
}

void Link::serve_clients(eq_agent &agent, const std::string &address, unsigned once_seconds) {
  const int listener = listen_on(address);
  std::fflush(stdout);
  if (once_seconds > 0) {
    pollfd wait{listener, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(once_seconds) * 1000) <= 0)
      throw std::runtime_error("nobody connected within " + std::to_string(once_seconds) + " s");
  }
  for (;;) {
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (client < 0) throw failed("cannot accept a client");
    const int yes = 1;
    ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    serve(agent, client, client);
    ::close(client);
    if (once_seconds > 0) return;
  }
}

} // namespace edgeq
