/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the programs that are counted twice: time() stands still
 *
 * libxml2 seeds the hash of its dictionaries with time(), and a collision costs an allocation of 48
 * bytes: the same command allocates differently from second to second.
 */
#include <time.h>

time_t time(time_t *where)
{
	if (where)
		*where = 1000000000;
	return 1000000000;
}
