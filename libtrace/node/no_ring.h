/* SPDX-License-Identifier: MIT */
/*
 * Pages of the kernel's trace buffer, decoded
 *
 * What trace_pipe_raw gives, a page at a time (Documentation/trace/ring-buffer-map.rst, and
 * include/linux/ring_buffer.h of Linux): a header of a time stamp and the number of bytes that
 * follow, then records of a 32-bit word (5 bits of type and length, 27 of time since the record
 * before) and data. Data of an event begin with its number. Pure; any bytes may come.
 */
#ifndef NO_RING_H
#define NO_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/node.h"
#include "no_parse.h"

enum { NO_EVENT_NAMES = 10 };

/* "kmem/mm_page_alloc" and so on, in the order of enum ft_node_event_kind, without the first. */
extern const char *const no_event_names[NO_EVENT_NAMES];

/* Where an event's fields are; `has`: the kernel has the event, with all that is needed. */
struct no_layout {
	bool has;
	uint32_t id;
	struct no_slot {
		uint32_t offset, size; /* size 0: there is no such field */
	} pfn, order, type, other_type, n, flag;
};

/* Which fields of the event mean what. False: not as expected, and the event can't be used. */
bool no_layout_make(enum ft_node_event_kind kind, const struct no_format *format,
		    struct no_layout *ret);

struct no_page_facts {
	uint64_t missed; /* events that the kernel says were overwritten before; 1: an unknown
			    number */
	size_t n_bad; /* records that were not understood; what follows one on its page is lost */
};

/* Decode one page of `len` bytes. Events that are none of `layouts` (which has an entry for each
 * kind) are passed over. Times are those of the trace's clock. */
void no_ring_page(const uint8_t *page, size_t len,
		  const struct no_layout layouts[FT_NODE_EVENT_KINDS], uint16_t cpu,
		  void (*visit)(void *ctx, const struct ft_node_event *event), void *ctx,
		  struct no_page_facts *facts);

#endif
