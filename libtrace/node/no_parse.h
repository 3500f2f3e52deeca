/* SPDX-License-Identifier: MIT */
/*
 * The kernel's texts about memory, parsed
 *
 * Pure functions: a text in, a callback for each thing that was understood. Any bytes may come;
 * lines that are none of ours are passed over and counted, so that a kernel that says more than we
 * know is no error. Texts need no NUL at their end. Names longer than the room for them are cut.
 */
#ifndef NO_PARSE_H
#define NO_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NO_ORDERS = 11, NO_NAME = 32, NO_TYPES = 8 };

struct no_zone_name {
	int64_t node;
	char zone[NO_NAME];
};

/* A line with a figure for each order. Orders above 10 are added to it as blocks of order 10. */
struct no_orders_line {
	struct no_zone_name zone;
	char type[NO_NAME]; /* "" where the file has none */
	int64_t n[NO_ORDERS];
};
typedef void no_orders_fn(void *ctx, const struct no_orders_line *line);

/* /proc/buddyinfo. Returns the number of lines that were not understood, as all of these. */
size_t no_parse_buddyinfo(const char *text, size_t len, no_orders_fn *visit, void *ctx);

/* debugfs extfrag/unusable_index and extfrag/extfrag_index: thousandths, -1000 for "-1.000". */
size_t no_parse_extfrag(const char *text, size_t len, no_orders_fn *visit, void *ctx);

/* /proc/pagetypeinfo: free blocks by type, and pageblocks of each type. A count that the kernel cut
 * off (">100000") is the number that it says. */
struct no_block_line {
	struct no_zone_name zone;
	char type[NO_NAME];
	uint64_t n;
};
typedef void no_block_fn(void *ctx, const struct no_block_line *line);
size_t no_parse_pagetypeinfo(const char *text, size_t len, no_orders_fn *visit,
			     no_block_fn *visit_block, void *ctx, uint64_t *pageblock_order);

/*
 * /proc/zoneinfo: "free", "boost", "min", "low", "high", "spanned", "present", "managed",
 * "start_pfn", the nr_* of a zone, and of its per-cpu lists "pcp.count" (of all cpus), "pcp.high",
 * "pcp.batch", "pcp.high_min", "pcp.high_max" (of the last cpu). Statistics of the node, which
 * stand in its first zone, are left out.
 */
typedef void no_zone_fn(void *ctx, const struct no_zone_name *zone, const char *key,
			uint64_t value);
size_t no_parse_zoneinfo(const char *text, size_t len, no_zone_fn *visit, void *ctx);

/* "key value" (vmstat) or "key: value kB" (meminfo): lines of a name and a whole number. */
typedef void no_key_fn(void *ctx, const char *key, int64_t value);
size_t no_parse_keys(const char *text, size_t len, no_key_fn *visit, void *ctx);

/* /proc/pressure/memory: "some.avg10" in hundredths, "some.total" in microseconds, and of "full".
 */
size_t no_parse_pressure(const char *text, size_t len, no_key_fn *visit, void *ctx);

/* /proc/slabinfo, version 2.1 */
struct no_slab_line {
	char cache[NO_NAME * 2];
	uint64_t active_objects, objects, object_bytes, objects_per_slab, pages_per_slab, slabs;
};
typedef void no_slab_fn(void *ctx, const struct no_slab_line *line);
size_t no_parse_slabinfo(const char *text, size_t len, no_slab_fn *visit, void *ctx);

/* events/.../format of tracefs: the number of the event, and where its fields are. */
struct no_field {
	char name[NO_NAME];
	uint32_t offset, size;
};
struct no_format {
	uint32_t id;
	struct no_field fields[24];
	size_t n;
};
/* False: it has no ID. Fields of a common header are left out. */
bool no_parse_format(const char *text, size_t len, struct no_format *ret);
/* NULL: there is none of that name. */
const struct no_field *no_format_field(const struct no_format *format, const char *name);

/* The figure behind "KEY:" in per_cpu/cpuN/stats; 0 if it is not there. */
uint64_t no_parse_stat(const char *text, size_t len, const char *key);

#endif
