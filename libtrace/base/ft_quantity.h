/* SPDX-License-Identifier: MIT */
/* Sizes and times as users write them. */
#ifndef FT_QUANTITY_H
#define FT_QUANTITY_H

#include <stdint.h>

/* "64MiB", "2G", "512k", "1000": bytes; letters mean powers of 1024. 0: no such size. */
uint64_t ft_parse_size(const char *text);

/* "3d", "12h", "1h30m", "90s", "90": nanoseconds. 0: no such time. */
uint64_t ft_parse_duration(const char *text);

#endif
