/* SPDX-License-Identifier: MIT */
/*
 * Run a program under the tracer, and be its collector
 *
 * tracee_run() listens on an abstract socket, runs the program with the library preloaded, takes
 * the segments of the program and its forked children, drains their rings all the while, and keeps
 * every record. What the program printed is kept too: test programs tell addresses as "name hex".
 */
#ifndef TRACEE_H
#define TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/event.h"
#include "ft_ring.h"

struct record {
	uint32_t ring, thread; /* thread: serial of the FT_WIRE_THREAD before it */
	unsigned n;	       /* words */
	uint64_t *words;
};

struct tracee_segment {
	int pid;
	struct ft_segment_header *header;
	size_t bytes;
	struct record *records; /* in the order of each ring; rings follow each other in time */
	size_t n_records, capacity;
	struct ft_ring_consumer *consumers;
	uint32_t *threads; /* serial that a ring's stream is at */
	uint32_t n_consumers;
};

struct tracee_options {
	char *const *environment; /* NAME=VALUE beside the inherited ones, or NULL */
	bool never_attach;	  /* take the hello, then look away */
	bool stop_reading;	  /* attach and beat, but do not read until the program has ended */
	bool no_socket;		  /* the program has to start a collector of its own */
	unsigned stop_after_ms;	  /* then neither beat nor read until the end; 0: never */
	unsigned pause_us;	  /* between two looks at the rings */
};

struct tracee {
	struct tracee_segment *segments[256];
	size_t n_segments;
	char output[1 << 20]; /* stdout and stderr */
	size_t n_output;
	int status; /* of waitpid() */
	double seconds;
};

/* Fails the test if the program can't be run. */
struct tracee *tracee_run(const char *const argv[], const struct tracee_options *options);
void tracee_free(struct tracee *tracee);

/* The number that the program printed behind `name`; fails the test if there is none. */
uint64_t tracee_number(const struct tracee *tracee, const char *name);

/* The first record at or after index `from` of that type (and address, if it is not 0);
 * SIZE_MAX if there is none. */
size_t tracee_find(const struct tracee_segment *segment, size_t from, enum ft_wire_type type,
		   uint64_t address);

uint64_t record_address(const struct record *record); /* ALLOC, FREE: the block; REALLOC: new */
uint64_t record_usable(const struct record *record);

/* Does the stack of the record's event go through code in [start, start + bytes)? */
bool tracee_through(const struct tracee_segment *segment, const struct record *record,
		    uint64_t start, uint64_t bytes);
unsigned tracee_depth(const struct tracee_segment *segment, const struct record *record);

#endif
