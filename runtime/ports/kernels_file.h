/* What hosts with files do when they start: the choices of kernels that `edgeq bench kernels --tune` stored.
 * The file is kernels.txt in EdgeQ's home ($EDGEQ_HOME, else the platform's folder for user data), or what
 * EDGEQ_KERNELS names; empty: none. A file that is no table is told on standard error, and what is built in stays. */
#ifndef EDGEQ_PORTS_KERNELS_FILE_H
#define EDGEQ_PORTS_KERNELS_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "edgeq/choices.h"

/* false: there is nowhere to look. */
static inline bool eq_kernels_path(char *path, size_t size) {
  const char *named = getenv("EDGEQ_KERNELS"), *home = getenv("EDGEQ_HOME"), *user = getenv("HOME");
  int length = -1;
  if (named) {
    length = snprintf(path, size, "%s", named);
  } else if (home && *home) {
    length = snprintf(path, size, "%s/kernels.txt", home);
#ifdef __APPLE__
  } else if (user && *user) {
    length = snprintf(path, size, "%s/Library/Application Support/edgeq/kernels.txt", user);
#else
  } else if (getenv("XDG_DATA_HOME") && *getenv("XDG_DATA_HOME")) {
    length = snprintf(path, size, "%s/edgeq/kernels.txt", getenv("XDG_DATA_HOME"));
  } else if (user && *user) {
    length = snprintf(path, size, "%s/.local/share/edgeq/kernels.txt", user);
#endif
  }
  return length > 0 && (size_t)length < size;
}

static inline void eq_use_kernels_file(void) {
  char path[4096];
  char text[EQ_CHOICES_BYTES + 1];
  struct stat found;
  if (!eq_kernels_path(path, sizeof path) || stat(path, &found) != 0) return;
  FILE *file = S_ISREG(found.st_mode) ? fopen(path, "rb") : NULL;
  uint32_t line = 1;
  const size_t bytes = file ? fread(text, 1, sizeof text, file) : 0;
  if (file) fclose(file);
  if (!file || eq_choices_read(text, bytes, &line) != EQ_OK)
    fprintf(stderr,
            "edgeq: %s: line %u is not of a table of kernels; using those built in (edgeq bench kernels --tune)\n",
            path, (unsigned)line);
}

#endif
