/* SPDX-License-Identifier: MIT */
/*
 * An ELF file with everything that explains its addresses
 *
 * ft_object_open() finds the file and its split debug file and proves that they belong together; it
 * parses no DWARF, so that a cache can be asked in between. ft_object_resolve() does the work.
 * Addresses are ELF virtual addresses of the file (run-time address - bias).
 */
#ifndef FT_SYMBOL_OBJECT_H
#define FT_SYMBOL_OBJECT_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>

#include "frames.h"

enum ft_object_status {
	FT_OBJECT_OK,
	FT_OBJECT_MISSING,    /* no file at the path, and none with its build-id elsewhere */
	FT_OBJECT_MISMATCHED, /* there is a file, and it is another build */
	FT_OBJECT_DAMAGED,    /* there is a file, and it is no ELF file */
};

/* What must be true of the file. */
struct ft_object_identity {
	const char *path;
	const char *build_id;	       /* lower-case hex; NULL: it had none */
	int64_t not_after_realtime_ns; /* without a build-id: the file must not be newer; 0: any */
};

struct ft_range {
	uint64_t start, end; /* end exclusive */
};

struct ft_symtab_entry {
	uint64_t start, end; /* end == start: the size is unknown, see limit */
	uint64_t limit;	     /* end of the section */
	uint64_t max_end;    /* highest end among this entry and those before it */
	const char *name;    /* libelf's */
	uint8_t rank;	     /* among symbols of the same start, the lowest wins */
};

struct ft_object {
	const char *debug_dirs;
	char *path;	  /* the file that was opened */
	char *debug_path; /* split debug file, or NULL */
	int fd;		  /* of path; -1 once libdwfl has it */
	Dwfl *dwfl;
	Dwfl_Module *module;
	Dwarf *dwarf; /* libdwfl's; NULL: there is none */
	Dwarf *alt;   /* dwz supplement, or NULL */
	int alt_fd;
	bool incomplete; /* a file that has names could not be read: answers aren't worth keeping */
	Dwarf_Addr main_bias;  /* libdwfl address - ELF address */
	Dwarf_Addr dwarf_bias; /* libdwfl address - DWARF address */
	struct ft_range *text; /* executable segments */
	size_t n_text;
	struct ft_symtab_entry *symbols; /* sorted by start; loaded on first use */
	size_t n_symbols;
	bool symbols_loaded;
	char *debuglink; /* name in .gnu_debuglink, or NULL */
	GElf_Word debuglink_crc;
	double deadline; /* CLOCK_MONOTONIC seconds; 0: none */
	bool timed_out;
};

/* A question: the frames of the code at `address`, to be kept under `offset`. */
struct ft_lookup {
	uint64_t offset;
	uint64_t address;
};

/* `object` is to be closed whatever is returned; debug_dirs is borrowed until then. */
enum ft_object_status ft_object_open(struct ft_object *object,
				     const struct ft_object_identity *identity,
				     const char *debug_dirs);
void ft_object_close(struct ft_object *object);

/* What the answers depend on besides the build-id: files, sizes, times. malloc'ed; NULL if unknown.
 */
char *ft_object_fingerprint(const struct ft_object *object);

/* Answer all lookups (sorted by address) into `table`, one entry each, frames or not. After a
 * time-out the rest has no entries and object->timed_out is set. */
void ft_object_resolve(struct ft_object *object, const struct ft_lookup *lookups, size_t n,
		       struct ft_frame_table *table);

/* ---- between object.c, symtab.c and dwarf.c -------------------------------------------------- */

/* Whether the deadline has passed; remembers it. */
bool ft_object_late(struct ft_object *object);

bool ft_object_in_text(const struct ft_object *object, uint64_t address);

/* The symbol that holds `address`, or NULL. `starts` demands that it begins there. */
const char *ft_symtab_find(struct ft_object *object, uint64_t address, bool starts);

struct ft_dwarf_answer {
	uint32_t first, n; /* frames in `frames` of the walk, innermost first */
	const char *file;  /* source position of the address itself, also without a function */
	uint32_t line;
};

struct ft_dwarf_walk {
	struct ft_dwarf_answer *answers; /* by lookup */
	struct ft_frame *frames;
	size_t n_frames, max_frames;
};

/* Fill `walk` (answers allocated and zeroed by the caller). Strings go to the table's pool. */
void ft_dwarf_resolve(struct ft_object *object, const struct ft_lookup *lookups, size_t n,
		      struct ft_dwarf_walk *walk, struct ft_frame_table *table);

#endif
