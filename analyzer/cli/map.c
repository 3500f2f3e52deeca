/* SPDX-License-Identifier: MIT */
/* fraganalyze map: the heap as a map of addresses, for a terminal or as SVG. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { MAP_WIDTH = 64, SVG_CELL = 10 };

struct heap_map {
	const struct fa_value *frag;
	const uint8_t *live, *resident;
	size_t n;
	uint64_t bin_bytes;
};

/* Bins of a region: from *first on. */
static size_t region_bins(const struct heap_map *map, const struct fa_value *region, size_t *first)
{
	uint64_t start = fa_value_u64(region, "start"), end = fa_value_u64(region, "end");

	if (!map->bin_bytes || fa_value_is_null(fa_value_get(region, "first_bin")) || end <= start)
		return 0;
	*first = fa_value_u64(region, "first_bin");

	uint64_t n = (end - 1) / map->bin_bytes - start / map->bin_bytes + 1;

	return *first < map->n && n <= map->n - *first ? n : 0;
}

/* A digit by tenths of live bytes; '.' is resident without any, blank is not there. */
static char cell(const struct heap_map *map, size_t bin)
{
	if (!map->live[bin])
		return map->resident[bin] ? '.' : ' ';
	return map->live[bin] >= 250 ? '#' : (char)('0' + map->live[bin] * 10 / 256);
}

static void print_region(const struct heap_map *map, const struct fa_value *region)
{
	const char *kind = fa_value_text(region, "kind");
	size_t first = 0, n = region_bins(map, region, &first);
	uint64_t start = fa_value_u64(region, "start") / map->bin_bytes * map->bin_bytes;
	struct fa_text size, live, waste;

	printf("\n%s%s%s %s, %s live, %s free but resident\n", term_on(STYLE_BOLD),
	       kind ? kind : "?", term_off(),
	       term_bytes(fa_value_u64(region, "end") - fa_value_u64(region, "start"), &size),
	       term_bytes(fa_value_u64(region, "live_req"), &live),
	       term_bytes(fa_value_u64(region, "pin_free") + fa_value_u64(region, "empty_res"),
			  &waste));
	for (size_t row = 0; row < n; row += MAP_WIDTH) {
		char line[MAP_WIDTH + 1];
		size_t width = n - row < MAP_WIDTH ? n - row : MAP_WIDTH;

		for (size_t i = 0; i < width; i++)
			line[i] = cell(map, first + row + i);
		while (width && line[width - 1] == ' ')
			width--;
		line[width] = 0;
		printf("%14" PRIx64 " |%s\n", start + row * map->bin_bytes, line);
	}
}

/* A square a bin: blue for live bytes, pale where memory is resident without them. */
static void write_svg(const struct heap_map *map, FILE *out)
{
	const struct fa_value *regions = fa_value_get(map->frag, "regions");
	size_t rows = 0, first = 0, y = 20;

	for (const struct fa_value *r = regions ? regions->first : NULL; r; r = r->next)
		rows += 2 + (region_bins(map, r, &first) + MAP_WIDTH - 1) / MAP_WIDTH;
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
		"font-family=\"monospace\" font-size=\"11\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		MAP_WIDTH * SVG_CELL + 160, rows * SVG_CELL + 40);
	for (const struct fa_value *r = regions ? regions->first : NULL; r; r = r->next) {
		const char *kind = fa_value_text(r, "kind");
		size_t n = region_bins(map, r, &first);

		if (!n || !map->bin_bytes)
			continue;

		uint64_t start = fa_value_u64(r, "start") / map->bin_bytes * map->bin_bytes;

		/* Kinds are our own words. */
		fprintf(out, "<text x=\"8\" y=\"%zu\">%s %" PRIx64 "</text>\n", y, kind ? kind : "",
			start);
		for (size_t i = 0; i < n; i++) {
			unsigned live = map->live[first + i], resident = map->resident[first + i];

			if (!live && !resident)
				continue;
			fprintf(out,
				"<rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" "
				"fill=\"#%02x%02x%02x\"><title>%" PRIx64
				": %u %% live, %u %% resident</title></rect>\n",
				150 + i % MAP_WIDTH * SVG_CELL, y + 4 + i / MAP_WIDTH * SVG_CELL,
				SVG_CELL - 1, SVG_CELL - 1, live ? 200 - live * 170 / 255 : 255,
				live ? 220 - live * 120 / 255 : 225, live ? 245 - live / 5 : 190,
				start + i * map->bin_bytes, live * 100 / 255, resident * 100 / 255);
		}
		y += 20 + (n + MAP_WIDTH - 1) / MAP_WIDTH * SVG_CELL;
	}
	fputs("</svg>\n", out);
}

static int save_svg(const struct heap_map *map, const struct cli_options *options)
{
	bool to_stdout = strcmp(options->svg, "-") == 0;
	int fd =
		to_stdout
			? STDOUT_FILENO
			: open(options->svg,
			       O_WRONLY | O_CREAT | O_CLOEXEC | (options->force ? O_TRUNC : O_EXCL),
			       0666);
	FILE *out = fd < 0 ? NULL : to_stdout ? stdout : fdopen(fd, "w");

	if (!out)
		return cli_fail(ft_error_os(errno, "%s: cannot write the map%s", options->svg,
					    errno == EEXIST ? " (--force overwrites)" : ""),
				CLI_FAILED);
	write_svg(map, out);
	if (to_stdout)
		return CLI_OK;
	if (fclose(out) != 0)
		return cli_fail(ft_error_os(errno, "%s: cannot write the map", options->svg),
				CLI_FAILED);
	return CLI_OK;
}

int verb_map(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	struct fa_text text;
	int status = cli_analyse_moment(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;

	const struct fa_column *live = fa_doc_column_find(a.doc, "frag.bin_live");
	const struct fa_column *resident = fa_doc_column_find(a.doc, "frag.bin_resident");
	const struct fa_value *frag = cli_section(&a, "frag");
	const struct fa_value *regions = fa_value_get(frag, "regions");
	struct heap_map map = {.frag = frag,
			       .live = live ? live->data : NULL,
			       .resident = resident ? resident->data : NULL,
			       .n = live && resident ? live->n : 0,
			       .bin_bytes = fa_value_u64(frag, "bin_bytes")};

	if (!map.bin_bytes)
		map.n = 0;
	if (options->json) {
		static const char *const columns[] = {"frag.bin_live", "frag.bin_resident", NULL};

		cli_print_json_columns(&a, "frag", columns);
	} else if (options->svg) {
		status = save_svg(&map, options);
	} else {
		printf("The heap at %s, %s a character: 0-9 tenths live, # full, . resident but "
		       "empty\n",
		       fa_format_time(fa_value_u64(frag, "at_ns"), &text),
		       term_bytes(map.bin_bytes, &(struct fa_text){{0}}));
		for (const struct fa_value *r = regions && map.n ? regions->first : NULL; r;
		     r = r->next)
			print_region(&map, r);
	}
	cli_analysis_deinit(&a);
	return status;
}
