/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"

const char *fixture_path(const char *name)
{
	static char paths[16][4096];
	static int next;

	next = (next + 1) % 16;
	snprintf(paths[next], sizeof(paths[next]), "%s/%s", FIXTURES, name);
	return paths[next];
}

static FILE *open_or_fail(const char *path)
{
	FILE *file = fopen(path, "re");

	ck_assert_msg(file != NULL, "cannot open %s", path);
	return file;
}

bool fixture_exists(const char *name)
{
	char line[1024];
	size_t len = strlen(name);
	bool there = false;

	FILE *file = open_or_fail(fixture_path("variants"));
	while (fgets(line, sizeof(line), file))
		there |= strncmp(line, name, len) == 0 && line[len] == '\n';
	fclose(file);
	if (there)
		return true;

	file = open_or_fail(fixture_path("absent"));
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, len) == 0 && line[len] == ':') {
			printf("# left out: %s", line);
			there = true;
		}
	}
	fclose(file);
	ck_assert_msg(there, "nobody knows a fixture %s", name);
	return false;
}

uint64_t fixture_address(const char *name, const char *label)
{
	char file_name[256], label_name[256];
	uint64_t address, found = 0;

	FILE *file = open_or_fail(fixture_path("addresses"));
	while (fscanf(file, "%255s %255s %" SCNx64, file_name, label_name, &address) == 3)
		if (strcmp(name, file_name) == 0 && strcmp(label, label_name) == 0)
			found = address;
	fclose(file);
	ck_assert_msg(found != 0, "no label at_%s in %s", label, name);
	return found;
}

uint32_t fixture_line(const char *source, const char *mark)
{
	char path[4096], wanted[128], line[1024];
	uint32_t number = 0, found = 0;

	snprintf(path, sizeof(path), "%s/%s", SOURCES, source);
	snprintf(wanted, sizeof(wanted), "/* @%s */", mark);
	FILE *file = open_or_fail(path);
	while (fgets(line, sizeof(line), file)) {
		number++;
		if (strstr(line, wanted))
			found = number;
	}
	fclose(file);
	ck_assert_msg(found != 0, "no mark @%s in %s", mark, source);
	return found;
}

const char *fixture_build_id(const char *path)
{
	static char text[130];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "cannot open %s", path);
	elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	const void *id;
	ssize_t n = elf ? dwelf_elf_gnu_build_id(elf, &id) : -1;

	for (ssize_t i = 0; i < n && i < 64; i++)
		sprintf(text + 2 * i, "%02x", ((const unsigned char *)id)[i]);
	elf_end(elf);
	close(fd);
	return n > 0 ? text : NULL;
}

struct ft_job_settings fixture_settings(void)
{
	static char debug_dirs[4096];

	snprintf(debug_dirs, sizeof(debug_dirs), "/nowhere:%s/debug", FIXTURES);
	return (struct ft_job_settings){.debug_dirs = debug_dirs,
					.deadline = ft_monotonic_seconds() + 60};
}

static struct ft_error *keep_frame(void *ctx, const struct ft_job *job, uint64_t offset,
				   uint32_t depth, const struct ft_frame *frame)
{
	struct answers *answers = ctx;

	if (answers->n == MAX_ANSWERS) {
		answers->n_dropped++;
		return NULL;
	}
	answers->frames[answers->n++] = (struct answer){
		.offset = offset,
		.depth = depth,
		.line = frame->line,
		.function = frame->function ? strdup(frame->function) : NULL,
		.file = frame->file ? strdup(frame->file) : NULL,
	};
	return NULL;
}

static struct ft_error *keep_end(void *ctx, const struct ft_job *job, const struct ft_job_end *end)
{
	struct answers *answers = ctx;

	answers->end = *end;
	answers->n_ends++;
	return NULL;
}

struct ft_job_sink answers_sink(struct answers *answers)
{
	*answers = (struct answers){0};
	return (struct ft_job_sink){.frame = keep_frame, .end = keep_end, .ctx = answers};
}

void answers_deinit(struct answers *answers)
{
	for (size_t i = 0; i < answers->n; i++) {
		free(answers->frames[i].function);
		free(answers->frames[i].file);
	}
	answers->n = 0;
}

void ask(const char *path, const char *build_id, uint64_t address,
	 const struct ft_job_settings *settings, struct answers *answers)
{
	struct ft_lookup lookup = {.offset = address, .address = address};
	struct ft_job job = {.module = 1,
			     .identity = {.path = path, .build_id = build_id},
			     .lookups = &lookup,
			     .n = 1};
	struct ft_job_sink sink = answers_sink(answers);
	struct ft_error *error = ft_jobs_run(&job, 1, settings, &sink);

	ck_assert_msg(!error, "%s", error ? error->message : "");
	ck_assert_uint_eq(answers->n_ends, 1);
}
