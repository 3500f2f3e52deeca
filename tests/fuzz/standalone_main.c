/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files, without libFuzzer
 *
 *	PROGRAM FILE|FOLDER...
 *
 * For compilers that lack libFuzzer, and so that every build replays the inputs that once mattered.
 * Says in TAP which file it is at: the last one named is the one that crashed.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int number;

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;

	if (file && !fseek(file, 0, SEEK_END))
		size = ftell(file);
	if (size >= 0)
		data = malloc(size ? (size_t)size : 1);
	if (!data || fseek(file, 0, SEEK_SET) ||
	    fread(data, 1, (size_t)size, file) != (size_t)size) {
		printf("not ok %d - %s can be read\n", ++number, path);
	} else {
		LLVMFuzzerTestOneInput(data, (size_t)size);
		printf("ok %d - %s\n", ++number, path);
	}
	fflush(stdout);
	free(data);
	if (file)
		fclose(file);
}

static void run(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int n;

	if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char inside[4096];

		if (entries[i]->d_name[0] != '.') {
			snprintf(inside, sizeof(inside), "%s/%s", path, entries[i]->d_name);
			run_file(inside);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	printf("1..%d\n", number);
	return number == 0;
}
