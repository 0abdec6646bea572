/* A run over files that may be killed at any moment: live METHOD FOLDER. Started again it goes on; 0 when committed. */
#include "net.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Alignas(8) uint8_t memory[NET_MEMORY];
static const char *folder;

static int area(uint32_t number) {
  char path[512];
  snprintf(path, sizeof path, "%s/%u", folder, number);
  return open(path, O_RDWR | O_CREAT, 0600);
}

static eq_tune_status serve(const eq_tune_request *r) {
  const int file = area((uint32_t)r->area);
  const off_t at = (off_t)r->offset;
  bool fine = file >= 0;
  if (fine && r->kind == EQ_TUNE_READ)
    fine = pread(file, r->into, r->bytes, at) == (ssize_t)r->bytes;
  else if (fine && r->kind == EQ_TUNE_WRITE)
    fine = pwrite(file, r->from, r->bytes, at) == (ssize_t)r->bytes;
  else if (fine && r->kind == EQ_TUNE_ERASE)
    fine = ftruncate(file, 0) == 0;
  close(file);
  return fine ? EQ_TUNE_OK : EQ_TUNE_STORE_FAILED;
}

int main(int count, char **arguments) {
  static net_plan net;
  eq_tune *tune;
  eq_tune_request request;
  if (count != 3) return 2;
  folder = arguments[2];
  net_make(&net, (eq_tune_method)atoi(arguments[1]));
  net.plan.settings.steps = net.plan.settings.head_steps = 3000;
  net.plan.settings.converged = 1000;
  net.plan.settings.flags |= EQ_TUNE_UNGUARDED;
  if (eq_tune_open(&tune, &net.plan, memory, sizeof memory) != EQ_TUNE_OK) return 3;
  while (eq_tune_next(tune, &request) == EQ_TUNE_OK && request.kind != EQ_TUNE_DONE) {
    if (request.kind == EQ_TUNE_PROGRESS) continue;
    eq_tune_status status;
    if (request.kind == EQ_TUNE_FORWARD) {
      const eq_tune_outputs outputs = net_forward(&request, false);
      status = eq_tune_reply(tune, &outputs);
    } else
      status = eq_tune_reply_store(tune, serve(&request));
    if (status != EQ_TUNE_OK) return 4;
  }
  return request.outcome == EQ_TUNE_COMMITTED ? 0 : 5;
}
