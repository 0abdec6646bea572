/* Which kernels run: asked once per call by every operator. */
#ifndef EQ_CORE_ISA_H
#define EQ_CORE_ISA_H

#include "edgeq/ops.h"
#include "kernels.h"

/* The kernels of the set in use; NULL: the reference. */
const eq_kernels *eq_kernels_current(void);

#endif
