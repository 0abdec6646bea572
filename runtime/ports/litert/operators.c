/* The table of all operators. */
#include "operators.h"

#include <string.h>

static const eql_entry *const tables[] = {eql_attention_operators, eql_binary_operators, eql_glue_operators,
                                          eql_integer_operators,   eql_plane_operators,  eql_token_operators,
                                          eql_uniform_operators};

const eql_entry *eql_entry_at(size_t index) {
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    for (const eql_entry *e = tables[i]; e->name; e++)
      if (index-- == 0) return e;
  return NULL;
}

const eql_entry *eql_find(const char *name) {
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
    for (const eql_entry *e = tables[i]; e->name; e++)
      if (!strcmp(e->name, name)) return e;
  return NULL;
}
