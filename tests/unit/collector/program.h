/* SPDX-License-Identifier: MIT */
/*
 * A traced program without a program: a segment, and the producers' side of its rings
 *
 * Stamps are nanoseconds of CLOCK_MONOTONIC. A test begins at program_time 0, some time in the
 * past, so that a sequence of events needs no waiting.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdint.h>

#include "co_segment.h"
#include "co_session.h"
#include "co_spill.h"
#include "co_write.h"
#include "ft_ring.h"

struct program {
	int memfd;
	char *base; /* the program's own mapping, of `size` bytes */
	uint64_t size;
	struct ft_segment_header *header;
	struct ft_ring_header *rings;
	struct ft_segment_node *nodes;
	struct ft_ring_producer producers[64];
	uint64_t last_stamps[64]; /* of the last record of each ring */
	uint32_t n_nodes;
	uint64_t start; /* stamp of time 0 */

	/* The collector's side. */
	struct co_spill spill;
	struct co_session *session;
	struct co_write *write;
};

enum { PROGRAM_NODES = 1 << 16 };

/* A program of `n_rings` threads (serial = ring + 1), attached to a collector of its own. */
void program_init(struct program *program, unsigned n_rings, uint64_t ring_bytes);
void program_deinit(struct program *program);

/* Only the segment, valid; for tests that break it first. */
void program_init_segment(struct program *program, unsigned n_rings, uint64_t ring_bytes);
void program_attach(struct program *program);

/* A node of the trie; returns its id. */
uint32_t program_node(struct program *program, uint32_t parent, uint64_t pc);

/* Records, in their short form where they have one; false when the ring is full. Stamps are
 * relative to the start. */
bool program_alloc(struct program *program, unsigned ring, uint64_t at, uint64_t address,
		   uint64_t size, uint32_t stack);
bool program_free(struct program *program, unsigned ring, uint64_t at, uint64_t address);
bool program_realloc(struct program *program, unsigned ring, uint64_t early, uint64_t late,
		     uint64_t old, uint64_t address, uint64_t size, uint32_t stack);
bool program_put(struct program *program, unsigned ring, const uint64_t *words, unsigned n);

/* Passes and writes until nothing moves. */
void program_settle(struct program *program);

/* The program has ended: everything is written. */
void program_end(struct program *program, enum co_end_kind kind, int code);

#endif
