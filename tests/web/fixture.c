/* SPDX-License-Identifier: MIT */
/*
 * fixture KIND OUT.html: write a report about a program that never ran
 *
 * The browser tests need documents whose answers are known: they are put together here through
 * fa_doc, as the analysis does it, and written by rp_report_write(), so that the tests see the very
 * bytes that a user opens.
 *
 *   soak     twelve hours of a server: a leak, a cache, a batch job, a past peak
 *   quarter  a heap map with exactly a quarter of its cells empty, and a saw-tooth timeline
 *   hostile  names that try to leave their place in the page
 *   empty    no events at all
 *   lost     a cut-off recording with lost events
 *   sampled  a sample: what needs every block is not there
 *   diff     soak against an older recording of it
 *   governed a recording with a limit of the overhead
 *   codec    columns at the limits of their types
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "ft_cleanup.h"
#include "report.h"

enum {
	N_STEPS = 64,
	N_THREAD_STEPS = 128,
};

/* The same sequence in every build: xorshift, not rand(). */
static uint64_t random_state = 88172645463325252ull;

double fixture_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (double)(random_state >> 11) / 9007199254740992.0;
}

/* ---- what the server did -------------------------------------------------------------------- */

enum shape { LEAK, CACHE, STARTUP, BATCH, CHURN };

struct site {
	const char *name, *stack; /* innermost first, separated by '|': function@file:line */
	enum shape shape;
	double mib_at_end;
	unsigned block_bytes;
	double allocated_gib;
};

static const struct site sites[] = {
	{"cache_put",
	 "cache_put@src/cache.c:212|session_store@src/session.c:98|handle_request@src/"
	 "http.c:431|worker_loop@src/worker.c:77|start_thread@nptl/pthread_create.c:442",
	 LEAK, 143, 512, 9.4},
	{"log_open",
	 "log_open@src/log.c:88|log_for_client@src/log.c:141|handle_request@src/"
	 "http.c:402|worker_loop@src/worker.c:77|start_thread@nptl/pthread_create.c:442",
	 LEAK, 22.4, 96, 1.1},
	{"tls_ticket_new",
	 "tls_ticket_new@src/tls.c:305|tls_accept@src/tls.c:377|accept_client@src/"
	 "net.c:166|listener_loop@src/net.c:201|start_thread@nptl/pthread_create.c:442",
	 LEAK, 6.1, 192, 0.4},
	{"index_load",
	 "index_load@src/index.c:51|store_open@src/store.c:120|server_init@src/main.c:64|main@src/"
	 "main.c:131",
	 STARTUP, 182, 65536, 0.18},
	{"arena_grow",
	 "arena_grow@src/arena.c:33|parse_headers@src/http.c:156|handle_request@src/"
	 "http.c:398|worker_loop@src/worker.c:77|start_thread@nptl/pthread_create.c:442",
	 CACHE, 64, 16384, 310},
	{"lru_insert",
	 "lru_insert@src/lru.c:74|cache_get@src/cache.c:160|handle_request@src/"
	 "http.c:417|worker_loop@src/worker.c:77|start_thread@nptl/pthread_create.c:442",
	 CACHE, 128, 1024, 42},
	{"std::vector<Row>::_M_realloc_insert",
	 "std::vector<Row>::_M_realloc_insert@/usr/include/c++/12/bits/"
	 "vector.tcc:439|report_rows@src/report.cc:58|report_job@src/report.cc:141|batch_loop@src/"
	 "batch.c:40|start_thread@nptl/pthread_create.c:442",
	 BATCH, 31, 4096, 88},
	{"json_node_new",
	 "json_node_new@src/json.c:29|json_parse_value@src/json.c:117|json_parse_object@src/"
	 "json.c:171|json_parse_value@src/json.c:122|json_parse@src/json.c:240|handle_request@src/"
	 "http.c:409|worker_loop@src/worker.c:77|start_thread@nptl/pthread_create.c:442",
	 CHURN, 0.9, 64, 640},
	{"buffer_reserve",
	 "buffer_reserve@src/buffer.c:47|response_append@src/http.c:288|handle_request@src/"
	 "http.c:440|worker_loop@src/worker.c:77|start_thread@nptl/pthread_create.c:442",
	 CHURN, 2.3, 8192, 980},
	{"config_parse",
	 "config_parse@src/config.c:93|server_init@src/main.c:58|main@src/main.c:131", STARTUP, 1.4,
	 128, 0.002},
	{"sqlite3MemMalloc",
	 "sqlite3MemMalloc@:0|sqlite3Malloc@:0|pcache1Alloc@:0|sqlite3BtreeOpen@:0|store_open@src/"
	 "store.c:133|server_init@src/main.c:64|main@src/main.c:131",
	 STARTUP, 7.8, 4368, 12},
	{"dict_intern",
	 "dict_intern@src/dict.c:66|header_name@src/http.c:120|parse_headers@src/"
	 "http.c:149|handle_request@src/http.c:398|worker_loop@src/worker.c:77|start_thread@nptl/"
	 "pthread_create.c:442",
	 CACHE, 3.2, 48, 0.02},
};

/* Live bytes of a site, t in 0..1 of the run. */
static double site_live(const struct site *site, double t)
{
	double full = site->mib_at_end * MIB;

	switch (site->shape) {
	case LEAK:
		return full * t;
	case CACHE:
		return full * (1 - exp(-9 * t)) * (0.98 + 0.02 * sin(t * 140));
	case STARTUP:
		return t < 0.004 ? full * t / 0.004 : full;
	case BATCH: {
		double phase = fmod(t * 12 + 0.35, 1);

		return full * (phase < 0.3 ? phase / 0.3 * 6.5 : 0.9);
	}
	case CHURN:
		return full * (0.7 + 0.6 * fabs(sin(t * 977)));
	}
	return 0;
}

/* One burst at 43 % of the run that the resident set never gives back. */
static double burst(double t)
{
	double d = (t - 0.434) / 0.012;

	return 610 * MIB * exp(-d * d);
}

double fixture_live(double t)
{
	double sum = burst(t);

	for (size_t i = 0; i < ARRAY(sites); i++)
		sum += site_live(&sites[i], t);
	return sum;
}

/* ---- stacks --------------------------------------------------------------------------------- */

const char *const fixture_hostile_name =
	"</script><img src=x onerror=document.title='owned'>\" onmouseover='x' \xe2\x80\xaegnp.exe";

static void emit_frame(struct fa_json *json, const char *text, size_t length, unsigned index,
		       bool hostile)
{
	const char *at = memchr(text, '@', length);
	const char *colon = memrchr(text, ':', length);
	char function[256], file[256];

	snprintf(function, sizeof(function), "%.*s", (int)(at - text), text);
	snprintf(file, sizeof(file), "%.*s", (int)(colon - at - 1), at + 1);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "function", hostile ? fixture_hostile_name : function);
	if (*file) {
		fa_json_kv_string(json, "file", hostile ? "<b>/etc/\"passwd\"</b>" : file);
		fa_json_kv_u64(json, "line", (uint64_t)atoi(colon + 1));
	} else {
		fa_json_kv_null(json, "file");
		fa_json_kv_null(json, "line");
	}
	fa_json_kv_string(json, "module",
			  strstr(function, "sqlite") || strstr(function, "pcache")
				  ? "libsqlite3.so.0"
			  : strcmp(function, "start_thread") == 0 ? "libc.so.6"
								  : "cacheserver");
	fa_json_kv_u64(json, "offset", 0x4a10 + 0x131 * (uint64_t)length + 16 * index);
	fa_json_kv_bool(json, "inlined", strstr(function, "_M_realloc") != NULL);
	fa_json_object_end(json);
}

static void emit_stack_as(struct fa_json *json, const char *key, const char *stack, bool hostile)
{
	unsigned index = 0;

	fa_json_key(json, key);
	fa_json_array_begin(json);
	for (const char *p = stack; *p; index++) {
		size_t length = strcspn(p, "|");

		emit_frame(json, p, length, index, hostile);
		p += length + (p[length] == '|');
	}
	fa_json_array_end(json);
}

static void emit_stack(struct fa_json *json, const char *stack, bool hostile)
{
	emit_stack_as(json, "stack", stack, hostile);
}

void fixture_stack(struct fa_json *json, const char *key, size_t site, bool hostile)
{
	emit_stack_as(json, key, sites[site].stack, hostile);
}

size_t fixture_n_sites(void)
{
	return ARRAY(sites);
}

const char *fixture_site(const struct fixture *f, size_t i)
{
	return f->hostile ? fixture_hostile_name : sites[i].name;
}

void fixture_numbers(struct fa_json *json, const char *key, const uint64_t *values, size_t n)
{
	fa_json_key(json, key);
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++)
		fa_json_u64(json, values[i]);
	fa_json_array_end(json);
}

/* ---- sections ------------------------------------------------------------------------------- */

static void emit_finding(struct fa_json *json, const char *code, const char *severity,
			 const char *text, const char *section, uint64_t site)
{
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", code);
	fa_json_kv_string(json, "severity", severity);
	fa_json_kv_string(json, "text", text);
	fa_json_key(json, "params");
	fa_json_object_begin(json);
	fa_json_object_end(json);
	fa_json_kv_string(json, "section", section);
	if (site)
		fa_json_kv_u64(json, "site", site);
	else
		fa_json_kv_null(json, "site");
	fa_json_object_end(json);
}

static void emit_summary(const struct fixture *f, struct fa_doc *doc)
{
	bool empty = strcmp(f->kind, "empty") == 0;
	struct fa_json *json = fa_doc_begin(doc, "summary");
	bool quarter = strcmp(f->kind, "quarter") == 0;
	uint64_t peak = quarter ? NEEDLE_BYTES : (uint64_t)fixture_live(0.434);
	uint64_t live = quarter ? (uint64_t)(10 * MIB) : (uint64_t)fixture_live(1);
	double peak_at = quarter ? (NEEDLE_TICK + 0.5) / N_TICKS : 0.434;

	fa_json_kv_bool(json, "estimated", f->sampled);
	if (f->sampled)
		fa_json_kv_u64(json, "sample_bytes", 65536);
	else
		fa_json_kv_null(json, "sample_bytes");
	fa_json_key(json, "program");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "name", f->hostile ? fixture_hostile_name : f->program);
	fa_json_kv_string(json, "exe", "/usr/local/bin/cacheserver");
	fa_json_kv_string(json, "argv", "cacheserver --listen 8080 --workers 6");
	fa_json_kv_u64(json, "pid", 4711);
	fa_json_object_end(json);

	fa_json_key(json, "recording");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "path", "cacheserver.4711.frag");
	fa_json_kv_u64(json, "bytes", empty ? 53248 : 214958080);
	fa_json_kv_string(json, "state", f->lost ? "cut off" : "complete");
	fa_json_kv_u64(json, "started_realtime_ns", 1795341600000000000ull);
	fa_json_kv_string(json, "tool_version", FT_VERSION);
	fa_json_object_end(json);

	fa_json_kv_u64(json, "duration_ns", f->duration_ns);
	fa_json_kv_bool(json, "complete", !f->lost);

	fa_json_key(json, "totals");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "allocations", empty ? 0 : 50184022);
	fa_json_kv_u64(json, "frees", empty ? 0 : 49811710);
	fa_json_kv_u64(json, "bytes_allocated", empty ? 0 : 2238029004800);
	fa_json_kv_u64(json, "live_blocks", empty ? 0 : 372312);
	fa_json_kv_u64(json, "live_bytes", empty ? 0 : live);
	fa_json_kv_u64(json, "usable_bytes", empty ? 0 : live + live / 14);
	fa_json_kv_u64(json, "peak_bytes", empty ? 0 : peak);
	fa_json_kv_u64(json, "peak_ns", (uint64_t)(peak_at * (double)f->duration_ns));
	fa_json_kv_u64(json, "events", empty ? 0 : 100204551);
	fa_json_kv_u64(json, "lost_events", f->lost ? 18220 : 0);
	fa_json_object_end(json);

	fa_json_key(json, "rss");
	if (empty) {
		fa_json_null(json);
	} else {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "last", (uint64_t)(1190 * MIB));
		fa_json_kv_u64(json, "max", (uint64_t)(1274 * MIB));
		fa_json_object_end(json);
	}
	fa_json_kv_u64(json, "threads", empty ? 1 : 9);
	fa_json_key(json, "marks");
	fa_json_array_begin(json);
	for (uint64_t i = 0; i < 2 && !empty; i++) {
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "time_ns", f->duration_ns / 4 * (i + 1));
		fa_json_kv_string(json, "label",
				  f->hostile ? fixture_hostile_name
				  : i	     ? "load begins"
					     : "warm");
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_kv_u64(json, "marks_left_out", 0);

	fa_json_key(json, "verdict");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "code", empty ? "no_growth" : "growing");
	fa_json_kv_string(json, "severity", empty ? "ok" : "high");
	fa_json_kv_string(json, "text",
			  empty ? "No event was recorded: the program made no allocation."
				: "3 call sites keep growing, together 14.3 MiB/h (reachability "
				  "unknown); half of the resident memory is not live.");
	fa_json_object_end(json);

	fa_json_key(json, "findings");
	fa_json_array_begin(json);
	if (!empty) {
		emit_finding(json, "growing", "high",
			     f->hostile ? fixture_hostile_name
					: "cache_put() grows 11.9 MiB/h; none of its blocks was "
					  "freed in 11 h 58 min.",
			     "leaks", 1);
		emit_finding(json, "pinned", "high",
			     "412 MiB sit on pages that are less than 10 % full; 3 sites pin them.",
			     "frag", 0);
		emit_finding(
			json, "past_peak", "medium",
			"The peak of 1.2 GiB at 05:12:29 is past, its memory is still resident.",
			"frag", 0);
		emit_finding(json, "cross_thread", "low",
			     "worker-2 frees 92 % of what listener allocates.", "threads", 0);
	}
	fa_json_array_end(json);
	fa_doc_end(doc);
}

static const char *const verdict_of[] = {
	[LEAK] = "growing",   [CACHE] = "plateau", [STARTUP] = "never_freed",
	[BATCH] = "sawtooth", [CHURN] = "churn",
};

static const struct {
	const char *code, *name;
	unsigned value;
} reason_of[] = {
	[LEAK] = {"both_tests", NULL, 0},      [CACHE] = {"slowing", NULL, 0},
	[STARTUP] = {"no_free", NULL, 0},      [BATCH] = {"teeth", "times", 12},
	[CHURN] = {"turnover", "times", 4200},
};

static void emit_leaks(const struct fixture *f, struct fa_doc *doc, bool empty)
{
	static uint64_t series[ARRAY(sites)][N_STEPS];
	size_t n = empty ? 0 : ARRAY(sites);
	double hours = (double)f->duration_ns / (double)HOUR;
	struct fa_json *json = fa_doc_begin(doc, "leaks");

	fa_json_key(json, "leaks");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++) {
		const struct site *s = &sites[i];
		double bytes = site_live(s, 1), per_s = bytes / (hours * 3600);
		uint64_t allocations = (uint64_t)(s->allocated_gib * 1024 * MIB / s->block_bytes);

		for (size_t k = 0; k < N_STEPS; k++)
			series[i][k] = (uint64_t)site_live(s, (double)(k + 1) / N_STEPS);

		fa_json_object_begin(json);
		fa_json_kv_u64(json, "site", i + 1);
		fa_json_kv_string(json, "name", f->hostile ? fixture_hostile_name : s->name);
		fa_json_kv_string(json, "verdict", verdict_of[s->shape]);
		fa_json_kv_string(json, "class", "unknown");
		fa_json_key(json, "reason");
		fa_json_object_begin(json);
		fa_json_kv_string(json, "code", reason_of[s->shape].code);
		if (reason_of[s->shape].name)
			fa_json_kv_u64(json, reason_of[s->shape].name, reason_of[s->shape].value);
		fa_json_object_end(json);
		fa_json_kv_u64(json, "bytes", (uint64_t)bytes);
		fa_json_kv_u64(json, "blocks", (uint64_t)(bytes / s->block_bytes));
		if (s->shape == LEAK) {
			fa_json_kv_f64(json, "rate_bytes_per_s", per_s);
			fa_json_kv_f64(json, "rate_low", per_s * 0.94);
			fa_json_kv_f64(json, "rate_high", per_s * 1.05);
			fa_json_kv_u64(json, "score", 96 - 15 * i);
		} else {
			fa_json_kv_null(json, "rate_bytes_per_s");
			fa_json_kv_null(json, "rate_low");
			fa_json_kv_null(json, "rate_high");
			fa_json_kv_u64(json, "score", s->shape == BATCH ? 21 : 4);
		}
		fa_json_kv_u64(json, "first_ns", 41 * SEC + i * 7 * SEC);
		fa_json_kv_u64(json, "last_ns",
			       s->shape == STARTUP ? 170 * SEC : f->duration_ns - 3 * SEC);
		fa_json_kv_u64(json, "threads", s->shape == STARTUP ? 1 : 6);
		fa_json_kv_u64(json, "allocated_bytes", (uint64_t)(s->allocated_gib * 1024 * MIB));
		fa_json_kv_u64(json, "allocations", allocations);
		fa_json_kv_u64(json, "frees", allocations - (uint64_t)(bytes / s->block_bytes));
		fa_json_kv_u64(json, "peak_bytes", (uint64_t)(site_live(s, 0.434)));
		fa_json_kv_u64(json, "temporary", s->shape == CHURN ? allocations / 2 : 0);
		emit_stack(json, s->stack, f->hostile);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", empty ? 0 : 214);
	fa_json_kv_u64(json, "bytes", empty ? 0 : 1310720);
	fa_json_kv_u64(json, "blocks", empty ? 0 : 5120);
	fa_json_object_end(json);
	fa_json_key(json, "process");
	fa_json_object_begin(json);
	fa_json_kv_string(json, "verdict", empty ? "unsure" : "growing");
	fa_json_kv_f64(json, "resolvable_bytes_per_s", 310.5);
	fa_json_object_end(json);
	fa_doc_end(doc);
	fa_doc_column(doc, "leaks.series", FA_U64, series, n * N_STEPS);
}

static const struct {
	const char *name, *start;
	double share; /* of what workers do */
} threads[] = {
	{"cacheserver", "main", 0.02},	   {"listener", "listener_loop", 0.05},
	{"worker-0", "worker_loop", 0.19}, {"worker-1", "worker_loop", 0.18},
	{"worker-2", "worker_loop", 0.17}, {"worker-3", "worker_loop", 0.14},
	{"worker-4", "worker_loop", 0.13}, {"worker-5", "worker_loop", 0.1},
	{"batch", "batch_loop", 0.02},
};

static double thread_live(size_t i, double t)
{
	double sum = 0;

	for (size_t k = 0; k < ARRAY(sites); k++) {
		double live = site_live(&sites[k], t);

		if (sites[k].shape == STARTUP)
			sum += i == 0 ? live : 0;
		else if (sites[k].shape == BATCH)
			sum += i == 8 ? live : 0;
		else
			sum += live * threads[i].share;
	}
	return sum + (i == 1 ? burst(t) : 0);
}

static void emit_threads(const struct fixture *f, struct fa_doc *doc, bool empty)
{
	static uint64_t series[ARRAY(threads)][N_THREAD_STEPS];
	size_t n = empty ? 0 : ARRAY(threads);
	struct fa_json *json = fa_doc_begin(doc, "threads");

	fa_json_key(json, "threads");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < N_THREAD_STEPS; k++)
			series[i][k] = (uint64_t)thread_live(i, (double)(k + 1) / N_THREAD_STEPS);
		fa_json_object_begin(json);
		fa_json_kv_u64(json, "id", i + 1);
		fa_json_kv_u64(json, "tid", 4711 + i);
		fa_json_kv_string(json, "name",
				  f->hostile ? fixture_hostile_name : threads[i].name);
		fa_json_kv_string(json, "start_function", threads[i].start);
		fa_json_kv_u64(json, "start_ns", i * 3000000);
		if (i == 8)
			fa_json_kv_u64(json, "end_ns", f->duration_ns - 40 * SEC);
		else
			fa_json_kv_null(json, "end_ns");
		fa_json_kv_u64(json, "allocated_bytes",
			       (uint64_t)(2084.0 * 1024 * MIB * threads[i].share));
		fa_json_kv_u64(json, "allocations", (uint64_t)(50184022 * threads[i].share));
		fa_json_kv_u64(json, "live_bytes", (uint64_t)thread_live(i, 1));
		fa_json_kv_u64(json, "live_blocks", (uint64_t)(372312 * threads[i].share));
		fa_json_kv_u64(json, "freed_by_others_bytes",
			       (uint64_t)((i == 1 ? 93.2 : 1.7) * 1024 * MIB * threads[i].share));
		fa_json_kv_f64(json, "rate_bytes_per_s", 4100.0 * threads[i].share);
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_key(json, "free_matrix");
	fa_json_object_begin(json);
	fa_json_key(json, "ids");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++)
		fa_json_u64(json, i + 1);
	fa_json_array_end(json);
	fa_json_key(json, "bytes");
	fa_json_array_begin(json);
	for (size_t i = 0; i < n; i++) {
		fa_json_array_begin(json);
		for (size_t j = 0; j < n; j++) {
			double gib = i == j		? 2000 * threads[i].share
				     : i == 1 && j == 4 ? 92
							: 0.4 * threads[i].share * fixture_random();

			fa_json_u64(json, (uint64_t)(gib * 1024 * MIB));
		}
		fa_json_array_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
	fa_doc_end(doc);
	fa_doc_column(doc, "threads.series", FA_U64, series, n * N_THREAD_STEPS);
}

/* ---- flame graph ---------------------------------------------------------------------------- */

struct flame {
	const char *functions[256];
	uint32_t n_functions;
	uint32_t parent[512], function[512], n;
	uint64_t leaked[512], peak[512], allocated[512], count[512], temporary[512];
	/* four steps, of the leaves */
	uint32_t step_node[64], n_rows;
	uint64_t step_ns[4], step_live[256], step_allocated[256], step_count[256];
};

static uint32_t flame_function(struct flame *flame, const char *name, size_t length)
{
	for (uint32_t i = 0; i < flame->n_functions; i++)
		if (strncmp(flame->functions[i], name, length) == 0 && !flame->functions[i][length])
			return i;
	flame->functions[flame->n_functions] = strndup(name, length);
	return flame->n_functions++;
}

static uint32_t flame_child(struct flame *flame, uint32_t parent, uint32_t function)
{
	for (uint32_t i = 1; i < flame->n; i++)
		if (flame->parent[i] == parent && flame->function[i] == function)
			return i;
	flame->parent[flame->n] = parent;
	flame->function[flame->n] = function;
	return flame->n++;
}

/* From the outermost frame inwards; returns the leaf. */
static uint32_t flame_path(struct flame *flame, const char *stack)
{
	const char *inner = strchr(stack, '|');
	uint32_t parent = inner ? flame_path(flame, inner + 1) : 0;

	return flame_child(flame, parent, flame_function(flame, stack, strcspn(stack, "@")));
}

static void emit_flame(const struct fixture *f, struct fa_doc *doc)
{
	static struct flame flame;
	static const char *const metrics[] = {"leaked", "peak", "allocated", "count", "temporary"};
	struct fa_json *json;

	flame_function(&flame, "all", 3);
	flame.n = 1;
	for (size_t i = 0; i < ARRAY(sites); i++) {
		const struct site *s = &sites[i];
		uint32_t leaf = flame_path(&flame, s->stack);
		uint64_t allocations = (uint64_t)(s->allocated_gib * 1024 * MIB / s->block_bytes);

		flame.leaked[leaf] = (uint64_t)site_live(s, 1);
		flame.peak[leaf] = (uint64_t)site_live(s, 0.434);
		flame.allocated[leaf] = (uint64_t)(s->allocated_gib * 1024 * MIB);
		flame.count[leaf] = allocations;
		flame.temporary[leaf] = s->shape == CHURN ? allocations / 2 * s->block_bytes : 0;
		flame.step_node[flame.n_rows] = leaf;
		for (uint32_t step = 0; step < 4; step++) {
			uint32_t cell = flame.n_rows * 4 + step;

			flame.step_ns[step] = f->duration_ns / 4 * (step + 1);
			flame.step_live[cell] = (uint64_t)site_live(s, (step + 1) / 4.0);
			flame.step_allocated[cell] = flame.allocated[leaf] / 4;
			flame.step_count[cell] = allocations / 4;
		}
		flame.n_rows++;
	}

	json = fa_doc_begin(doc, "flame");
	fa_json_key(json, "functions");
	fa_json_array_begin(json);
	for (uint32_t i = 0; i < flame.n_functions; i++)
		fa_json_string(json, f->hostile && i ? fixture_hostile_name : flame.functions[i]);
	fa_json_array_end(json);
	fa_json_key(json, "metrics");
	fa_json_array_begin(json);
	for (size_t i = 0; i < ARRAY(metrics); i++)
		fa_json_string(json, metrics[i]);
	fa_json_array_end(json);
	fa_json_key(json, "other");
	fa_json_object_begin(json);
	fa_json_kv_u64(json, "sites", 214);
	fa_json_kv_u64(json, "bytes", 1310720);
	fa_json_object_end(json);
	fa_doc_end(doc);

	fa_doc_column(doc, "flame.parent", FA_U32, flame.parent, flame.n);
	fa_doc_column(doc, "flame.function", FA_U32, flame.function, flame.n);
	fa_doc_column(doc, "flame.leaked", FA_U64, flame.leaked, flame.n);
	fa_doc_column(doc, "flame.peak", FA_U64, flame.peak, flame.n);
	fa_doc_column(doc, "flame.allocated", FA_U64, flame.allocated, flame.n);
	fa_doc_column(doc, "flame.count", FA_U64, flame.count, flame.n);
	fa_doc_column(doc, "flame.temporary", FA_U64, flame.temporary, flame.n);
	fa_doc_column(doc, "flame.step_ns", FA_U64, flame.step_ns, 4);
	fa_doc_column(doc, "flame.step_node", FA_U32, flame.step_node, flame.n_rows);
	fa_doc_column(doc, "flame.step_live", FA_U64, flame.step_live, (size_t)flame.n_rows * 4);
	fa_doc_column(doc, "flame.step_allocated", FA_U64, flame.step_allocated,
		      (size_t)flame.n_rows * 4);
	fa_doc_column(doc, "flame.step_count", FA_U64, flame.step_count, (size_t)flame.n_rows * 4);
	for (uint32_t i = 0; i < flame.n_functions; i++)
		free((char *)(uintptr_t)flame.functions[i]);
}

/* unit.test.ts expects these values. */
static void emit_codec(struct fa_doc *doc)
{
	static const uint64_t wide[] = {0, (1ull << 53) - 1, 0, 1, (1ull << 52) + 1, 127, 128};
	static const int64_t negative[] = {-1, INT32_MIN, 1, -(1ll << 52), 0};
	static const uint32_t narrow[] = {0, UINT32_MAX, 1, UINT32_MAX - 1};
	static const double real[] = {0.1, -1e300, 1e-300, 0, 0.333};
	static uint32_t many[(1 << 20) + 3]; /* two chunks */

	for (size_t i = 0; i < ARRAY(many); i++)
		many[i] = (uint32_t)(i * 2654435761u);
	fa_doc_column(doc, "codec.u64", FA_U64, wide, ARRAY(wide));
	fa_doc_column(doc, "codec.i64", FA_I64, negative, ARRAY(negative));
	fa_doc_column(doc, "codec.u32", FA_U32, narrow, ARRAY(narrow));
	fa_doc_column(doc, "codec.f64", FA_F64, real, ARRAY(real));
	fa_doc_column(doc, "codec.many", FA_U32, many, ARRAY(many));
}

/* What a sampled recording can't answer. */
static void emit_unavailable(struct fa_doc *doc)
{
	static const char *const sections[] = {"map",	"pages",   "frag",
					       "buddy", "compact", "reallocs"};

	for (size_t i = 0; i < ARRAY(sections); i++) {
		fa_json_kv_string(fa_doc_begin(doc, sections[i]), "unavailable",
				  "the recording is a sample");
		fa_doc_end(doc);
	}
}

static void emit_program(const struct fixture *f, struct fa_doc *doc)
{
	bool empty = strcmp(f->kind, "empty") == 0;

	emit_summary(f, doc);
	emit_leaks(f, doc, empty);
	emit_threads(f, doc, empty);
	fixture_errors(f, doc);
	if (f->diff)
		fixture_diff(f, doc);
	fixture_quality(f, doc, empty);
	if (strcmp(f->kind, "codec") == 0) {
		emit_codec(doc);
	} else if (!empty) {
		fixture_timeline(f, doc);
		fixture_largest(f, doc);
		fixture_lifetimes(f, doc);
		if (f->sampled) {
			emit_unavailable(doc);
		} else {
			fixture_map(f, doc);
			fixture_pages(f, doc);
			fixture_frag(f, doc);
			fixture_models(f, doc);
		}
		emit_flame(f, doc);
		if (strcmp(f->kind, "soak") == 0 || f->hostile)
			fixture_memory(f, doc);
	}
}

static struct ft_error *write_fixture(const struct fixture *f, FILE *out)
{
	struct fa_doc *doc;

	FT_TRY(fa_doc_create(&doc));
	if (strcmp(f->kind, "machine") == 0)
		fixture_machine(f, doc);
	else
		emit_program(f, doc);

	struct ft_error *error = rp_report_write(doc, NULL, out);
	fa_doc_destroy(doc);
	return error;
}

int main(int argc, char **argv)
{
	static const struct fixture kinds[] = {
		{.kind = "soak", .program = "cacheserver", .duration_ns = 12 * HOUR - 120 * SEC},
		{.kind = "quarter", .program = "sawtooth", .duration_ns = 64 * SEC},
		{.kind = "hostile", .duration_ns = 12 * HOUR, .hostile = true},
		{.kind = "empty", .program = "true", .duration_ns = SEC / 500},
		{.kind = "codec", .program = "codec", .duration_ns = SEC},
		{.kind = "lost", .program = "cacheserver", .duration_ns = 12 * HOUR, .lost = true},
		{.kind = "governed",
		 .program = "cacheserver",
		 .duration_ns = 12 * HOUR,
		 .governed = true},
		{.kind = "sampled",
		 .program = "cacheserver",
		 .duration_ns = 12 * HOUR,
		 .sampled = true},
		{.kind = "diff",
		 .program = "cacheserver",
		 .duration_ns = 12 * HOUR - 120 * SEC,
		 .diff = true},
		{.kind = "machine", .duration_ns = 64 * SEC},
	};

	for (size_t i = 0; argc == 3 && i < ARRAY(kinds); i++) {
		if (strcmp(kinds[i].kind, argv[1]) != 0)
			continue;
		ft_auto_fclose FILE *out = fopen(argv[2], "w");
		if (!out) {
			perror(argv[2]);
			return 1;
		}
		ft_auto_error struct ft_error *error = write_fixture(&kinds[i], out);
		if (error)
			fprintf(stderr, "fixture: %s\n", error->message);
		return error ? 1 : 0;
	}
	fputs("usage: fixture soak|quarter|hostile|empty|lost|governed|sampled|diff|codec|machine "
	      "OUT.html\n",
	      stderr);
	return 2;
}
