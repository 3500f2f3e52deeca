/* SPDX-License-Identifier: MIT */
/* Memory that is visited at random: in huge pages where it is large and the kernel has them. */
#ifndef FA_HUGE_H
#define FA_HUGE_H

#include <stddef.h>

/* `size` bytes, not zeroed, at a cache line; for free(). NULL when out of memory. */
void *fa_alloc_huge(size_t size);

#endif
