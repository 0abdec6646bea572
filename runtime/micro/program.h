/* Between the files of the runtime. */
#ifndef EQM_PROGRAM_H
#define EQM_PROGRAM_H

#include "reader.h"

enum { EQM_CALL_HEAD = 2 }; /* words before the arguments of a call in the workspace */

/* What remains of `text` behind the string in field `id`; NULL: that is no prefix of it. */
const char *eqm_match(eqm_reader *r, uint32_t table, unsigned id, const char *text);
/* Operator number and argument vector (value numbers) of instruction i. */
eqm_vector eqm_arguments(eqm_method *m, uint32_t i, uint32_t *operator_index);

/* Decodes value `number` into its record, and what it lists, unless that is done. */
void eqm_decode(eqm_method *m, uint32_t number);
/* Where the first bytes of a mutable buffer lie in the file; 0: value `number` is none. */
uint32_t eqm_first_bytes(eqm_method *m, uint32_t number);

#endif
