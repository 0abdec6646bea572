// The byte stream to the client: a pair of descriptors, or clients that connect one after the other.
#pragma once

#include <string>

#include "../../proto/agent.h"

namespace edgeq {

class Link {
public:
  // patience_s: a transfer in which nothing comes for so long is closed (and can be resumed): its client is gone, even
  // if the network did not say so.
  explicit Link(unsigned patience_s) : patience_ms_(static_cast<int>(patience_s) * 1000) {}

  // For eq_agent_init(); context is the Link.
  static void send(void *context, const uint8_t *bytes, size_t count);

  // Serves until the other side closes.
  void serve(eq_agent &agent, int in, int out);

  // Listens on "127.0.0.1:port" (port 0: any free one), writes "listening <url>\n" to standard output
  // and serves one client after the other, without end; or, once_seconds > 0, one that comes within this time.
  // Throws std::runtime_error when the address cannot be used or nobody comes.
  void serve_clients(eq_agent &agent, const std::string &address, unsigned once_seconds);

private:
  int patience_ms_;
  int out_ = -1; // -1: nobody listens
};

} // namespace edgeq
