/* SPDX-License-Identifier: MIT */
/*
 * Synthetic heap traffic with a virtual clock
 *
 * A small model of a program and its allocator: sites with their own sizes and life times, threads
 * that take turns, freed blocks handed out again last-in first-out by size class as thread caches
 * do. The same seed gives the same events. For tests and benchmarks; real traces differ.
 */
#ifndef SYNTH_H
#define SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fragtrace/store.h"

struct synth_options {
	uint64_t seed;
	uint64_t mean_gap_ns; /* between events; 0: 400 */
	size_t n_live;	      /* live blocks it levels off at; 0: 10000 */
	uint32_t n_sites;     /* 0: 200 */
	uint32_t n_threads;   /* 0: 1 */
	uint32_t leak_every;  /* every so many births of site 1 one is never freed; 0: none */
};

struct synth;

struct synth *synth_create(const struct synth_options *options); /* aborts when out of memory */
void synth_destroy(struct synth *synth);

/* The stack trie: nodes 1 to n; site `i` (0 to n_sites - 1) is the stack synth_site_stack(i). */
size_t synth_n_nodes(const struct synth *synth);
struct ft_stack_node synth_node(const struct synth *synth, size_t index);
uint32_t synth_site_stack(const struct synth *synth, uint32_t site);

/* The next event; seq is set. */
void synth_next(struct synth *synth, struct ft_event *event);

#endif
