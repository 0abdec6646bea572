/* The device's side of the conversation: the same state machine on a server, a phone and a microcontroller. It owns no
 * memory and knows no operating system; what it keeps and what it runs are behind two tables of functions. */
#ifndef EDGEQ_AGENT_H
#define EDGEQ_AGENT_H

#include "frame.h"
#include "sha256.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why something was not done. A microcontroller (EQ_MICRO) leaves the words to its client and keeps a number. */
#ifdef EQ_MICRO
typedef struct {
  uint16_t code; /* eq_code */
  uint32_t number;
} eq_failure;

enum { EQ_FAILURE_BYTES = 7 };
bool eq_fail_at(eq_failure *failure, eq_code code, size_t number);
#define eq_fail(failure, code, text) eq_fail_at(failure, code, 0)
#define eq_fail_with(failure, code, text, number) eq_fail_at(failure, code, number)
#else
enum { EQ_FAILURE_TEXT = 240, EQ_FAILURE_BYTES = 3 + EQ_FAILURE_TEXT };

typedef struct {
  uint16_t code; /* eq_code */
  char text[EQ_FAILURE_TEXT];
} eq_failure;

/* Appends; what does not fit is cut. Always false. */
bool eq_fail_more(eq_failure *failure, const char *text);
bool eq_fail_number(eq_failure *failure, size_t number);
/* Sets the code, empties the text, appends; always false, so that `return eq_fail(...)` reads well. */
bool eq_fail(eq_failure *failure, eq_code code, const char *text);
/* The same with a number behind the text. */
bool eq_fail_with(eq_failure *failure, eq_code code, const char *text, size_t number);
#endif

enum { EQ_NAME_BYTES = EQ_NAME_MAX + 8 };

/* Without gaps, and zero behind the name: entries may be compared and kept as bytes. */
typedef struct {
  size_t size;
  uint8_t sha256[EQ_SHA256_BYTES];
  char name[EQ_NAME_BYTES];
} eq_entry;

/* Where programs are kept. Every function returns false with *failure set when it cannot. Names have been checked. */
typedef struct {
  void *context;
  /* Opens a transfer of size bytes with this content. *have: bytes of exactly this content already held (up to size).
   */
  bool (*begin)(void *context, const eq_entry *entry, size_t *have, eq_failure *failure);
  bool (*append)(void *context, size_t offset, const uint8_t *bytes, size_t count, eq_failure *failure);
  /* Reads back what the open transfer has stored. */
  bool (*read_back)(void *context, size_t offset, uint8_t *bytes, size_t count, eq_failure *failure);
  /* Makes the open transfer (content verified) the object of its name: a power cut leaves the old one or the new one.
   */
  bool (*commit)(void *context, eq_failure *failure);
  /* Closes the open transfer; drop: and forgets its bytes, otherwise they may be resumed. */
  void (*close)(void *context, bool drop);
  /* Objects by number, asked for one after the other from 0 until NULL; valid until the next call. */
  const eq_entry *(*entry)(void *context, unsigned index);
  const eq_entry *(*find)(void *context, const char *name, eq_failure *failure);
  bool (*read)(void *context, const eq_entry *entry, size_t offset, uint8_t *bytes, size_t count, eq_failure *failure);
  bool (*erase)(void *context, const char *name, eq_failure *failure);
  size_t (*free_bytes)(void *context);
} eq_store;

typedef struct {
  uint8_t dtype, rank;
  uint32_t shape[EQ_RANK_MAX];
  size_t bytes;
  uint8_t *data; /* [bytes]; NULL: an output before the first run */
} eq_tensor;

typedef struct {
  uint64_t load_ticks;
  size_t planned_bytes, program_bytes, before_bytes;
  uint16_t tensors[2]; /* inputs, outputs; at most 255 */
} eq_net;

/* What executes programs. A net is a loaded method. tensor() is asked about described nets, and index has been checked.
 */
typedef struct {
  void *context;
  bool (*load)(void *context, const char *name, const char *method, uint16_t *net, eq_failure *failure);
  bool (*unload)(void *context, uint16_t net, eq_failure *failure);
  bool (*describe)(void *context, uint16_t net, eq_net *out, eq_failure *failure);
  void (*tensor)(void *context, uint16_t net, bool output, unsigned index, eq_tensor *out);
  /* fresh: inputs were written since the last run */
  bool (*run)(void *context, uint16_t net, bool fresh, uint64_t *ticks, eq_failure *failure);
  /* NULL where there is no tracer. *size: bytes of the trace, kept until the next one. */
  bool (*profile)(void *context, uint16_t net, uint32_t runs, size_t *size, eq_failure *failure);
  bool (*profile_read)(void *context, size_t offset, uint8_t *bytes, size_t count, eq_failure *failure);
  size_t (*profile_size)(void *context);
  /* The most memory in use since the last load. */
  size_t (*peak_bytes)(void *context);
  void (*reset)(void *context); /* unloads everything */
} eq_engine;

#ifdef EQ_WITH_TUNE
#include "proto/tune/agent_tune.h"
#endif

enum { EQ_DEVICE_TEXTS = 6 };

typedef struct {
  uint16_t nets, threads;
  size_t memory_bytes;
  const char *texts[EQ_DEVICE_TEXTS]; /* kind, name, arch, cpu, isa, tick */
  const char *const *targets;         /* NULL-terminated */
  size_t code_bytes;                  /* flash of the agent, 0: not known */
} eq_device;

typedef struct {
  const eq_store *store;
  const eq_engine *engine;
  const eq_device *device;
  void (*send)(void *context, const uint8_t *bytes, size_t count);
  void *send_context;
  eq_parser parser;
  uint8_t *answer; /* [max_payload + EQ_FRAME_EXTRA] */
  uint32_t max_payload;
  size_t answered; /* bytes of the last answer, to be repeated for a repeated request */
  uint8_t last_type;
  uint16_t last_seq;
  uint32_t last_crc;
  bool fresh; /* inputs were written since the last run */
  bool putting;
  eq_entry put;
  size_t put_have;
  eq_failure failure;
#ifdef EQ_WITH_TUNE
  eq_tune_run run; /* run.port is set after eq_agent_init by a port that learns */
#endif
} eq_agent;

enum { EQ_AGENT_MIN_PAYLOAD = 512 };

/* store, engine, device, send and the buffers outlive the agent.
 * request, answer  [max_payload + EQ_FRAME_EXTRA]; max_payload >= EQ_AGENT_MIN_PAYLOAD
 * return       false when max_payload is too small */
bool eq_agent_init(eq_agent *agent, const eq_store *store, const eq_engine *engine, const eq_device *device,
                   void (*send)(void *context, const uint8_t *bytes, size_t count), void *send_context,
                   uint8_t *request, uint8_t *answer, uint32_t max_payload);

/* Bytes from the client, any number at a time; answers go to send() before it returns. */
void eq_agent_feed(eq_agent *agent, const uint8_t *bytes, size_t count);

/* In the middle of a frame? Then, if nothing comes for a second or two, the port calls eq_agent_idle(). */
static inline bool eq_agent_pending(const eq_agent *agent) { return eq_parser_pending(&agent->parser); }
void eq_agent_idle(eq_agent *agent);

/* The client is gone: nets are unloaded, an open transfer is kept for a resume, the next client starts afresh. */
void eq_agent_hangup(eq_agent *agent);

#ifdef __cplusplus
}
#endif
#endif
