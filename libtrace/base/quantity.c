/* SPDX-License-Identifier: MIT */
/* Sizes and times: see ft_quantity.h. */
#include "ft_quantity.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Digits; NULL: there are none, or too many. */
static const char *take_number(const char *text, uint64_t *ret)
{
	const char *at = text;

	*ret = 0;
	for (; isdigit((unsigned char)*at); at++) {
		if (*ret > UINT64_MAX / 100)
			return NULL;
		*ret = *ret * 10 + (uint64_t)(*at - '0');
	}
	return at > text ? at : NULL;
}

uint64_t ft_parse_size(const char *text)
{
	static const char letters[] = "kmgt";
	uint64_t value;
	const char *at = take_number(text, &value), *letter;
	unsigned shift = 0;

	if (!at)
		return 0;
	letter = *at ? strchr(letters, tolower((unsigned char)*at)) : NULL;
	if (letter) {
		shift = 10 * (unsigned)(letter - letters + 1);
		at++;
	}
	if (*at && strcasecmp(at, "b") != 0 && (!letter || strcasecmp(at, "ib") != 0))
		return 0;
	return value <= UINT64_MAX >> shift >> 1 ? value << shift : 0;
}

uint64_t ft_parse_duration(const char *text)
{
	static const struct {
		char letter;
		uint64_t seconds;
	} units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
	const uint64_t most = UINT64_C(9000000000); /* seconds; nanoseconds fit into an int64_t */
	uint64_t sum = 0, value;
	size_t unit = 0;

	while (*text) {
		text = take_number(text, &value);
		if (!text)
			return 0;
		while (unit < 4 && *text && units[unit].letter != *text)
			unit++;
		if (unit == 4 || (!*text && sum))
			return 0;
		if (!*text)
			unit = 3;
		if (value > most / units[unit].seconds)
			return 0;
		sum += value * units[unit++].seconds;
		text += *text != 0;
	}
	return sum <= most ? sum * UINT64_C(1000000000) : 0;
}
