/* SPDX-License-Identifier: MIT */
/* The kernel's texts about memory: see no_parse.h. */
#include "no_parse.h"

#include <string.h>

/* What is left of a line, or of a text. */
struct span {
	const char *at, *end;
};

static struct span next_line(struct span *text)
{
	const char *newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
	struct span line = {text->at, newline ? newline : text->end};

	text->at = newline ? newline + 1 : text->end;
	return line;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct span *line)
{
	while (line->at < line->end && is_blank(*line->at))
		line->at++;
}

static bool at_end(struct span *line)
{
	skip_blanks(line);
	return line->at == line->end;
}

/* The line goes on with this text, blanks before it left out. */
static bool eat(struct span *line, const char *text)
{
	size_t len = strlen(text);

	skip_blanks(line);
	if ((size_t)(line->end - line->at) < len || memcmp(line->at, text, len) != 0)
		return false;
	line->at += len;
	return true;
}

/* A whole number; false if there is none, or it is 2^63 or more. */
static bool eat_number(struct span *line, int64_t *ret)
{
	bool negative = false, any = false;
	uint64_t value = 0;

	skip_blanks(line);
	if (line->at < line->end && *line->at == '-') {
		negative = true;
		line->at++;
	}
	for (; line->at < line->end && *line->at >= '0' && *line->at <= '9'; line->at++) {
		unsigned digit = (unsigned)(*line->at - '0');

		if (value > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
		any = true;
	}
	*ret = negative ? -(int64_t)value : (int64_t)value;
	return any;
}

static bool eat_count(struct span *line, uint64_t *ret)
{
	int64_t value;

	if (!eat_number(line, &value) || value < 0)
		return false;
	*ret = (uint64_t)value;
	return true;
}

/* "1.234" with exactly `digits` behind the point, in units of the last one. */
static bool eat_decimal(struct span *line, unsigned digits, int64_t *ret)
{
	bool negative;
	int64_t whole;
	int64_t part = 0, scale = 1;

	skip_blanks(line);
	negative = line->at < line->end && *line->at == '-';
	if (!eat_number(line, &whole) || whole > 1000000 || whole < -1000000)
		return false;
	if (line->at == line->end || *line->at++ != '.')
		return false;
	for (unsigned i = 0; i < digits; i++, line->at++, scale *= 10) {
		if (line->at == line->end || *line->at < '0' || *line->at > '9')
			return false;
		part = part * 10 + (*line->at - '0');
	}
	*ret = negative ? whole * scale - part : whole * scale + part;
	return true;
}

/* A word that ends at a blank or at one of `stops`. */
static bool eat_word(struct span *line, const char *stops, char *ret, size_t size)
{
	size_t len = 0;

	skip_blanks(line);
	for (;
	     line->at < line->end && !is_blank(*line->at) && *line->at && !strchr(stops, *line->at);
	     line->at++)
		if (len + 1 < size)
			ret[len++] = *line->at;
	ret[len] = '\0';
	return len > 0;
}

/* "Node 0, zone   Normal" */
static bool eat_zone(struct span *line, struct no_zone_name *ret)
{
	return eat(line, "Node") && eat_number(line, &ret->node) && ret->node >= 0 &&
	       eat(line, ",") && eat(line, "zone") &&
	       eat_word(line, ",", ret->zone, sizeof(ret->zone));
}

/* ---- orders ---------------------------------------------------------------------------------- */

static bool eat_orders(struct span *line, bool decimals, int64_t n[NO_ORDERS])
{
	unsigned order = 0;

	memset(n, 0, NO_ORDERS * sizeof(*n));
	while (!at_end(line)) {
		unsigned at = order < NO_ORDERS ? order : NO_ORDERS - 1;
		int64_t value;

		if (decimals) {
			if (!eat_decimal(line, 3, &value))
				return false;
			if (order < NO_ORDERS)
				n[at] = value;
		} else {
			eat(line, ">");
			if (!eat_number(line, &value) || value < 0 || value > INT64_MAX >> 24 ||
			    order > NO_ORDERS + 8)
				return false;
			n[at] += value << (order - at);
		}
		order++;
	}
	return order > 0;
}

static size_t parse_orders(const char *text, size_t len, bool decimals, no_orders_fn *visit,
			   void *ctx)
{
	struct span all = {text, text + len};
	size_t bad = 0;

	while (all.at < all.end) {
		struct span line = next_line(&all);
		struct no_orders_line out = {.type = ""};

		if (at_end(&line))
			continue;
		if (eat_zone(&line, &out.zone) && eat_orders(&line, decimals, out.n))
			visit(ctx, &out);
		else
			bad++;
	}
	return bad;
}

size_t no_parse_buddyinfo(const char *text, size_t len, no_orders_fn *visit, void *ctx)
{
	return parse_orders(text, len, false, visit, ctx);
}

size_t no_parse_extfrag(const char *text, size_t len, no_orders_fn *visit, void *ctx)
{
	return parse_orders(text, len, true, visit, ctx);
}

/* ---- pagetypeinfo ---------------------------------------------------------------------------- */

struct type_names {
	char names[NO_TYPES][NO_NAME];
	size_t n;
};

static void parse_type_names(struct span *line, struct type_names *types)
{
	types->n = 0;
	while (types->n < NO_TYPES && eat_word(line, "", types->names[types->n], NO_NAME))
		types->n++;
}

static bool parse_blocks(struct span *line, const struct no_zone_name *zone,
			 const struct type_names *types, no_block_fn *visit, void *ctx)
{
	struct no_block_line out = {.zone = *zone};

	for (size_t i = 0; i < types->n; i++) {
		memcpy(out.type, types->names[i], NO_NAME);
		if (!eat_count(line, &out.n))
			return false;
		visit(ctx, &out);
	}
	return types->n > 0;
}

size_t no_parse_pagetypeinfo(const char *text, size_t len, no_orders_fn *visit,
			     no_block_fn *visit_block, void *ctx, uint64_t *pageblock_order)
{
	struct span all = {text, text + len};
	struct type_names types = {.n = 0};
	uint64_t ignored;
	size_t bad = 0;

	*pageblock_order = 0;
	while (all.at < all.end) {
		struct span line = next_line(&all);
		struct no_orders_line out = {.type = ""};

		if (at_end(&line) || eat(&line, "Free pages count per migrate type"))
			continue;
		if (eat(&line, "Page block order:")) {
			bad += !eat_count(&line, pageblock_order);
		} else if (eat(&line, "Pages per block:")) {
			bad += !eat_count(&line, &ignored);
		} else if (eat(&line, "Number of blocks type")) {
			parse_type_names(&line, &types);
		} else if (eat(&line, "Number of mixed blocks")) {
			types.n = 0; /* only with page_owner; what follows is not of types */
			break;
		} else if (!eat_zone(&line, &out.zone)) {
			bad++;
		} else if (eat(&line, ",")) {
			if (eat(&line, "type") && eat_word(&line, "", out.type, NO_NAME) &&
			    eat_orders(&line, false, out.n))
				visit(ctx, &out);
			else
				bad++;
		} else {
			bad += !parse_blocks(&line, &out.zone, &types, visit_block, ctx);
		}
	}
	return bad;
}

/* ---- zoneinfo -------------------------------------------------------------------------------- */

struct zone_parser {
	struct no_zone_name zone;
	bool has_zone, of_node; /* the lines now are of the node */
	bool in_pcp;
	uint64_t pcp_count;
	no_zone_fn *visit;
	void *ctx;
};

static void zone_end(struct zone_parser *p)
{
	if (p->has_zone && p->in_pcp)
		p->visit(p->ctx, &p->zone, "pcp.count", p->pcp_count);
	p->has_zone = p->in_pcp = p->of_node = false;
	p->pcp_count = 0;
}

static bool is_pcp_key(const char *key)
{
	static const char *const keys[] = {"high", "batch", "high_min", "high_max"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

static bool zone_key(struct zone_parser *p, const char *key, uint64_t value)
{
	char name[NO_NAME + 8] = "pcp.";

	if (!strcmp(key, "cpu")) {
		p->in_pcp = true;
	} else if (p->in_pcp && !strcmp(key, "count")) {
		p->pcp_count += value;
	} else if (p->in_pcp && is_pcp_key(key)) {
		strcat(name, key);
		p->visit(p->ctx, &p->zone, name, value);
	} else {
		p->visit(p->ctx, &p->zone, key, value);
	}
	return true;
}

static bool zone_line(struct zone_parser *p, struct span line)
{
	char key[NO_NAME];
	uint64_t value;

	if (eat(&line, "per-node stats")) {
		p->of_node = true;
		return true;
	}
	if (eat(&line, "pages free")) {
		p->of_node = false;
		return eat_count(&line, &value) && zone_key(p, "free", value);
	}
	if (eat(&line, "protection") || eat(&line, "pagesets") ||
	    eat(&line, "vm stats threshold") || eat(&line, "page_alloc"))
		return true;
	if (!eat_word(&line, ":", key, sizeof(key)))
		return false;
	eat(&line, ":");
	if (!eat_count(&line, &value))
		return false;
	return p->of_node || zone_key(p, key, value);
}

size_t no_parse_zoneinfo(const char *text, size_t len, no_zone_fn *visit, void *ctx)
{
	struct span all = {text, text + len};
	struct zone_parser p = {.visit = visit, .ctx = ctx};
	size_t bad = 0;

	while (all.at < all.end) {
		struct span line = next_line(&all), rest = line;
		struct no_zone_name zone;

		if (at_end(&line))
			continue;
		if (eat_zone(&rest, &zone)) {
			zone_end(&p);
			p.zone = zone;
			p.has_zone = true;
		} else if (!p.has_zone || !zone_line(&p, line)) {
			bad++;
		}
	}
	zone_end(&p);
	return bad;
}

/* ---- keys ------------------------------------------------------------------------------------ */

size_t no_parse_keys(const char *text, size_t len, no_key_fn *visit, void *ctx)
{
	struct span all = {text, text + len};
	size_t bad = 0;

	while (all.at < all.end) {
		struct span line = next_line(&all);
		char key[NO_NAME * 2];
		int64_t value;

		if (at_end(&line))
			continue;
		if (!eat_word(&line, ":", key, sizeof(key))) {
			bad++;
			continue;
		}
		eat(&line, ":");
		if (eat_number(&line, &value))
			visit(ctx, key, value);
		else
			bad++;
	}
	return bad;
}

size_t no_parse_pressure(const char *text, size_t len, no_key_fn *visit, void *ctx)
{
	struct span all = {text, text + len};
	size_t bad = 0;

	while (all.at < all.end) {
		struct span line = next_line(&all);
		bool full = false;
		int64_t value;

		if (at_end(&line))
			continue;
		full = eat(&line, "full");
		if (!full && !eat(&line, "some")) {
			bad++;
			continue;
		}
		if (eat(&line, "avg10=") && eat_decimal(&line, 2, &value))
			visit(ctx, full ? "full.avg10" : "some.avg10", value);
		while (line.at < line.end && !eat(&line, "total="))
			line.at++;
		if (line.at < line.end && eat_number(&line, &value))
			visit(ctx, full ? "full.total" : "some.total", value);
		else
			bad++;
	}
	return bad;
}

size_t no_parse_slabinfo(const char *text, size_t len, no_slab_fn *visit, void *ctx)
{
	struct span all = {text, text + len};
	size_t bad = 0;

	while (all.at < all.end) {
		struct span line = next_line(&all);
		struct no_slab_line out;
		uint64_t active, shared;

		if (at_end(&line) || eat(&line, "#") || eat(&line, "slabinfo - version"))
			continue;
		if (!eat_word(&line, "", out.cache, sizeof(out.cache)) ||
		    !eat_count(&line, &out.active_objects) || !eat_count(&line, &out.objects) ||
		    !eat_count(&line, &out.object_bytes) ||
		    !eat_count(&line, &out.objects_per_slab) ||
		    !eat_count(&line, &out.pages_per_slab)) {
			bad++;
			continue;
		}
		while (line.at < line.end && !eat(&line, "slabdata"))
			line.at++;
		if (eat_count(&line, &active) && eat_count(&line, &out.slabs) &&
		    eat_count(&line, &shared))
			visit(ctx, &out);
		else
			bad++;
	}
	return bad;
}

/* ---- tracefs --------------------------------------------------------------------------------- */

/* "field:unsigned long pfn;	offset:8;	size:8;	signed:0;" */
static bool parse_field(struct span line, struct no_field *ret)
{
	const char *end = memchr(line.at, ';', (size_t)(line.end - line.at)), *name;
	uint64_t offset, size;
	size_t len;

	if (!end)
		return false;
	for (name = end; name > line.at && !is_blank(name[-1]); name--)
		;
	len = (size_t)(end - name);
	if (!len || len >= NO_NAME)
		return false;
	memcpy(ret->name, name, len);
	ret->name[len] = '\0';
	line.at = end + 1;
	if (!eat(&line, "offset:") || !eat_count(&line, &offset) || !eat(&line, ";") ||
	    !eat(&line, "size:") || !eat_count(&line, &size) || offset > 4096 || size > 4096)
		return false;
	ret->offset = (uint32_t)offset;
	ret->size = (uint32_t)size;
	return true;
}

bool no_parse_format(const char *text, size_t len, struct no_format *ret)
{
	struct span all = {text, text + len};
	bool has_id = false;

	*ret = (struct no_format){.n = 0};
	while (all.at < all.end) {
		struct span line = next_line(&all);
		struct no_field field;
		uint64_t id;

		if (eat(&line, "ID:")) {
			if (!eat_count(&line, &id) || id > UINT16_MAX)
				return false;
			ret->id = (uint32_t)id;
			has_id = true;
		} else if (eat(&line, "field:") && parse_field(line, &field) &&
			   strncmp(field.name, "common_", 7) != 0 &&
			   ret->n < sizeof(ret->fields) / sizeof(*ret->fields)) {
			ret->fields[ret->n++] = field;
		}
	}
	return has_id;
}

const struct no_field *no_format_field(const struct no_format *format, const char *name)
{
	for (size_t i = 0; i < format->n; i++)
		if (!strcmp(format->fields[i].name, name))
			return &format->fields[i];
	return NULL;
}

uint64_t no_parse_stat(const char *text, size_t len, const char *key)
{
	struct span all = {text, text + len};

	while (all.at < all.end) {
		struct span line = next_line(&all);
		uint64_t value;

		if (eat(&line, key) && eat(&line, ":") && eat_count(&line, &value))
			return value;
	}
	return 0;
}
