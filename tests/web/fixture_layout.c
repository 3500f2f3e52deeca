/* SPDX-License-Identifier: MIT */
/* Where the memory lies: the maps and the section of fragmentation. */
#include <math.h>
#include <string.h>

#include "fixture.h"
#include "fixture_heap.h"

enum {
	N_FRAG = 96,
	N_PINS = 16,
	N_ORDERS = 11,
	N_HOLE_BINS = 48,
	MAP_ROWS = 240,
	MAP_COLUMNS = 480,
	PAGE = 4096,
	QUARTER_CELLS = 1024,
	SOAK_CELLS = 3000,
	N_MOMENTS = 3,
};

#define PAGES_START UINT64_C(0x55d0c4a3b000)

/* ---- heap map ------------------------------------------------------------------------------- */

static uint8_t cell_of(unsigned row, double t)
{
	/* main heap to row 175, then two arenas; each fills upwards and decays behind the burst */
	unsigned first = row < 176 ? 0 : row < 212 ? 176 : 212;
	unsigned n = row < 176 ? 176 : row < 212 ? 36 : 28;
	double place = (double)(row - first) / n;
	double top = first ? 0.45 + 0.5 * t : t < 0.42 ? 0.45 + 0.25 * t : 1.0;
	double noise = fixture_random();

	if (place > top)
		return 0;
	if (place < 0.3)
		return (uint8_t)(225 + 30 * noise);
	if (!first && t > 0.446 && place > 0.56 + 0.05 * t) /* what the burst left behind */
		return noise < 0.45 ? 0 : (uint8_t)(6 + 30 * noise * noise);
	return (uint8_t)(120 + 100 * noise + 35 * sin(place * 60));
}

void fixture_map(const struct fixture *f, struct fa_doc *doc)
{
	static const struct {
		uint64_t start;
		unsigned first, n;
		const char *kind;
	} regions[] = {
		{0x55d0c4a3b000, 0, 176, "heap"},
		{0x7f31a4000000, 176, 36, "mmap"},
		{0x7f31ac000000, 212, 28, "mmap"},
	};
	static uint8_t cells[MAP_COLUMNS * MAP_ROWS];
	const uint64_t bin = 8ull << 20;
	bool quarter = strcmp(f->kind, "quarter") == 0;
	struct fa_json *json = fa_doc_begin(doc, "map");

	fa_json_kv_u64(json, "rows", MAP_ROWS);
	fa_json_kv_u64(json, "columns", MAP_COLUMNS);
	fa_json_kv_u64(json, "bin_bytes", bin);
	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	for (size_t i = 0; i < (quarter ? 1 : ARRAY(regions)); i++) {
		uint64_t n = quarter ? MAP_ROWS : regions[i].n;

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", regions[i].start);
		fa_json_kv_u64(json, "end", regions[i].start + n * bin);
		fa_json_kv_u64(json, "first_row", regions[i].first);
		fa_json_kv_u64(json, "n_rows", n);
		fa_json_kv_string(json, "kind", regions[i].kind);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "time_ns");
	fa_json_array_begin(json);
	for (size_t c = 0; c < MAP_COLUMNS; c++)
		fa_json_u64(json,
			    (uint64_t)((double)(c + 1) / MAP_COLUMNS * (double)f->duration_ns));
	fa_json_array_end(json);
	fa_doc_end(doc);

	for (unsigned c = 0; c < MAP_COLUMNS; c++)
		for (unsigned r = 0; r < MAP_ROWS; r++)
			cells[c * MAP_ROWS + r] = quarter ? (r % 8 < 4 && c % 8 < 4 ? 0 : 255)
							  : cell_of(r, (double)c / MAP_COLUMNS);
	fa_doc_column(doc, "map.occupancy", FA_U8, cells, sizeof(cells));
}

/* ---- pages ------------------------------------------------------------------------------------
 */

/* The saw-tooth: every fourth page empty, the others full, odd ones of site 1, even ones of site 2.
 */
static uint8_t page_live(bool quarter, size_t i, size_t moment)
{
	double noise = fixture_random();

	if (quarter)
		return i % 4 ? 255 : 0;
	if (i < SOAK_CELLS / 3)
		return (uint8_t)(200 + 55 * noise);
	return moment == 0 || noise < 0.35 ? 0 : (uint8_t)(1 + 40 * noise * noise);
}

static void emit_page_moment(struct fa_json *json, uint64_t time_ns, bool teardown, size_t n,
			     size_t first_cell, size_t first_block, size_t n_blocks)
{
	/* one region, or two with a gap */
	size_t half = n > QUARTER_CELLS ? n / 2 : n;

	fa_json_object_begin(json);
	fa_json_kv_u64(json, "time_ns", time_ns);
	fa_json_kv_bool(json, "teardown", teardown);
	fa_json_kv_u64(json, "cell_bytes", PAGE);
	fa_json_kv_u64(json, "first_cell", first_cell);
	fa_json_kv_u64(json, "n_cells", n);
	fa_json_kv_u64(json, "first_block", first_block);
	fa_json_kv_u64(json, "n_blocks", n_blocks);
	fa_json_kv_u64(json, "blocks_left_out", 70000);
	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	for (size_t at = 0; at < n; at += half) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "start", PAGES_START + 64 * at * PAGE);
		fa_json_kv_u64(json, "first_cell", at);
		fa_json_kv_u64(json, "n_cells", half);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "regions_left_out", 0);
	fa_json_object_end(json);
}

void fixture_pages(const struct fixture *f, struct fa_doc *doc)
{
	/* two blocks on the second page */
	static const uint64_t address[] = {PAGES_START + PAGE, PAGES_START + PAGE + 2048};
	static const uint64_t size[] = {1024, 512};
	static const uint32_t owner[] = {1, 2}, thread[] = {1, 3};
	static uint8_t live[SOAK_CELLS * N_MOMENTS], site[SOAK_CELLS * N_MOMENTS];
	static uint8_t age[SOAK_CELLS * N_MOMENTS], threads[SOAK_CELLS * N_MOMENTS];
	bool quarter = strcmp(f->kind, "quarter") == 0;
	size_t n = quarter ? QUARTER_CELLS : SOAK_CELLS, moments = quarter ? 1 : N_MOMENTS;
	uint64_t born[] = {f->duration_ns / 2, f->duration_ns / 4};
	struct fa_json *json = fa_doc_begin(doc, "pages");

	fa_json_key(json, "moments");
	fa_json_array_begin(json);
	for (size_t m = 0; m < moments; m++)
		emit_page_moment(json, f->duration_ns / moments * (m + 1), m == 1, n, m * n,
				 m + 1 == moments ? 0 : 2, m + 1 == moments ? 2 : 0);
	fa_json_array_end(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < fixture_n_sites(); i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", i + 1);
		fa_json_kv_string(json, "name", fixture_site(f, i));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_doc_end(doc);

	for (size_t i = 0; i < n * moments; i++) {
		live[i] = page_live(quarter, i % n, i / n);
		site[i] = !live[i]  ? 0
			  : quarter ? (uint8_t)(i % 2 ? 1 : 2)
				    : (uint8_t)(1 + i / 37 % 12);
		age[i] = live[i] ? (uint8_t)(30 + i % 14) : 0;
		threads[i] = live[i] ? (uint8_t)(1 + i / 91 % 9) : 0;
	}
	fa_doc_column(doc, "pages.live", FA_U8, live, n * moments);
	fa_doc_column(doc, "pages.site", FA_U8, site, n * moments);
	fa_doc_column(doc, "pages.age", FA_U8, age, n * moments);
	fa_doc_column(doc, "pages.thread", FA_U8, threads, n * moments);
	fa_doc_column(doc, "pages.block_address", FA_U64, address, ARRAY(address));
	fa_doc_column(doc, "pages.block_size", FA_U64, size, ARRAY(size));
	fa_doc_column(doc, "pages.block_born_ns", FA_U64, born, ARRAY(born));
	fa_doc_column(doc, "pages.block_site", FA_U32, owner, ARRAY(owner));
	fa_doc_column(doc, "pages.block_thread", FA_U32, thread, ARRAY(thread));
}

/* ---- fragmentation -------------------------------------------------------------------------- */

static double uf_at(double t, unsigned order)
{
	double grown = t < 0.434 ? t * 0.4 : 0.55 + (t - 0.434) * 0.35;

	return fmin(0.99, pow((double)order / 10, 1.6) * (0.25 + grown));
}

/* Pages by share of live bytes: empty, then deciles. */
static double pages_at(double t, unsigned bin)
{
	static const double calm[] = {4, 2, 1.5, 2, 2, 3, 4, 6, 9, 16, 50};
	static const double after[] = {38, 21, 6, 3, 2, 2, 3, 4, 5, 7, 9};
	double pages = (t < 0.434 ? 620 : 1190) * 256;

	return pages / 100 * (t < 0.434 ? calm[bin] : after[bin]);
}

static void stack_plain(struct fa_json *json)
{
	fixture_stack(json, "stack", 6, false);
}

static void stack_hostile(struct fa_json *json)
{
	fixture_stack(json, "stack", 6, true);
}

/* Two pages: one with a single block, one with two of different sites; and who pins together. */
static void emit_examples(const struct fixture *f, struct fa_json *json)
{
	fa_json_key(json, "examples");
	fa_json_array_begin(json);
	for (size_t page = 0; page < 2; page++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "address", PAGES_START + page * PAGE);
		fa_json_kv_u64(json, "live_bytes", 48 * (page + 1));
		fa_json_kv_u64(json, "sites", page + 1);
		fa_json_kv_u64(json, "n_blocks", page + 1);
		fa_json_key(json, "blocks");
		fa_json_array_begin(json);
		for (size_t i = 0; i <= page; i++) {
			fa_json_object_begin(json);
			fa_json_kv_u64(json, "address", PAGES_START + page * PAGE + i * 2048);
			fa_json_kv_u64(json, "size", 40);
			fa_json_kv_u64(json, "age_ns", 3 * HOUR);
			fa_json_kv_u64(json, "thread", 3);
			fa_json_kv_u64(json, "site", i + 1);
			fa_json_kv_string(json, "name", fixture_site(f, i));
			fa_json_object_end(json);
		}
		fa_json_array_end(json);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "sets");
	fa_json_array_begin(json);
	fa_json_object_begin(json);
	fixture_numbers(json, "sites", (const uint64_t[]){1, 2}, 2);
	fa_json_key(json, "names");
	fa_json_array_begin(json);
	fa_json_string(json, fixture_site(f, 0));
	fa_json_string(json, fixture_site(f, 1));
	fa_json_array_end(json);
	fa_json_kv_u64(json, "free_bytes", (uint64_t)(301 * MIB));
	fa_json_kv_u64(json, "pages", 80000);
	fa_json_kv_u64(json, "live_bytes", (uint64_t)(3 * MIB));
	fa_json_object_end(json);
	fa_json_array_end(json);
	fa_json_key(json, "pairs");
	fa_json_array_begin(json);
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "a", 1);
	fa_json_kv_u64(json, "b", 2);
	fa_json_kv_string(json, "a_name", fixture_site(f, 0));
	fa_json_kv_string(json, "b_name", fixture_site(f, 1));
	fa_json_kv_u64(json, "shared_bytes", (uint64_t)(44 * MIB));
	fa_json_kv_u64(json, "pages", 12000);
	fa_json_object_end(json);
	fa_json_array_end(json);
}

/* The series that have their own shape: shares, holes by size, and what five sites pin. */
static void emit_indices(struct fa_doc *doc)
{
	static double internal[N_FRAG], ratio[N_FRAG], useful[N_FRAG][2];
	static uint64_t holes[N_FRAG][N_HOLE_BINS], pin_time[N_PINS], pins[5][N_PINS];

	for (size_t i = 0; i < N_FRAG; i++) {
		double t = (double)(i + 1) / N_FRAG;

		internal[i] = 5 + 3 * t;
		ratio[i] = t < 0.434 ? 1.2 : 2.1;
		useful[i][0] = 95 - 40 * t;
		useful[i][1] = 40 - 30 * t;
		for (size_t k = 4; k < 22; k++)
			holes[i][k] = (uint64_t)(t * (double)(k * k) * 4096);
	}
	for (size_t i = 0; i < N_PINS; i++) {
		pin_time[i] = (uint64_t)(i + 1) * 2685 * SEC;
		for (size_t site = 0; site < 5; site++)
			pins[site][i] = (uint64_t)(i < N_PINS / 2 ? 1 : 20) * (5 - site) << 20;
	}
	fa_doc_column(doc, "frag.internal_pct", FA_F64, internal, N_FRAG);
	fa_doc_column(doc, "frag.overhead_ratio", FA_F64, ratio, N_FRAG);
	fa_doc_column(doc, "frag.hole_usefulness", FA_F64, useful, N_FRAG * 2);
	fa_doc_column(doc, "frag.hole_size_hist", FA_U64, holes, N_FRAG * N_HOLE_BINS);
	fa_doc_column(doc, "frag.pin_time_ns", FA_U64, pin_time, N_PINS);
	fa_doc_column(doc, "frag.pin_shapley", FA_U64, pins, 5 * N_PINS);
}

static void emit_slab_figures(struct fa_json *json, uint64_t scale)
{
	fa_json_kv_u64(json, "slabs", 10 * scale);
	fa_json_kv_u64(json, "full_slabs", 4 * scale);
	fa_json_kv_u64(json, "slots", 640 * scale);
	fa_json_kv_u64(json, "blocks", 480 * scale);
	fa_json_kv_u64(json, "free_bytes", (uint64_t)(5 * MIB) * scale);
	fa_json_kv_u64(json, "compact_gain_bytes", (uint64_t)(3 * MIB) * scale);
	fa_json_kv_u64(json, "mesh_gain_bytes", (uint64_t)MIB * scale);
}

/* Of an allocator that has slabs: a quarter of all slots is free. */
static void emit_slabs(const struct fixture *f, struct fa_json *json)
{
	fa_json_kv_string(json, "allocator", "jemalloc");
	fa_json_key(json, "slabs");
	fa_json_object_begin(json);
	emit_slab_figures(json, 3);
	fa_json_kv_u64(json, "bytes", (uint64_t)(60 * MIB));
	for (const char *const *key =
		     (const char *const[]){"large_blocks", "large_bytes", "unplaced_blocks",
					   "unplaced_bytes", NULL};
	     *key; key++)
		fa_json_kv_u64(json, *key, 0);
	fa_json_key(json, "classes");
	fa_json_array_begin(json);
	for (uint64_t i = 1; i <= 2; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "size", 64 * i);
		fa_json_kv_u64(json, "slab_bytes", 4096 * i);
		emit_slab_figures(json, i);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < 2; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", i + 1);
		fa_json_kv_string(json, "name", fixture_site(f, i));
		fa_json_kv_u64(json, "sole", (uint64_t)(4 * MIB));
		fa_json_kv_u64(json, "shapley", (uint64_t)((10 - 5 * (double)i) * MIB));
		fa_json_kv_u64(json, "any", (uint64_t)(12 * MIB));
		fa_json_kv_u64(json, "slabs_sole", 7);
		fixture_stack(json, "stack", i, f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", 0);
	fa_json_kv_u64(json, "shapley", 0);
	fa_json_object_end(json);
	fa_json_object_end(json);
}

void fixture_frag(const struct fixture *f, struct fa_doc *doc)
{
	bool quarter = strcmp(f->kind, "quarter") == 0;
	static uint64_t time[N_FRAG], live[N_FRAG], pinned[N_FRAG], largest[N_FRAG], hole[N_FRAG];
	static uint64_t n_pages[N_FRAG];
	static double uf[N_FRAG][N_ORDERS];
	static uint32_t occupancy[N_FRAG][N_ORDERS];
	struct fa_json *json = fa_doc_begin(doc, "frag");

	fa_json_kv_u64(json, "at_ns", f->duration_ns);
	fa_json_key(json, "metrics");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "live_bytes", (uint64_t)fixture_live(1));
	fa_json_kv_u64(json, "footprint_bytes", (uint64_t)(1190 * MIB));
	fa_json_kv_f64(json, "overhead_ratio", 1190 * MIB / fixture_live(1));
	fa_json_kv_f64(json, "internal_pct", 7.1);
	fa_json_kv_u64(json, "pinned_free_bytes", (uint64_t)(412 * MIB));
	fa_json_kv_u64(json, "largest_hole", (uint64_t)(3.4 * MIB));
	fa_json_kv_u64(json, "hole_bytes", (uint64_t)(583 * MIB));
	fa_json_kv_u64(json, "holes", 212004);
	fa_json_key(json, "uf_index");
	fa_json_array_begin(json);
	for (unsigned k = 0; k < N_ORDERS; k++)
		fa_json_f64(json, uf_at(1, k));
	fa_json_array_end(json);
	fa_json_key(json, "page_occupancy_hist");
	fa_json_array_begin(json);
	for (unsigned k = 0; k < N_ORDERS; k++)
		fa_json_u64(json, (uint64_t)pages_at(1, k));
	fa_json_array_end(json);
	if (strcmp(f->kind, "quarter") == 0) {
		/* of each decile half in the lower step; of each step a quarter not resident */
		fa_json_key(json, "page_fill");
		fa_json_object_begin(json);
		for (unsigned absent = 0; absent < 2; absent++) {
			fa_json_key(json, absent ? "absent" : "resident");
			fa_json_array_begin(json);
			for (unsigned k = 0; k < 2 * N_ORDERS - 1; k++) {
				uint64_t pages = (uint64_t)pages_at(1, (k + 1) / 2) / (k ? 2 : 1);

				fa_json_u64(json, absent ? pages / 4 : pages - pages / 4);
			}
			fa_json_array_end(json);
		}
		fa_json_object_end(json);
	}
	fa_json_key(json, "hole_size_hist");
	fa_json_array_begin(json);
	for (unsigned k = 0; k < N_HOLE_BINS; k++) {
		double d = ((double)k - 11) / 2.6;
		double blocks = k >= 4 && k <= 21 ? 48000 * exp(-d * d) : 0;

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "blocks", (uint64_t)blocks);
		fa_json_kv_u64(json, "bytes", (uint64_t)(floor(blocks) * 1.4 * pow(2, k)));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "hole_usefulness");
	fa_json_object_begin(json);
	fa_json_kv_f64(json, "p50", 61.5);
	fa_json_kv_f64(json, "p95", 12);
	fa_json_object_end(json);
	fa_json_kv_u64(json, "pages", 1190 * 256);
	fa_json_kv_f64(json, "huge_util", 58);
	fa_json_kv_u64(json, "empty_bytes", (uint64_t)(171 * MIB));
	fa_json_kv_u64(json, "trimmable_bytes", (uint64_t)(160 * MIB));
	fa_json_object_end(json);
	fa_json_kv_u64(json, "rolled_moments", 0);
	/* the saw-tooth was recorded without samples of residency */
	fa_json_kv_string(json, "residency", quarter ? "mappings" : "sampled");
	if (quarter)
		fa_json_kv_null(json, "waterfall");
	else
		fixture_held(json, f->duration_ns,
			     f->hostile ? fixture_hostile_name : "report_rows",
			     f->hostile ? stack_hostile : stack_plain);
	fa_json_key(json, "regions");
	fa_json_array_begin(json);
	fa_json_array_end(json);
	fa_json_key(json, "sites");
	fa_json_array_begin(json);
	for (size_t i = 0; i < 5; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", i + 1);
		fa_json_kv_string(json, "name", fixture_site(f, i));
		fa_json_kv_u64(json, "sole", (uint64_t)(190 * MIB / (double)(i * i + 1)));
		fa_json_kv_u64(json, "shapley", (uint64_t)(230 * MIB / (double)(i * i + 1)));
		fa_json_kv_u64(json, "any", (uint64_t)(520 * MIB / (double)(i + 1)));
		fa_json_kv_u64(json, "pages_sole", (uint64_t)(190 * 256 / (double)(i * i + 1)));
		fa_json_kv_u64(json, "live_bytes", (uint64_t)(2 * MIB / (double)(i + 1)));
		fa_json_kv_f64(json, "density", 170.6 / (double)(i + 1));
		fa_json_kv_u64(json, "age_ns", 6 * HOUR - i * HOUR / 2);
		fixture_stack(json, "stack", i, f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	emit_examples(f, json);
	if (quarter)
		emit_slabs(f, json);
	fa_json_key(json, "verdict");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", "pinned");
	fa_json_kv_string(
		json, "text",
		"412 MiB of free memory sit on pages that a few live blocks keep resident.");
	fa_json_object_end(json);
	fa_doc_end(doc);

	for (size_t i = 0; i < N_FRAG; i++) {
		double t = (double)(i + 1) / N_FRAG;
		double free = t < 0.434 ? 60 + 40 * t : 560 + 40 * t;

		time[i] = (uint64_t)(t * (double)f->duration_ns);
		live[i] = (uint64_t)fixture_live(t);
		hole[i] = (uint64_t)(free * MIB);
		pinned[i] = (uint64_t)(free * (t < 0.434 ? 0.2 : 0.68) * MIB);
		largest[i] = (uint64_t)((t < 0.434 ? 24 - 20 * t : 9 - 5 * t) * MIB);
		n_pages[i] = (t < 0.434 ? 620 : 1190) * 256;
		for (unsigned k = 0; k < N_ORDERS; k++) {
			uf[i][k] = uf_at(t, k);
			occupancy[i][k] = (uint32_t)pages_at(t, k);
		}
	}
	fa_doc_column(doc, "frag.time_ns", FA_U64, time, N_FRAG);
	fa_doc_column(doc, "frag.live_bytes", FA_U64, live, N_FRAG);
	fa_doc_column(doc, "frag.pinned_free_bytes", FA_U64, pinned, N_FRAG);
	fa_doc_column(doc, "frag.largest_hole", FA_U64, largest, N_FRAG);
	fa_doc_column(doc, "frag.hole_bytes", FA_U64, hole, N_FRAG);
	fa_doc_column(doc, "frag.pages", FA_U64, n_pages, N_FRAG);
	fa_doc_column(doc, "frag.uf_index", FA_F64, uf, N_FRAG * N_ORDERS);
	fa_doc_column(doc, "frag.page_occupancy_hist", FA_U32, occupancy, N_FRAG * N_ORDERS);
	if (!quarter)
		fixture_waterfall(doc, f->duration_ns);
	emit_indices(doc);
}
