/* SPDX-License-Identifier: MIT */
/* Sizes, rates and times for people: see fa_format.h. */
#include "fa_format.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Three significant digits. */
static const char *scaled(double value, const char *unit, struct fa_text *out)
{
	double size = fabs(value);
	int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;

	snprintf(out->s, sizeof(out->s), "%.*f %s", decimals, value, unit);
	return out->s;
}

const char *fa_format_bytes(uint64_t bytes, struct fa_text *out)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(out->s, sizeof(out->s), "%" PRIu64 " B", bytes);
		return out->s;
	}
	for (; value >= 1023.5 && unit < 5; unit++)
		value /= 1024;
	return scaled(value, units[unit], out);
}

const char *fa_format_count(uint64_t count, struct fa_text *out)
{
	static const char *const units[] = {"k", "M", "G", "T"};
	double value = (double)count / 1000;
	unsigned unit = 0;

	if (count < 10000) {
		snprintf(out->s, sizeof(out->s), "%" PRIu64, count);
		return out->s;
	}
	for (; value >= 999.5 && unit < 3; unit++)
		value /= 1000;
	return scaled(value, units[unit], out);
}

const char *fa_format_rate(double bytes_per_s, struct fa_text *out)
{
	/* The unit of time in which the number is at least a kibibyte. */
	static const struct {
		double seconds;
		const char *name;
	} spans[] = {{1, "s"}, {60, "min"}, {3600, "h"}, {86400, "d"}};
	unsigned span = 0;
	struct fa_text bytes;

	if (fabs(bytes_per_s) * spans[3].seconds < 0.5) {
		snprintf(out->s, sizeof(out->s), "0 B/s");
		return out->s;
	}
	while (span < 3 && fabs(bytes_per_s) * spans[span].seconds < 1024)
		span++;
	snprintf(
		out->s, sizeof(out->s), "%s%s/%s", bytes_per_s < 0 ? "-" : "",
		fa_format_bytes((uint64_t)llround(fabs(bytes_per_s) * spans[span].seconds), &bytes),
		spans[span].name);
	return out->s;
}

const char *fa_format_time(uint64_t time_ns, struct fa_text *out)
{
	double seconds = (double)time_ns / 1e9;
	uint64_t whole = time_ns / UINT64_C(1000000000);

	if (time_ns < 1000)
		snprintf(out->s, sizeof(out->s), "%" PRIu64 " ns", time_ns);
	else if (time_ns < 999500)
		return scaled(seconds * 1e6, "us", out);
	else if (time_ns < 999500000)
		return scaled(seconds * 1e3, "ms", out);
	else if (whole < 100)
		return scaled(seconds, "s", out);
	else if (whole < 3600)
		snprintf(out->s, sizeof(out->s), "%" PRIu64 "m%02" PRIu64 "s", whole / 60,
			 whole % 60);
	else if (whole < 100 * 3600)
		snprintf(out->s, sizeof(out->s), "%" PRIu64 "h%02" PRIu64 "m", whole / 3600,
			 whole / 60 % 60);
	else
		snprintf(out->s, sizeof(out->s), "%" PRIu64 "d%02" PRIu64 "h", whole / 86400,
			 whole / 3600 % 24);
	return out->s;
}
