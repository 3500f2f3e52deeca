/* SPDX-License-Identifier: MIT */
/*
 * Inline chains and source lines from DWARF
 *
 * Addresses are answered in bulk: find the unit of each by the units' own ranges (.debug_aranges is
 * absent from clang's output and incomplete in mixed programs), then walk each unit that is needed
 * once, then descend into each function that is needed. Units without an address are not parsed
 * beyond their first entry, so that the cost follows the addresses and not the file.
 *
 * DWARF is input: siblings must move forward, depth is bounded, and a range outside the executable
 * segments (what linkers leave of discarded functions) is ignored.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "ft_cleanup.h"
#include "ft_strbuf.h"
#include "ft_symbol.h"
#include "object.h"

enum {
	MAX_NESTING = 128,    /* of namespaces and types, and of inlined calls */
	MAX_RANGES = 1 << 20, /* of one entry */
	LATE_CHECK_ENTRIES = 4096,
};

struct unit {
	Dwarf_Die skeleton; /* has the lines */
	Dwarf_Die die;	    /* has the functions; another one with split DWARF */
};

struct unit_range {
	uint64_t low, high; /* DWARF addresses, as everywhere below */
	uint64_t max_high;  /* highest `high` among this range and those before it */
	size_t unit;
};

struct wanted {
	uint64_t address;
	size_t lookup;
	size_t unit; /* SIZE_MAX: none known */
	Dwarf_Die function;
	uint64_t function_bytes; /* 0: none found; smaller is closer */
};

struct walk {
	struct ft_object *object;
	struct ft_frame_table *table;
	struct ft_dwarf_walk *out;

	struct unit *units;
	size_t n_units, max_units;
	struct unit_range *ranges; /* sorted by low */
	size_t n_ranges, max_ranges;
	size_t *rangeless; /* units that don't say where their code is */
	size_t n_rangeless, max_rangeless;

	struct wanted *group; /* the addresses of the unit being walked, sorted by address */
	size_t n_group;
	struct ft_map scoped; /* function entry -> its scoped name */
	size_t n_entries;     /* entries seen, for looking at the clock now and then */
	bool failed;
};

static bool grow(void **array, size_t *max, size_t n, size_t element)
{
	if (n < *max)
		return true;
	size_t wanted = *max ? *max * 2 : 64;
	void *bigger = reallocarray(*array, wanted, element);
	if (!bigger)
		return false;
	*array = bigger;
	*max = wanted;
	return true;
}

static bool in_text(const struct walk *walk, uint64_t address)
{
	const struct ft_object *object = walk->object;

	return ft_object_in_text(object, address + object->dwarf_bias - object->main_bias);
}

static bool late(struct walk *walk)
{
	if (++walk->n_entries % LATE_CHECK_ENTRIES == 0)
		ft_object_late(walk->object);
	return walk->object->timed_out;
}

/* Step to the next sibling. DW_AT_sibling of a damaged file may point backwards. */
static bool next_sibling(Dwarf_Die *die)
{
	Dwarf_Off before = dwarf_dieoffset(die);

	return dwarf_siblingof(die, die) == 0 && dwarf_dieoffset(die) > before;
}

/* ---- units ----------------------------------------------------------------------------------- */

static bool add_unit(struct walk *walk, Dwarf_Die *die, Dwarf_Die *split)
{
	if (!grow((void **)&walk->units, &walk->max_units, walk->n_units, sizeof(*walk->units)))
		return false;
	size_t unit = walk->n_units++;
	walk->units[unit].skeleton = *die;
	walk->units[unit].die = split->addr ? *split : *die;

	Dwarf_Addr base, low, high;
	ptrdiff_t cursor = 0;
	bool any = false;
	for (int i = 0; i < MAX_RANGES; i++) {
		cursor = dwarf_ranges(die, cursor, &base, &low, &high);
		if (cursor <= 0)
			break;
		any = true;
		if (low >= high || !in_text(walk, low))
			continue;
		if (!grow((void **)&walk->ranges, &walk->max_ranges, walk->n_ranges,
			  sizeof(*walk->ranges)))
			return false;
		walk->ranges[walk->n_ranges++] =
			(struct unit_range){.low = low, .high = high, .unit = unit};
	}
	if (any)
		return true;
	if (!grow((void **)&walk->rangeless, &walk->max_rangeless, walk->n_rangeless,
		  sizeof(*walk->rangeless)))
		return false;
	walk->rangeless[walk->n_rangeless++] = unit;
	return true;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct unit_range *x = a, *y = b;

	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static void index_units(struct walk *walk)
{
	Dwarf_CU *cu = NULL;
	uint8_t type;
	Dwarf_Die die, split;

	while (!late(walk) &&
	       dwarf_get_units(walk->object->dwarf, cu, &cu, NULL, &type, &die, &split) == 0) {
		if (type != DW_UT_compile && type != DW_UT_skeleton)
			continue;
		if (!add_unit(walk, &die, &split)) {
			walk->failed = true;
			return;
		}
	}
	if (walk->n_ranges)
		qsort(walk->ranges, walk->n_ranges, sizeof(*walk->ranges), compare_ranges);
	uint64_t max_high = 0;
	for (size_t i = 0; i < walk->n_ranges; i++) {
		if (walk->ranges[i].high > max_high)
			max_high = walk->ranges[i].high;
		walk->ranges[i].max_high = max_high;
	}
}

/* The unit whose narrowest range holds the address; SIZE_MAX if there is none. */
static size_t find_unit(const struct walk *walk, uint64_t address)
{
	size_t low = 0, high = walk->n_ranges;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (walk->ranges[middle].low <= address)
			low = middle + 1;
		else
			high = middle;
	}

	size_t best = SIZE_MAX;
	uint64_t best_bytes = UINT64_MAX;
	for (size_t i = low; i-- > 0 && walk->ranges[i].max_high > address;) {
		const struct unit_range *range = &walk->ranges[i];
		if (range->high > address && range->high - range->low < best_bytes) {
			best = range->unit;
			best_bytes = range->high - range->low;
		}
	}
	return best;
}

/* ---- functions ------------------------------------------------------------------------------- */

/* Note this function for the addresses of the group that it holds. */
static void offer_function(struct walk *walk, Dwarf_Die *die)
{
	Dwarf_Addr base, low, high;
	ptrdiff_t cursor = 0;

	for (int i = 0; i < MAX_RANGES; i++) {
		cursor = dwarf_ranges(die, cursor, &base, &low, &high);
		if (cursor <= 0)
			return;
		if (low >= high || !in_text(walk, low))
			continue;

		size_t from = 0, to = walk->n_group;
		while (from < to) {
			size_t middle = from + (to - from) / 2;
			if (walk->group[middle].address < low)
				from = middle + 1;
			else
				to = middle;
		}
		for (; from < walk->n_group && walk->group[from].address < high; from++) {
			struct wanted *wanted = &walk->group[from];
			if (wanted->function_bytes && wanted->function_bytes <= high - low)
				continue;
			wanted->function = *die;
			wanted->function_bytes = high - low;
		}
	}
}

/*
 * Find the functions below `parent`. Functions stand in units, namespaces and (Rust) types. Those
 * inside functions (GNU C's nested ones, some outlined code) are rare, and looking for them means
 * reading every entry: `deep` does.
 */
static void find_functions(struct walk *walk, Dwarf_Die *parent, bool deep, int nesting)
{
	Dwarf_Die die;

	if (nesting > MAX_NESTING || dwarf_child(parent, &die) != 0)
		return;
	do {
		switch (dwarf_tag(&die)) {
		case DW_TAG_subprogram:
			offer_function(walk, &die);
			if (deep)
				find_functions(walk, &die, deep, nesting + 1);
			break;
		case DW_TAG_lexical_block:
			if (deep)
				find_functions(walk, &die, deep, nesting + 1);
			break;
		case DW_TAG_namespace:
		case DW_TAG_module:
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
		case DW_TAG_enumeration_type:
		case DW_TAG_interface_type:
			find_functions(walk, &die, deep, nesting + 1);
			break;
		default:
			break;
		}
	} while (!late(walk) && next_sibling(&die));
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Drop "." and "x/.." from a path, so that the same file has the same name in all units. */
static void normalize_path(char *path)
{
	bool absolute = path[0] == '/';
	char *out = path + absolute;
	const char *in = out;

	while (*in) {
		size_t len = strcspn(in, "/");
		size_t step = len + (in[len] == '/');
		if (len == 0 || (len == 1 && in[0] == '.')) {
			in += step;
			continue;
		}
		size_t have = (size_t)(out - path) - absolute;
		bool up = len == 2 && in[0] == '.' && in[1] == '.';
		bool last_is_up = have >= 3 && memcmp(out - 3, "../", 3) == 0 &&
				  (have == 3 || out[-4] == '/');
		if (up && have > 0 && !last_is_up) {
			do
				out--;
			while (out > path + absolute && out[-1] != '/');
			in += step;
			continue;
		}
		if (up && have == 0 && absolute) {
			in += step;
			continue;
		}
		memmove(out, in, step);
		out += step;
		in += step;
	}
	*out = '\0';
}

/* A path of the line table or a call site, complete and normal. Line tables of DWARF 5 leave the
 * compilation directory to the reader. */
static const char *keep_path(struct walk *walk, const struct unit *unit, const char *path)
{
	if (!path || !*path || strcmp(path, "???") == 0 ||
	    strnlen(path, FT_SYMBOL_NAME_MAX + 1) > FT_SYMBOL_NAME_MAX)
		return NULL;

	Dwarf_Die skeleton = unit->skeleton;
	Dwarf_Attribute attribute;
	const char *directory = NULL;
	if (path[0] != '/')
		directory = dwarf_formstring(dwarf_attr(&skeleton, DW_AT_comp_dir, &attribute));
	ft_auto_free char *full = NULL;
	if (asprintf(&full, "%s%s%s", directory ? directory : "", directory ? "/" : "", path) < 0) {
		full = NULL;
		return NULL;
	}
	normalize_path(full);
	return ft_frame_table_intern(walk->table, full);
}

static const char *string_attribute(Dwarf_Die *die, unsigned name)
{
	Dwarf_Attribute attribute;

	return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

/* The entry that others only refer to: an inlined call's function, a definition's declaration. */
static Dwarf_Die origin_of(const Dwarf_Die *die)
{
	static const unsigned references[] = {DW_AT_abstract_origin, DW_AT_specification};
	Dwarf_Die origin = *die;

	for (int i = 0; i < 8; i++) {
		Dwarf_Attribute attribute;
		Dwarf_Die next;
		if (!dwarf_formref_die(dwarf_attr(&origin, references[0], &attribute), &next) &&
		    !dwarf_formref_die(dwarf_attr(&origin, references[1], &attribute), &next))
			break;
		origin = next;
	}
	return origin;
}

/*
 * "scope::scope::name" of a C++ function without a linkage name: lambdas, and what lies in unnamed
 * namespaces. Finding the scopes reads the unit again, so that each answer is kept.
 */
static const char *scoped_name(struct walk *walk, const Dwarf_Die *die, const char *name)
{
	Dwarf_Die origin = origin_of(die);
	uint64_t *known = ft_map_put(&walk->scoped, (uint64_t)(uintptr_t)origin.addr, NULL);
	if (known && *known)
		return (const char *)(uintptr_t)*known;

	ft_auto_strbuf struct ft_strbuf buf;
	ft_strbuf_init(&buf);
	Dwarf_Die *scopes = NULL;
	int n = dwarf_getscopes_die(&origin, &scopes);
	for (int i = n - 1; i > 0 && buf.len < FT_SYMBOL_NAME_MAX; i--) {
		const char *scope = dwarf_diename(&scopes[i]);
		switch (dwarf_tag(&scopes[i])) {
		case DW_TAG_namespace:
			ft_strbuf_addf(&buf, "%s::", scope ? scope : "(anonymous namespace)");
			break;
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
			if (!scope)
				scope = strcmp(name, "operator()") ? "{unnamed type}" : "{lambda}";
			ft_strbuf_addf(&buf, "%s::", scope);
			break;
		case DW_TAG_subprogram: {
			const char *mangled = string_attribute(&scopes[i], DW_AT_linkage_name);
			ft_auto_free char *readable = mangled ? ft_demangle(mangled) : NULL;
			if (readable) /* begins with the scopes outside it */
				ft_strbuf_clear(&buf);
			if (readable || scope)
				ft_strbuf_addf(&buf, "%s::", readable ? readable : scope);
			break;
		}
		default:
			break;
		}
	}
	free(scopes);
	ft_strbuf_adds(&buf, name);
	const char *kept = ft_frame_table_intern(walk->table, buf.failed ? name : buf.data);
	if (known)
		*known = (uint64_t)(uintptr_t)kept;
	return kept;
}

static bool is_cplusplus(const struct unit *unit)
{
	Dwarf_Die die = unit->die;

	switch (dwarf_srclang(&die)) {
	case DW_LANG_C_plus_plus:
	case DW_LANG_C_plus_plus_03:
	case DW_LANG_C_plus_plus_11:
	case DW_LANG_C_plus_plus_14:
		return true;
	default:
		return false;
	}
}

/*
 * The name to show. The linkage name has the scope and the parameters, which DW_AT_name lacks; but
 * C's linkage names (asm labels: open64 for open) are not what stands in the source. `symbol` is
 * the symbol table's name of a function that is really there.
 */
static const char *function_name(struct walk *walk, const struct unit *unit, Dwarf_Die *die,
				 const char *symbol)
{
	const char *mangled = string_attribute(die, DW_AT_linkage_name);
	if (!mangled)
		mangled = string_attribute(die, DW_AT_MIPS_linkage_name);
	const char *name = string_attribute(die, DW_AT_name);

	/* A symbol with a suffix (.cold, .part.0) would name the clone and not the function. */
	ft_auto_free char *readable = mangled ? ft_demangle(mangled) : NULL;
	if (!readable && symbol && (!name || !strchr(symbol, '.')))
		readable = ft_demangle(symbol);
	if (readable)
		return ft_frame_table_intern(walk->table, readable);

	if (name && *name && is_cplusplus(unit))
		return scoped_name(walk, die, name);
	if (name && *name)
		return ft_frame_table_intern(walk->table, name);
	return ft_frame_table_intern(walk->table, mangled ? mangled : symbol);
}

static bool says_where(Dwarf_Die *die)
{
	return dwarf_hasattr(die, DW_AT_low_pc) || dwarf_hasattr(die, DW_AT_ranges);
}

/* Append to `chain` the calls inlined at `address` below `parent`, outermost first. */
static void find_inlined(struct walk *walk, Dwarf_Die *parent, uint64_t address, Dwarf_Die *chain,
			 int *n, int nesting)
{
	Dwarf_Die die;
	int before = *n;

	if (nesting > MAX_NESTING || dwarf_child(parent, &die) != 0)
		return;
	do {
		switch (dwarf_tag(&die)) {
		case DW_TAG_inlined_subroutine:
			if (*n >= MAX_NESTING || dwarf_haspc(&die, address) <= 0)
				break;
			chain[(*n)++] = die;
			find_inlined(walk, &die, address, chain, n, nesting + 1);
			return;
		case DW_TAG_lexical_block:
		case DW_TAG_try_block:
		case DW_TAG_catch_block:
		case DW_TAG_with_stmt:
			if (says_where(&die) && dwarf_haspc(&die, address) <= 0)
				break;
			find_inlined(walk, &die, address, chain, n, nesting + 1);
			if (*n > before)
				return;
			break;
		default:
			break;
		}
	} while (!late(walk) && next_sibling(&die));
}

static bool push_frame(struct walk *walk, const char *function, const char *file, uint32_t line)
{
	struct ft_dwarf_walk *out = walk->out;

	if (out->n_frames >= UINT32_MAX ||
	    !grow((void **)&out->frames, &out->max_frames, out->n_frames, sizeof(*out->frames))) {
		walk->failed = true;
		return false;
	}
	out->frames[out->n_frames++] =
		(struct ft_frame){.function = function, .file = file, .line = line};
	return true;
}

/* Where an inlined call was made from. */
static void call_site(struct walk *walk, const struct unit *unit, Dwarf_Die *inlined,
		      Dwarf_Files *files, const char **file, uint32_t *line)
{
	Dwarf_Attribute attribute;
	Dwarf_Word value;

	*file = NULL;
	*line = 0;
	if (files && dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &value) == 0)
		*file = keep_path(walk, unit, dwarf_filesrc(files, value, NULL, NULL));
	if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &value) == 0 &&
	    value <= UINT32_MAX)
		*line = (uint32_t)value;
}

static void answer(struct walk *walk, const struct unit *unit, struct wanted *wanted)
{
	struct ft_dwarf_answer *answer = &walk->out->answers[wanted->lookup];
	struct ft_object *object = walk->object;
	Dwarf_Die skeleton = unit->skeleton;
	Dwarf_Line *source = dwarf_getsrc_die(&skeleton, wanted->address);
	int line_number;
	if (source && dwarf_lineno(source, &line_number) == 0 && line_number > 0) {
		answer->file = keep_path(walk, unit, dwarf_linesrc(source, NULL, NULL));
		answer->line = answer->file ? (uint32_t)line_number : 0;
	}
	if (!wanted->function_bytes)
		return;

	Dwarf_Die chain[MAX_NESTING + 1] = {wanted->function};
	int n = 1;
	find_inlined(walk, &wanted->function, wanted->address, chain, &n, 0);

	Dwarf_Die unit_die = unit->die;
	Dwarf_Files *files = NULL;
	size_t n_files;
	if (n > 1 && dwarf_getsrcfiles(&unit_die, &files, &n_files) != 0)
		files = NULL;

	const char *symbol = ft_symtab_find(
		object, wanted->address + object->dwarf_bias - object->main_bias, false);
	const char *file = answer->file;
	uint32_t line = answer->line;
	uint32_t first = (uint32_t)walk->out->n_frames;
	for (int i = n - 1; i >= 0; i--) {
		const char *name = function_name(walk, unit, &chain[i], i == 0 ? symbol : NULL);
		if (!push_frame(walk, name, file, line))
			return;
		if (i > 0)
			call_site(walk, unit, &chain[i], files, &file, &line);
	}
	if (object->timed_out) /* the chain may lack its inner part */
		return;
	answer->first = first;
	answer->n = (uint32_t)n;
}

/* ---- all together ---------------------------------------------------------------------------- */

static int compare_by_unit(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	if (x->unit != y->unit)
		return x->unit < y->unit ? -1 : 1;
	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->lookup < y->lookup ? -1 : x->lookup > y->lookup;
}

static bool any_without_function(const struct wanted *group, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!group[i].function_bytes)
			return true;
	return false;
}

static void resolve_group(struct walk *walk, size_t unit_index, struct wanted *group, size_t n)
{
	struct unit *unit = &walk->units[unit_index];

	walk->group = group;
	walk->n_group = n;
	find_functions(walk, &unit->die, false, 0);
	if (any_without_function(group, n))
		find_functions(walk, &unit->die, true, 0);
	for (size_t i = 0; i < n && !late(walk) && !walk->failed; i++)
		answer(walk, unit, &group[i]);
}

/* Units that don't say where their code is may hold any address that no other unit claims. */
static void resolve_rest(struct walk *walk, struct wanted *rest, size_t n)
{
	for (size_t u = 0; u < walk->n_rangeless && !late(walk); u++) {
		struct unit *unit = &walk->units[walk->rangeless[u]];
		walk->group = rest;
		walk->n_group = n;
		find_functions(walk, &unit->die, false, 0);
		for (size_t i = 0; i < n && !walk->failed; i++) {
			if (rest[i].unit == SIZE_MAX && rest[i].function_bytes) {
				rest[i].unit = walk->rangeless[u];
				answer(walk, unit, &rest[i]);
			}
		}
	}
}

void ft_dwarf_resolve(struct ft_object *object, const struct ft_lookup *lookups, size_t n,
		      struct ft_dwarf_walk *out, struct ft_frame_table *table)
{
	struct walk walk = {.object = object, .table = table, .out = out};
	struct wanted *wanted = calloc(n ? n : 1, sizeof(*wanted));
	if (!wanted) {
		table->failed = true;
		return;
	}

	ft_map_init(&walk.scoped);
	index_units(&walk);
	for (size_t i = 0; i < n; i++) {
		uint64_t address = lookups[i].address + object->main_bias - object->dwarf_bias;
		wanted[i] = (struct wanted){
			.address = address, .lookup = i, .unit = find_unit(&walk, address)};
	}
	qsort(wanted, n, sizeof(*wanted), compare_by_unit);

	for (size_t i = 0; i < n && !walk.failed && !object->timed_out;) {
		size_t end = i + 1;
		while (end < n && wanted[end].unit == wanted[i].unit)
			end++;
		if (wanted[i].unit != SIZE_MAX)
			resolve_group(&walk, wanted[i].unit, wanted + i, end - i);
		else
			resolve_rest(&walk, wanted + i, end - i);
		i = end;
	}
	table->failed |= walk.failed;
	ft_map_deinit(&walk.scoped);
	free(walk.rangeless);
	free(walk.ranges);
	free(walk.units);
	free(wanted);
}
