/* libedgeq_executorch: the edgeq:: operators for ExecuTorch. Loading it registers them (ctypes.CDLL or a link
 * dependency); these functions say how they run. */
#ifndef EDGEQ_EXECUTORCH_H
#define EDGEQ_EXECUTORCH_H

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEQ_PUBLIC __attribute__((visibility("default")))

/* Name of the instruction set in use: the one in the environment variable EDGEQ_ISA, otherwise the best of this
 * machine. */
EDGEQ_PUBLIC const char *edgeq_isa(void);

/* Empty, or why EDGEQ_ISA or EDGEQ_THREADS cannot be obeyed; every operator fails with this text then. */
EDGEQ_PUBLIC const char *edgeq_settings_error(void);

/* Threads of one inference, edgeq:: operators and ExecuTorch's pool (XNNPACK) alike; before the first program is
 * loaded. Without this call edgeq:: operators use EDGEQ_THREADS threads (one unless set) of whatever pool ExecuTorch
 * has made. */
EDGEQ_PUBLIC void edgeq_set_threads(unsigned threads);

#ifdef __cplusplus
}
#endif
#endif
