#define _POSIX_C_SOURCE 200809L
#include "team.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels_file.h"
#include "../optional_isas.h"

/* How often a thread looks before it sleeps: some 100 us. Waking one that sleeps takes as long in a virtual machine,
   and the next operator of a network comes sooner. */
enum { LOOKS = 2000 };

typedef struct team team;
typedef struct {
  team *of;
  unsigned number;
} member;

struct team {
  eq_threads face;
  pthread_mutex_t lock;
  pthread_cond_t begin, end;
  eq_task task;
  void *arg;
  size_t count;
  atomic_uint round, busy;   /* calls so far; members still at work on the last one */
  atomic_uint asleep;        /* members in, or before, their wait for `begin` */
  atomic_bool caller_asleep; /* the same for `end`. Who is awake never takes the lock, so nobody sleeps for it */
  unsigned members;          /* threads that could be started */
  atomic_bool closing;
  pthread_t threads[EQL_MOST_THREADS];
  member who[EQL_MOST_THREADS];
};

/* Each worker takes one run of consecutive indices. */
static void work(const team *t, unsigned number) {
  const size_t workers = t->members + 1u, begin = t->count * number / workers, end = t->count * (number + 1u) / workers;
  if (begin < end) t->task(t->arg, begin, end, number);
}

static void look_again(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
  __asm__ volatile("yield");
#endif
}

static bool called(const team *t, unsigned seen) { return atomic_load(&t->round) != seen || atomic_load(&t->closing); }

/* Says that it sleeps before it looks once more; the caller counts the call before it looks who sleeps. */
static void sleep_till_called(team *t, unsigned seen) {
  pthread_mutex_lock(&t->lock);
  atomic_fetch_add(&t->asleep, 1);
  while (!called(t, seen)) pthread_cond_wait(&t->begin, &t->lock);
  atomic_fetch_sub(&t->asleep, 1);
  pthread_mutex_unlock(&t->lock);
}

static void wake(team *t, pthread_cond_t *sleepers) {
  pthread_mutex_lock(&t->lock);
  pthread_cond_broadcast(sleepers);
  pthread_mutex_unlock(&t->lock);
}

static void *live(void *context) {
  const member *me = context;
  team *t = me->of;
  for (unsigned seen = 0;; seen++) {
    for (unsigned i = 0; i < LOOKS && !called(t, seen); i++) look_again();
    if (!called(t, seen)) sleep_till_called(t, seen);
    if (atomic_load(&t->closing)) return NULL;
    work(t, me->number);
    if (atomic_fetch_sub(&t->busy, 1) == 1 && atomic_load(&t->caller_asleep)) wake(t, &t->end);
  }
}

static void run(void *context, eq_task task, void *arg, size_t count) {
  team *t = context;
  t->task = task;
  t->arg = arg;
  t->count = count;
  atomic_store(&t->busy, t->members);
  atomic_fetch_add(&t->round, 1);
  if (atomic_load(&t->asleep)) wake(t, &t->begin);
  work(t, t->members);
  for (unsigned i = 0; i < LOOKS && atomic_load(&t->busy); i++) look_again();
  if (!atomic_load(&t->busy)) return;
  pthread_mutex_lock(&t->lock);
  atomic_store(&t->caller_asleep, true);
  while (atomic_load(&t->busy)) pthread_cond_wait(&t->end, &t->lock);
  atomic_store(&t->caller_asleep, false);
  pthread_mutex_unlock(&t->lock);
}

eq_threads *eql_team_open(unsigned workers) {
  team *t = calloc(1, sizeof *t);
  if (!t) return NULL;
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->begin, NULL);
  pthread_cond_init(&t->end, NULL);
  while (t->members + 1 < workers && t->members < EQL_MOST_THREADS) {
    t->who[t->members] = (member){t, t->members};
    if (pthread_create(&t->threads[t->members], NULL, live, &t->who[t->members])) break;
    t->members++;
  }
  t->face = (eq_threads){t->members + 1, run, t};
  return &t->face;
}

void eql_team_close(eq_threads *face) {
  if (!face) return;
  team *t = face->context;
  atomic_store(&t->closing, true);
  wake(t, &t->begin);
  for (unsigned i = 0; i < t->members; i++) pthread_join(t->threads[i], NULL);
  pthread_cond_destroy(&t->end);
  pthread_cond_destroy(&t->begin);
  pthread_mutex_destroy(&t->lock);
  free(t);
}

const char *eql_use_environment(void) {
  eq_allow_optional_isas();
  eq_use_kernels_file();
  const char *wanted = getenv("EDGEQ_ISA"), *threads = getenv("EDGEQ_THREADS");
  if (threads && !eql_thread_count(threads)) return "EDGEQ_THREADS is not a number from 1 to 256";
  if (!wanted || !*wanted) return NULL;
  for (int i = 0; i < EQ_ISA_COUNT; i++)
    if (!strcmp(wanted, eq_isa_name((eq_isa)i)) && eq_isa_select((eq_isa)i) == EQ_OK) return NULL;
  return "EDGEQ_ISA names an instruction set that this machine or build does not have";
}

unsigned eql_thread_count(const char *text) {
  char *end;
  const unsigned long count = strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && !*end && count <= EQL_MOST_THREADS ? (unsigned)count : 0;
}
