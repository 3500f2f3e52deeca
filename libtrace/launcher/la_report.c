/* SPDX-License-Identifier: MIT */
/* What the launcher says: see la_report.h. */
#include "la_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void la_report_init(struct la_report *report)
{
	*report = (struct la_report){.is_tty = isatty(STDERR_FILENO)};
}

void la_report_notice(struct la_report *report, const struct co_notice *notice)
{
	switch (notice->kind) {
	case CO_NOTICE_OPENED:
		report->n_opened++;
		break;
	case CO_NOTICE_FAILED:
		/* The first one says why; others follow from it, or from the same. */
		if (!report->n_failed++)
			report->failed = *notice;
		break;
	case CO_NOTICE_DONE:
		report->n_done++;
		report->n_lost += notice->n_lost;
		report->self_check |= notice->self_check != 0;
		report->n_checked += notice->n_checked;
		report->n_differences += notice->n_differences;
		report->n_explained += notice->n_explained;
		/* `sh -c program` makes two recordings: the one that allocated is meant. */
		if (report->best.kind == 0 || notice->n_allocs > report->best.n_allocs)
			report->best = *notice;
		break;
	case CO_NOTICE_STATE:
		report->state = *notice;
		break;
	}
}

static void clear_progress(struct la_report *report)
{
	if (report->progress_shown)
		fputs("\r\033[K", stderr);
	report->progress_shown = false;
}

void la_report_progress(struct la_report *report)
{
	if (!report->is_tty)
		return;
	fprintf(stderr, "\r\033[Kfragtrace: completing %u recording%s (symbols, last events) ...",
		report->state.n_finishing, report->state.n_finishing == 1 ? "" : "s");
	report->progress_shown = true;
}

static const char *size_text(uint64_t bytes, char text[32])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes / 1024;
	unsigned unit = 0;

	if (bytes < 1024) {
		snprintf(text, 32, "%" PRIu64 " B", bytes);
		return text;
	}
	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(text, 32,
		 value < 10    ? "%.2f %s"
		 : value < 100 ? "%.1f %s"
			       : "%.0f %s",
		 value, units[unit]);
	return text;
}

static const char *plural(uint64_t n, const char *many)
{
	return n == 1 ? "" : many;
}

/* As one would type it: relative when it lies in the current folder. */
static const char *short_path(const char *path)
{
	char cwd[4096];
	size_t len;

	if (!getcwd(cwd, sizeof(cwd)))
		return path;
	len = strlen(cwd);
	if (len > 1 && strncmp(path, cwd, len) == 0 && path[len] == '/')
		return path + len + 1;
	return path;
}

/* In single quotes where a shell would see more than one plain word. */
static void print_word(const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "/._-+:,@%=";

	if (*word && *word != '-' && word[strspn(word, plain)] == 0) {
		fputs(word, stderr);
		return;
	}
	fputc('\'', stderr);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", stderr);
		else
			fputc(*word, stderr);
	}
	fputc('\'', stderr);
}

void la_report_end(struct la_report *report, double seconds)
{
	const struct co_notice *best = &report->best;
	char peak[32], live[32];

	clear_progress(report);
	if (best->kind == 0) {
		if (report->n_failed)
			fprintf(stderr, "fragtrace: %s: %s\n",
				report->n_opened ? "not all was recorded" : "no recording",
				report->failed.text);
		else if (report->state.n_running)
			fprintf(stderr,
				"fragtrace: %u process%s of the program still run%s and are being "
				"recorded\n",
				report->state.n_running, plural(report->state.n_running, "es"),
				report->state.n_running == 1 ? "s" : "");
		else
			fputs("fragtrace: no recording: the program never loaded "
			      "libfragtrace.so (did it clear its environment?)\n",
			      stderr);
		return;
	}

	fprintf(stderr, "fragtrace: recorded %s", short_path(best->text));
	if (best->n_parts > 1)
		fprintf(stderr, ", the last of %u files", best->n_parts);
	if (report->n_done > 1)
		fprintf(stderr, " (and %u more, of other processes)", report->n_done - 1);
	if (report->state.n_running)
		fprintf(stderr, "; %u still running", report->state.n_running);
	fprintf(stderr,
		"\nfragtrace: %s%" PRIu64
		" allocation%s by %u thread%s in %.1f s, peak %s, live at "
		"the end %s in %" PRIu64 " block%s",
		best->sample_bytes ? "estimated from a sample: " : "", best->n_allocs,
		plural(best->n_allocs, "s"), best->n_threads, plural(best->n_threads, "s"), seconds,
		size_text(best->peak_bytes, peak), size_text(best->live_bytes, live),
		best->live_blocks, plural(best->live_blocks, "s"));
	if (report->n_lost)
		fprintf(stderr, "; %" PRIu64 " events lost", report->n_lost);
	if (report->self_check)
		fprintf(stderr,
			"\nfragtrace: self-check: %" PRIu64
			" stack%s compared with libunwind, %" PRIu64 " differ%s, %" PRIu64
			" more where libunwind is wrong",
			report->n_checked, plural(report->n_checked, "s"), report->n_differences,
			report->n_differences == 1 ? "s" : "", report->n_explained);
	if (report->n_failed)
		fprintf(stderr,
			"\nfragtrace: not all was recorded, %u other file%s could not be written "
			"to "
			"the end: %s",
			report->n_failed, plural(report->n_failed, "s"), report->failed.text);
	fputs("\nfragtrace: next: fraganalyze summary ", stderr);
	print_word(short_path(best->text));
	fputc('\n', stderr);
}
