/* SPDX-License-Identifier: MIT */
/*
 * Sizes, rates and times for people
 *
 * IEC units, three significant digits. Each function writes into `out` and returns it, so that it
 * can stand among the arguments of a printf.
 */
#ifndef FA_FORMAT_H
#define FA_FORMAT_H

#include <stdint.h>

struct fa_text {
	char s[32];
};

const char *fa_format_bytes(uint64_t bytes, struct fa_text *out);    /* "812 MiB", "96 B" */
const char *fa_format_count(uint64_t count, struct fa_text *out);    /* "100.2 M", "1 024" */
const char *fa_format_rate(double bytes_per_s, struct fa_text *out); /* "11.9 MiB/h", "2 KiB/s" */
const char *fa_format_time(uint64_t time_ns, struct fa_text *out); /* "11h58m", "3.02 s", "14 ms" */

#endif
