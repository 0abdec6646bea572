// ExecuTorch's log: nothing reaches standard output, and the last error line explains a refusal.
#pragma once

#include <string>

namespace edgeq {

// Call once, early. Lines go to standard error when EDGEQ_LOG is set, otherwise nowhere.
void capture_runtime_log();
const std::string &last_runtime_error();
void clear_runtime_error();

} // namespace edgeq
