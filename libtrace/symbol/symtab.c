/* SPDX-License-Identifier: MIT */
/*
 * Function symbols of a module, sorted
 *
 * libdwfl merges the symbol table, the one in .gnu_debugdata and the dynamic one, but looks an
 * address up by reading all symbols. A recording asks for thousands of addresses, so that they are
 * sorted once.
 *
 * A sized symbol names what it spans and nothing after it. A symbol without a size (assembler)
 * reaches to the next symbol of its section.
 */
#include <gelf.h>
#include <stdlib.h>
#include <string.h>

#include "object.h"

/* Of the names of one address the one that people know: global before weak before local, few
 * underscores (malloc, not __libc_malloc). */
static uint8_t rank_of(const GElf_Sym *sym, const char *name)
{
	unsigned binding = GELF_ST_BIND(sym->st_info);
	unsigned rank = binding == STB_LOCAL ? 32 : binding == STB_WEAK ? 16 : 0;
	size_t underscores = strspn(name, "_");

	return (uint8_t)(rank + (underscores < 15 ? underscores : 15));
}

static bool is_code(const GElf_Sym *sym)
{
	switch (GELF_ST_TYPE(sym->st_info)) {
	case STT_FUNC:
	case STT_GNU_IFUNC:
		return true;
	case STT_NOTYPE:
		return GELF_ST_BIND(sym->st_info) != STB_LOCAL;
	default:
		return false;
	}
}

static int compare_symbols(const void *a, const void *b)
{
	const struct ft_symtab_entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return strcmp(x->name, y->name);
}

static uint64_t section_end(Elf *elf, size_t index)
{
	GElf_Shdr shdr;
	Elf_Scn *section = elf ? elf_getscn(elf, index) : NULL;

	return section && gelf_getshdr(section, &shdr) ? shdr.sh_addr + shdr.sh_size : 0;
}

static void load_symbols(struct ft_object *object)
{
	object->symbols_loaded = true;
	int n = object->module ? dwfl_module_getsymtab(object->module) : 0;
	if (n <= 0)
		return;
	struct ft_symtab_entry *symbols = calloc((size_t)n, sizeof(*symbols));
	if (!symbols)
		return;

	size_t n_kept = 0;
	for (int i = 1; i < n; i++) {
		GElf_Sym sym;
		GElf_Addr address;
		GElf_Word section;
		Elf *elf = NULL;
		const char *name = dwfl_module_getsym_info(object->module, i, &sym, &address,
							   &section, &elf, NULL);
		if (!name || !*name || !is_code(&sym) || sym.st_shndx == SHN_UNDEF)
			continue;
		uint64_t start = address - object->main_bias;
		if (!ft_object_in_text(object, start) || start + sym.st_size < start)
			continue;
		symbols[n_kept++] = (struct ft_symtab_entry){
			.start = start,
			.end = start + sym.st_size,
			.name = name,
			.limit = sym.st_size ? 0 : section_end(elf, section),
			.rank = rank_of(&sym, name),
		};
	}
	qsort(symbols, n_kept, sizeof(*symbols), compare_symbols);
	uint64_t max_end = 0;
	for (size_t i = 0; i < n_kept; i++) {
		if (symbols[i].end > max_end)
			max_end = symbols[i].end;
		symbols[i].max_end = max_end;
	}
	object->symbols = symbols;
	object->n_symbols = n_kept;
}

/* Index after the last symbol that starts at or below `address`. */
static size_t upper_bound(const struct ft_object *object, uint64_t address)
{
	size_t low = 0, high = object->n_symbols;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (object->symbols[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const char *ft_symtab_find(struct ft_object *object, uint64_t address, bool starts)
{
	if (!object->symbols_loaded)
		load_symbols(object);

	/* Back from the nearest start: the innermost sized symbol that spans the address wins. */
	const struct ft_symtab_entry *best = NULL;
	size_t after = upper_bound(object, address);
	for (size_t i = after; i-- > 0;) {
		const struct ft_symtab_entry *symbol = &object->symbols[i];
		if (best && symbol->start != best->start)
			break;
		if (!best && symbol->max_end <= address)
			break;
		if (symbol->end > address)
			best = symbol; /* equal starts are sorted best first: the last seen wins */
	}

	if (!best && after > 0) {
		const struct ft_symtab_entry *last = &object->symbols[after - 1];
		while (last > object->symbols && last[-1].start == last->start)
			last--;
		if (last->end == last->start && address < last->limit)
			best = last;
	}
	if (!best || (starts && best->start != address))
		return NULL;
	return best->name;
}
