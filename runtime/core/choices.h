/* Asked by operators: a choice for the instruction set in use. */
#ifndef EQ_CORE_CHOICES_H
#define EQ_CORE_CHOICES_H

#include "edgeq/choices.h"

uint32_t eq_choice(eq_choice_id id);

#endif
