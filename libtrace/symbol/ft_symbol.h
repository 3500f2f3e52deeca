/* SPDX-License-Identifier: MIT */
/*
 * Symbols: from addresses in a recording to functions, source lines and inline chains
 *
 * Runs after a recording has been closed; what it finds is added to the recording, so that the file
 * can be read on a machine that has none of the program's files. Sources, best first: DWARF in the
 * module itself or in a split debug file (by build-id, then .gnu_debuglink; dwz supplements
 * followed), the symbol table, .gnu_debugdata, the dynamic symbol table. No network is used:
 * debuginfod is never asked.
 *
 * A name is only given when the file on disk is the build that ran: build-ids must match (where
 * neither side has one, the file must be older than the recording). Otherwise the module counts as
 * "without symbols": a missing name is honest, a wrong one is not.
 */
#ifndef FT_SYMBOL_H
#define FT_SYMBOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ft_error.h"

/* All zero is a sensible set. */
struct ft_symbolize_options {
	/* Colon-separated roots of split debug files; NULL: "/usr/lib/debug". */
	const char *debug_dirs;

	/* Keep resolved addresses by build-id between runs. cache_dir NULL: $XDG_CACHE_HOME or
	 * $HOME/.cache, then fragtrace/symbols; without either no cache is used. */
	bool use_cache;
	const char *cache_dir;
	uint64_t cache_max_bytes; /* 0: 256 MiB; the least recently used files go first */

	unsigned max_seconds; /* 0: 60; what was found until then is kept */

	/*
	 * Read the ELF files in a forked worker. Damaged debug information that crashes or stalls
	 * the parser then costs the symbols of one module. Without it the time bound is looked at
	 * only between lookups.
	 */
	bool isolate;
	int nice; /* added to the worker's nice value */
};

struct ft_symbolize_result {
	uint64_t n_addresses;	       /* distinct (module, offset) pairs */
	uint64_t n_resolved;	       /* of them, those that have a function name */
	uint64_t n_with_line;	       /* of them, those that have a source line */
	uint64_t n_cached;	       /* of n_addresses, those answered by the cache */
	uint64_t n_frames;	       /* rows written, inlined frames included */
	uint64_t n_outside;	       /* distinct program counters in no module */
	uint32_t n_modules;	       /* modules that any address lies in */
	uint32_t n_modules_unnamed;    /* of them, those where no address got a name, whatever the
					  cause */
	uint32_t n_modules_missing;    /* of the modules: the file is gone */
	uint32_t n_modules_mismatched; /* the file is another build now */
	uint32_t n_modules_damaged;    /* no readable ELF file, or the worker died on it */
	bool timed_out;
	double seconds;
};

/*
 * Resolve the stacks and thread start routines of the recording at `path` and add the names to it.
 *
 * Fails with FT_ERROR_BUSY while the recording's writer lives. On failure nothing has been added.
 * `options` and `result` may be NULL.
 */
struct ft_error *ft_symbolize(const char *path, const struct ft_symbolize_options *options,
			      struct ft_symbolize_result *result);

struct ft_reader;
struct ft_symbol_row;

/*
 * The names of what lies on these stacks, and their callers', without writing them anywhere: for a
 * recording that is still being made. Rows come by module and offset, innermost first; what is in
 * them is gone when `visit` returns. `options` may be NULL.
 */
struct ft_error *ft_symbolize_stacks(struct ft_reader *reader, const uint32_t *stacks, size_t n,
				     const struct ft_symbolize_options *options,
				     struct ft_error *(*visit)(void *ctx,
							       const struct ft_symbol_row *row),
				     void *ctx);

/*
 * The readable form of a C++ or Rust (legacy and v0) symbol name, or NULL if `mangled` is none;
 * malloc'ed. Cut after about 8 KiB.
 */
char *ft_demangle(const char *mangled);

#endif
