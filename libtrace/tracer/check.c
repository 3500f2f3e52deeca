/* SPDX-License-Identifier: MIT */
/* The self-check: see tr_check.h. */
#include "tr_check.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include "tr_record.h"
#include "tr_unwind.h"

enum { N_REPORTED = 16, FRAMES_SHOWN = 4 };

static uint64_t count(_Atomic uint64_t *counter)
{
	return atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The pc of frame `i`, innermost 0, of a stack of `n` frames in the trie. */
static uintptr_t frame_of(uint32_t node, size_t i)
{
	while (i--)
		node = tr_session.nodes[node].parent;
	return (uintptr_t)tr_session.nodes[node].pc;
}

/* " libc.so.6+0x2345", or the address alone where no module is. */
static char *append_pc(char *at, const char *end, uintptr_t pc)
{
	struct dl_find_object object;
	uintptr_t base = 0;

	at = tr_append(at, end, " ");
	if (_dl_find_object((void *)(pc - 1), &object) == 0 && object.dlfo_link_map) {
		const char *path = object.dlfo_link_map->l_name, *name = strrchr(path, '/');

		at = tr_append(at, end, name ? name + 1 : *path ? path : "program");
		at = tr_append(at, end, "+");
		base = object.dlfo_link_map->l_addr;
	}
	at = tr_append(at, end, "0x");
	return tr_append_number(at, end, pc - base, 16);
}

/* The frames around the first that differs; `n` and `n_reference` are the lengths. */
static void report(struct tr_lane *lane, uint32_t node, size_t n, const uintptr_t *reference,
		   size_t n_reference, size_t first, enum tr_walk_end end, uint64_t stamp)
{
	static const char *const ends[] = {
		[TR_WALK_COMPLETE] = "complete",
		[TR_WALK_UNKNOWN] = "unknown code",
		[TR_WALK_CUT] = "cut",
		[TR_WALK_UNSUPPORTED] = "unsupported rule",
	};
	char text[1024], *at = text;
	const char *limit = text + sizeof(text);
	size_t from = first > 1 ? first - 2 : 0;

	at = tr_append(at, limit, "unwind difference: frame ");
	at = tr_append_number(at, limit, first, 10);
	at = tr_append(at, limit, ", ended: ");
	at = tr_append(at, limit, ends[end]);
	at = tr_append(at, limit, "; own, of ");
	at = tr_append_number(at, limit, n, 10);
	at = tr_append(at, limit, ":");
	for (size_t i = from; i < n && i < from + FRAMES_SHOWN; i++)
		at = append_pc(at, limit, frame_of(node, i));
	at = tr_append(at, limit, "; libunwind, of ");
	at = tr_append_number(at, limit, n_reference, 10);
	at = tr_append(at, limit, ":");
	for (size_t i = from; i < n_reference && i < from + FRAMES_SHOWN; i++)
		at = append_pc(at, limit, reference[i]);
	tr_write_mark(lane, FT_WIRE_MARK_SELF_CHECK, text, stamp);
}

void tr_check_stack(struct tr_lane *lane, struct tr_regs regs, uint32_t node, enum tr_walk_end end,
		    uint64_t stamp)
{
	struct ft_segment_header *segment = tr_session.header;
	size_t n, n_reference, same = 0;
	bool gave_up;

	if (!node || node == FT_WIRE_RAW_STACK)
		return; /* the tree is full */
	n = tr_session.nodes[node].depth;
	n_reference =
		tr_unwind_reference(regs.rip, regs.rsp, lane->pcs, tr_settings.depth, &gave_up);
	for (uint32_t at = node; same < n && same < n_reference; same++) {
		if (tr_session.nodes[at].pc != lane->pcs[same])
			break;
		at = tr_session.nodes[at].parent;
	}
	count(&segment->n_checked);
	if (same == n && same == n_reference)
		return;
	if ((same == n && end == TR_WALK_UNKNOWN) || (same && same == n_reference && gave_up))
		count(&segment->n_explained);
	else if (count(&segment->n_differences) < N_REPORTED)
		report(lane, node, n, lane->pcs, n_reference, same, end, stamp);
}
