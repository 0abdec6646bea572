/* Inputs of a tunable program that are read where the caller has them: those in memories of their own (id 2 and up). */
#ifndef EQM_BORROW_H
#define EQM_BORROW_H

#include "micro/micro.h"

/* Input i of a prepared method is read from `data`, 4-byte aligned, as large as the input, until the next call. Its
 * arena is not touched: any memory did for eqm_prepare. EQM_BAD_ARGUMENT: there is no such input, or it is the
 * planner's. */
eqm_status eqm_borrow(const eqm_method *method, uint32_t i, const void *data);

#endif
