/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze check: its formats
 *
 * text: one line a finding. markdown: for a job's summary. junit: the XML that Jenkins' JUnit
 * plugin and its kin read. sarif: SARIF 2.1.0 (OASIS standard). Names are untrusted text: each
 * format escapes what means something in it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fa_json.h"

static const char *const level_names[] = {"note", "warning", "error"};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "passed", "failed", "could not be judged" */
static const char *outcome(const struct check_result *r)
{
	if (r->status == CLI_OK)
		return "passed";
	return r->status == CLI_PARTIAL ? "incomplete" : "failed";
}

/* ---- text --------------------------------------------------------------------------------------
 */

/* Without characters that move the cursor. */
static void add_plain(struct ft_strbuf *out, const char *text)
{
	for (; text && *text; text++)
		ft_strbuf_addc(out, (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void add_place(struct ft_strbuf *out, const struct check_place *place)
{
	if (!place->file || !place->line)
		return;
	ft_strbuf_adds(out, " [");
	add_plain(out, place->file);
	ft_strbuf_addf(out, ":%" PRIu64 "]", place->line);
}

void check_write_text(const struct check_result *r, struct ft_strbuf *out)
{
	static const enum term_style styles[] = {STYLE_DIM, STYLE_YELLOW, STYLE_RED};
	const char *path = base_name(r->path);

	for (int level = CHECK_ERROR; level >= CHECK_NOTE; level--) {
		for (size_t i = 0; i < r->n_findings; i++) {
			const struct check_finding *f = &r->findings[i];

			if ((int)f->level != level)
				continue;
			add_plain(out, path);
			ft_strbuf_addf(out, ": %s%s%s: ", term_on(styles[level]),
				       level_names[level], term_off());
			add_plain(out, f->text);
			add_place(out, &f->place);
			ft_strbuf_addc(out, '\n');
		}
		for (size_t i = 0; level == CHECK_WARNING && i < r->n_criteria; i++)
			if (r->criteria[i].unjudged)
				ft_strbuf_addf(out, "%s: %sincomplete%s: %s\n", path,
					       term_on(STYLE_YELLOW), term_off(),
					       r->criteria[i].unjudged);
	}
	add_plain(out, path);
	ft_strbuf_addf(out, ": %s%s%s: %zu error%s, %zu warning%s, %zu of %zu checks judged\n",
		       term_on(r->status == CLI_OK ? STYLE_GREEN : STYLE_RED), outcome(r),
		       term_off(), r->n_errors, r->n_errors == 1 ? "" : "s", r->n_warnings,
		       r->n_warnings == 1 ? "" : "s", r->n_criteria - r->n_unjudged, r->n_criteria);
}

/* ---- markdown ----------------------------------------------------------------------------------
 */

/* What would format, end a cell, or be HTML. */
static void add_markdown(struct ft_strbuf *out, const char *text)
{
	for (; text && *text; text++) {
		if (*text == '<')
			ft_strbuf_adds(out, "&lt;");
		else if (*text == '&')
			ft_strbuf_adds(out, "&amp;");
		else if ((unsigned char)*text < 0x20)
			ft_strbuf_addc(out, ' ');
		else {
			if (strchr("\\`*_[]|~#>", *text))
				ft_strbuf_addc(out, '\\');
			ft_strbuf_addc(out, *text);
		}
	}
}

void check_write_markdown(const struct check_result *r, struct ft_strbuf *out)
{
	struct fa_text duration;

	ft_strbuf_adds(out, "### Fragtrace: ");
	add_markdown(out, r->program ? r->program : base_name(r->path));
	ft_strbuf_addf(out, " %s\n\n", outcome(r));
	add_markdown(out, base_name(r->path));
	ft_strbuf_addf(out, ", %s: %zu error%s, %zu warning%s\n",
		       fa_format_time(r->duration_ns, &duration), r->n_errors,
		       r->n_errors == 1 ? "" : "s", r->n_warnings, r->n_warnings == 1 ? "" : "s");
	for (size_t i = 0; i < r->n_criteria; i++)
		if (r->criteria[i].unjudged)
			ft_strbuf_addf(out, "\nNot judged: %s.\n", r->criteria[i].unjudged);
	if (r->n_findings)
		ft_strbuf_adds(out, "\n| | finding | where |\n|---|---|---|\n");
	for (int level = CHECK_ERROR; level >= CHECK_NOTE; level--) {
		for (size_t i = 0; i < r->n_findings; i++) {
			const struct check_finding *f = &r->findings[i];

			if ((int)f->level != level)
				continue;
			ft_strbuf_addf(out, "| %s | ", level_names[level]);
			add_markdown(out, f->text);
			ft_strbuf_adds(out, " | ");
			if (f->place.file && f->place.line) {
				add_markdown(out, f->place.file);
				ft_strbuf_addf(out, ":%" PRIu64, f->place.line);
			}
			ft_strbuf_adds(out, " |\n");
		}
	}
}

/* ---- junit -------------------------------------------------------------------------------------
 */

/* XML 1.0: bytes that are no character of it, and text that is no UTF-8, become '?'. */
static void add_xml(struct ft_strbuf *out, const char *text)
{
	while (text && *text) {
		unsigned char c = (unsigned char)*text;
		size_t n = c < 0x80 ? 1 : c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : 2;
		bool valid = c < 0x80 || (c >= 0xc2 && c < 0xf5);

		for (size_t i = 1; i < n && valid; i++)
			valid = ((unsigned char)text[i] & 0xc0) == 0x80;
		if (!valid)
			n = 1;
		/* Surrogates, overlong forms, U+FFFE and U+FFFF. */
		if (valid && n == 3)
			valid = !(c == 0xe0 && (unsigned char)text[1] < 0xa0) &&
				!(c == 0xed && (unsigned char)text[1] >= 0xa0) &&
				!(c == 0xef && (unsigned char)text[1] == 0xbf &&
				  (unsigned char)text[2] >= 0xbe);
		if (valid && n == 4)
			valid = !(c == 0xf0 && (unsigned char)text[1] < 0x90) &&
				!(c == 0xf4 && (unsigned char)text[1] >= 0x90);
		if (!valid || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			ft_strbuf_addc(out, '?');
		else if (c == '&')
			ft_strbuf_adds(out, "&amp;");
		else if (c == '<')
			ft_strbuf_adds(out, "&lt;");
		else if (c == '>')
			ft_strbuf_adds(out, "&gt;");
		else if (c == '"')
			ft_strbuf_adds(out, "&quot;");
		else
			ft_strbuf_add(out, text, n);
		text += n;
	}
}

static void add_stack(struct ft_strbuf *out, const struct fa_value *stack)
{
	unsigned number = 0;

	for (const struct fa_value *f = stack ? stack->first : NULL; f; f = f->next, number++) {
		const char *function = fa_value_text(f, "function");
		const char *file = fa_value_text(f, "file");

		ft_strbuf_addf(out, "\n    #%u ", number);
		if (function)
			add_xml(out, function);
		else
			ft_strbuf_addf(out, "+0x%" PRIx64, fa_value_u64(f, "offset"));
		if (file) {
			ft_strbuf_adds(out, " at ");
			add_xml(out, file);
			ft_strbuf_addf(out, ":%" PRIu64, fa_value_u64(f, "line"));
		}
	}
}

static size_t errors_of(const struct check_result *r, const char *criterion)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_findings; i++)
		n += r->findings[i].level == CHECK_ERROR &&
		     !strcmp(r->findings[i].criterion, criterion);
	return n;
}

/* All errors of a criterion are one failure: the schema allows one a test case. */
static void add_failure(const struct check_result *r, const struct check_criterion *criterion,
			struct ft_strbuf *out)
{
	bool first = true;

	for (size_t i = 0; i < r->n_findings; i++) {
		const struct check_finding *f = &r->findings[i];

		if (f->level != CHECK_ERROR || strcmp(f->criterion, criterion->name) != 0)
			continue;
		if (first) {
			ft_strbuf_addf(out, "      <failure type=\"%s\" message=\"", f->code);
			add_xml(out, f->text);
			ft_strbuf_adds(out, "\">");
		}
		ft_strbuf_adds(out, first ? "" : "\n");
		add_xml(out, f->text);
		add_stack(out, f->place.stack);
		first = false;
	}
	ft_strbuf_adds(out, "</failure>\n");
}

static void add_notes(const struct check_result *r, struct ft_strbuf *out)
{
	ft_strbuf_adds(out, "    <system-out>");
	for (size_t i = 0; i < r->n_findings; i++) {
		if (r->findings[i].level == CHECK_ERROR)
			continue;
		ft_strbuf_addf(out, "%s: ", level_names[r->findings[i].level]);
		add_xml(out, r->findings[i].text);
		ft_strbuf_addc(out, '\n');
	}
	ft_strbuf_adds(out, "</system-out>\n");
}

void check_write_junit(const struct check_result *r, struct ft_strbuf *out)
{
	double seconds = (double)r->duration_ns / 1e9;
	size_t n_failed = 0;

	for (size_t i = 0; i < r->n_criteria; i++)
		n_failed += errors_of(r, r->criteria[i].name) > 0;
	ft_strbuf_adds(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	ft_strbuf_addf(out,
		       "<testsuites>\n  <testsuite name=\"fragtrace\" tests=\"%zu\" "
		       "failures=\"%zu\" errors=\"0\" skipped=\"%zu\" time=\"%.3f\">\n",
		       r->n_criteria, n_failed, r->n_unjudged, seconds);
	for (size_t i = 0; i < r->n_criteria; i++) {
		const struct check_criterion *own = &r->criteria[i];
		bool failed = errors_of(r, own->name) > 0;

		ft_strbuf_adds(out, "    <testcase classname=\"");
		add_xml(out, base_name(r->path));
		ft_strbuf_addf(out, "\" name=\"%s\" time=\"0\"", own->title);
		if (!failed && !own->unjudged) {
			ft_strbuf_adds(out, "/>\n");
			continue;
		}
		ft_strbuf_adds(out, ">\n");
		if (failed)
			add_failure(r, own, out);
		else
			ft_strbuf_addf(out, "      <skipped message=\"%s\"/>\n", own->unjudged);
		ft_strbuf_adds(out, "    </testcase>\n");
	}
	add_notes(r, out);
	ft_strbuf_adds(out, "  </testsuite>\n</testsuites>\n");
}

/* ---- json --------------------------------------------------------------------------------------
 */

static void json_finding(struct fa_json *json, const struct check_finding *f)
{
	fa_json_object_begin(json);
	fa_json_kv_string(json, "criterion", f->criterion);
	fa_json_kv_string(json, "code", f->code);
	fa_json_kv_string(json, "level", level_names[f->level]);
	fa_json_kv_string(json, "text", f->text);
	fa_json_kv_string(json, "function", f->place.function);
	fa_json_kv_string(json, "file", f->place.file);
	if (f->place.line)
		fa_json_kv_u64(json, "line", f->place.line);
	else
		fa_json_kv_null(json, "line");
	fa_json_key(json, "stack");
	if (f->place.stack)
		fa_value_emit(f->place.stack, json);
	else
		fa_json_null(json);
	fa_json_object_end(json);
}

void check_write_json(const struct check_result *r, struct ft_strbuf *out)
{
	struct fa_json json;

	fa_json_init(&json, out);
	fa_json_object_begin(&json);
	fa_json_kv_u64(&json, "schema", 1);
	fa_json_kv_string(&json, "path", r->path);
	fa_json_kv_string(&json, "program", r->program);
	fa_json_kv_u64(&json, "duration_ns", r->duration_ns);
	fa_json_kv_string(&json, "outcome", outcome(r));
	fa_json_kv_u64(&json, "status", (uint64_t)r->status);
	fa_json_key(&json, "criteria");
	fa_json_array_begin(&json);
	for (size_t i = 0; i < r->n_criteria; i++) {
		fa_json_object_begin(&json);
		fa_json_kv_string(&json, "name", r->criteria[i].name);
		fa_json_kv_string(&json, "title", r->criteria[i].title);
		fa_json_kv_u64(&json, "errors", errors_of(r, r->criteria[i].name));
		fa_json_kv_string(&json, "unjudged", r->criteria[i].unjudged);
		fa_json_object_end(&json);
	}
	fa_json_array_end(&json);
	fa_json_key(&json, "findings");
	fa_json_array_begin(&json);
	for (size_t i = 0; i < r->n_findings; i++)
		json_finding(&json, &r->findings[i]);
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	ft_strbuf_addc(out, '\n');
}

/* ---- sarif -------------------------------------------------------------------------------------
 */

static const struct {
	const char *code, *text;
} rules[] = {
	{"growing", "Memory of a call site grows without bound"},
	{"suspect", "Memory of a call site may grow"},
	{"known", "Memory of a call site grows as in the baseline"},
	{"unsure", "The run is too short to judge growth"},
	{"unresolved", "The run is too short for the limit"},
	{"max_live", "Live memory is above its limit"},
	{"max_rss", "RSS is above its limit"},
	{"bad_free", "A free that should not have been"},
	{"suppressed", "What suppressions left out"},
	{"incomplete", "A check that could not be judged"},
};

enum { N_RULES = sizeof(rules) / sizeof(*rules) };

/* A path as a URI reference: relative to the working directory when it is below it. */
static void add_uri(struct ft_strbuf *out, const char *path)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "-._~/+,@";
	char cwd[4096];
	size_t len = getcwd(cwd, sizeof(cwd)) ? strlen(cwd) : 0;

	if (len > 1 && !strncmp(path, cwd, len) && path[len] == '/')
		path += len + 1;
	else if (*path == '/')
		ft_strbuf_adds(out, "file://");
	for (; *path; path++) {
		if (strchr(plain, *path))
			ft_strbuf_addc(out, *path);
		else
			ft_strbuf_addf(out, "%%%02X", (unsigned char)*path);
	}
}

static void sarif_text(struct fa_json *json, const char *key, const char *text)
{
	fa_json_key(json, key);
	fa_json_object_begin(json);
	fa_json_kv_string(json, "text", text);
	fa_json_object_end(json);
}

/* {"physicalLocation": ..., "logicalLocations": ...} of a function at a line. */
static void sarif_location(struct fa_json *json, const char *file, uint64_t line,
			   const char *function)
{
	fa_json_object_begin(json);
	if (file) {
		struct ft_strbuf uri;

		ft_strbuf_init(&uri);
		add_uri(&uri, file);
		fa_json_key(json, "physicalLocation");
		fa_json_object_begin(json);
		fa_json_key(json, "artifactLocation");
		fa_json_object_begin(json);
		fa_json_kv_string(json, "uri", ft_strbuf_text(&uri));
		fa_json_object_end(json);
		if (line) {
			fa_json_key(json, "region");
			fa_json_object_begin(json);
			fa_json_kv_u64(json, "startLine", line);
			fa_json_object_end(json);
		}
		fa_json_object_end(json);
		ft_strbuf_deinit(&uri);
	}
	if (function) {
		fa_json_key(json, "logicalLocations");
		fa_json_array_begin(json);
		fa_json_object_begin(json);
		fa_json_kv_string(json, "fullyQualifiedName", function);
		fa_json_kv_string(json, "kind", "function");
		fa_json_object_end(json);
		fa_json_array_end(json);
	}
	fa_json_object_end(json);
}

static void sarif_stack(struct fa_json *json, const struct fa_value *stack)
{
	fa_json_key(json, "stacks");
	fa_json_array_begin(json);
	fa_json_object_begin(json);
	fa_json_key(json, "frames");
	fa_json_array_begin(json);
	for (const struct fa_value *f = stack->first; f; f = f->next) {
		const char *module = fa_value_text(f, "module");

		fa_json_object_begin(json);
		if (module)
			fa_json_kv_string(json, "module", base_name(module));
		fa_json_key(json, "location");
		sarif_location(json, fa_value_text(f, "file"), fa_value_u64(f, "line"),
			       fa_value_text(f, "function"));
		fa_json_object_end(json);
	}
	fa_json_array_end(json);
	fa_json_object_end(json);
	fa_json_array_end(json);
}

static void sarif_result(struct fa_json *json, const struct check_result *r,
			 const struct check_finding *f)
{
	const struct check_place *place = &f->place;
	unsigned rule = 0;

	while (rule < N_RULES - 1 && strcmp(rules[rule].code, f->code) != 0)
		rule++;
	fa_json_object_begin(json);
	fa_json_kv_string(json, "ruleId", rules[rule].code);
	fa_json_kv_u64(json, "ruleIndex", rule);
	fa_json_kv_string(json, "level", level_names[f->level]);
	sarif_text(json, "message", f->text);
	fa_json_key(json, "locations");
	fa_json_array_begin(json);
	/* A viewer wants a place: without a line of the source it is the recording. */
	if (place->file && place->line)
		sarif_location(json, place->file, place->line, place->function);
	else
		sarif_location(json, r->path, 0, place->function);
	fa_json_array_end(json);
	if (place->stack && place->stack->n)
		sarif_stack(json, place->stack);
	fa_json_object_end(json);
}

void check_write_sarif(const struct check_result *r, struct ft_strbuf *out)
{
	struct fa_json json;

	fa_json_init(&json, out);
	fa_json_object_begin(&json);
	fa_json_kv_string(&json, "$schema", "https://json.schemastore.org/sarif-2.1.0.json");
	fa_json_kv_string(&json, "version", "2.1.0");
	fa_json_key(&json, "runs");
	fa_json_array_begin(&json);
	fa_json_object_begin(&json);
	fa_json_key(&json, "tool");
	fa_json_object_begin(&json);
	fa_json_key(&json, "driver");
	fa_json_object_begin(&json);
	fa_json_kv_string(&json, "name", "fraganalyze");
	fa_json_kv_string(&json, "version", FT_VERSION);
	fa_json_key(&json, "rules");
	fa_json_array_begin(&json);
	for (unsigned i = 0; i < N_RULES; i++) {
		fa_json_object_begin(&json);
		fa_json_kv_string(&json, "id", rules[i].code);
		sarif_text(&json, "shortDescription", rules[i].text);
		fa_json_object_end(&json);
	}
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	fa_json_object_end(&json);
	fa_json_key(&json, "results");
	fa_json_array_begin(&json);
	for (size_t i = 0; i < r->n_findings; i++)
		sarif_result(&json, r, &r->findings[i]);
	for (size_t i = 0; i < r->n_criteria; i++)
		if (r->criteria[i].unjudged)
			sarif_result(&json, r,
				     &(struct check_finding){
					     .code = "incomplete",
					     .level = CHECK_WARNING,
					     .text = r->criteria[i].unjudged,
				     });
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	fa_json_array_end(&json);
	fa_json_object_end(&json);
	ft_strbuf_addc(out, '\n');
}
