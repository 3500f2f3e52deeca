/* SPDX-License-Identifier: MIT */
/*
 * The little that is read of ELF files: enough to say what a file is and where it was loaded
 */
#ifndef CO_ELF_H
#define CO_ELF_H

#include <stdbool.h>
#include <stdint.h>

enum co_elf_class {
	CO_ELF_NONE,	/* no ELF file, or a damaged one */
	CO_ELF_FOREIGN, /* of another machine, word size or byte order */
	CO_ELF_NATIVE,
};

enum { CO_ELF_MAX_LOADS = 16 };

struct co_elf {
	enum co_elf_class kind;
	bool has_interp; /* dynamically linked: LD_PRELOAD has an effect */
	char build_id[129];
	unsigned n_loads;
	struct {
		uint64_t offset, vaddr, memsz;
	} loads[CO_ELF_MAX_LOADS];
};

/* Read what is at the beginning of `path`. False if it can't be opened. */
bool co_elf_read(const char *path, struct co_elf *elf);

/* Run-time address minus ELF address, when file offset `offset` is mapped at `start`. */
bool co_elf_bias(const struct co_elf *elf, uint64_t start, uint64_t offset, uint64_t *bias);

#endif
