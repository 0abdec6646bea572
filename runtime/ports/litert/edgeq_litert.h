/* EdgeQ for apps on LiteRT's compiled models. (Apps on the interpreter load this library as an external delegate.)
 *
 *   LiteRtCreateOptions(&options);
 *   edgeq_litert *edgeq = edgeq_litert_open(1);
 *   edgeq_litert_add(edgeq, options);
 *   LiteRtCreateCompiledModel(environment, model, options, &compiled);
 *   ...
 *   LiteRtDestroyCompiledModel(compiled);
 *   edgeq_litert_close(edgeq);
 *
 * libLiteRt.so must be in the process, its symbols global. One edgeq_litert for each compiled model. */
#ifndef EDGEQ_LITERT_H
#define EDGEQ_LITERT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct edgeq_litert edgeq_litert;

/* threads: of one inference, 1 to 256. NULL: no memory, LiteRT is not in the process, or the environment asks for an
 * instruction set that is not there; edgeq_litert_why(NULL) tells. */
edgeq_litert *edgeq_litert_open(unsigned threads);
/* Adds every operator to LiteRtOptions; 0, or LiteRT's status. */
int edgeq_litert_add(edgeq_litert *edgeq, void *options);
/* After the compiled model. */
void edgeq_litert_close(edgeq_litert *edgeq);
/* LiteRT does not look at what an operator returns. An operator that cannot do its work fills its results with 0xff
 * bytes (NaN) and leaves a line here, until it is asked for; NULL: all went well. */
const char *edgeq_litert_why(edgeq_litert *edgeq);
/* Once for an environment, before its first model: its compiled models then execute our nodes at the cost of the
 * interpreter's, by a delegate. The functions that this needs are LiteRT 2.3's; 0, or LiteRT's status, and then all
 * runs as without. */
int edgeq_litert_register(void *environment, unsigned threads);
/* Custom codes of the operators, in order; NULL after the last. */
const char *edgeq_litert_operator(size_t index);
/* The instruction set in use. */
const char *edgeq_litert_isa(void);

#ifdef __cplusplus
}
#endif
#endif
