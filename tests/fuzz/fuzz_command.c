/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of command lines: any words are understood or refused with a message and a status
 *
 * A line of the input is a word. fraganalyze's are parsed as its verbs do it, and fragtrace's up to
 * where a program would be started, or spoken to.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "la_control.h"
#include "la_program.h"
#include "la_run.h"

int fraganalyze_main(int argc, char **argv);
#define main fraganalyze_main
#include "../../analyzer/cli/main.c"

int fragtrace_main(int argc, char **argv);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_WORDS = 64 };

static void check(bool claim)
{
	if (!claim)
		abort();
}

/* In place of those that do it. */
struct ft_error *la_run(const struct la_run_options *options, int *status, int *sig)
{
	check(options->argv && options->argv[0]);
	check(!options->output || *options->output);
	check(!options->depth || atoi(options->depth) > 0);
	*status = *sig = 0;
	return NULL;
}

struct ft_error *la_control(pid_t pid, enum co_control_verb verb, const char *text)
{
	check(pid > 0 && (verb == CO_CONTROL_MARK) == (text != NULL));
	return NULL;
}

struct ft_error *la_find_analyzer(char **path)
{
	return ft_error_create(FT_ERROR_INPUT, "no other program is started here");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	stdout = fopen("/dev/null", "w");
	stderr = fopen("/dev/null", "w");
	check(stdout && stderr);
	return 0;
}

/* getopt() remembers where it was in a cluster of options. */
static void forget(void)
{
	char *nothing[] = {(char[]){"x"}, NULL};

	optind = 0;
	check(getopt_long(1, nothing, "", (struct option[]){{0}}, NULL) == -1);
	optind = 1;
}

static void check_values(const char *word)
{
	uint64_t number;
	double rate;

	if (cli_parse_rate(word, &rate))
		check(rate >= 0);
	cli_parse_size(word, &number);
	/* Back from the end never leads past it. */
	if (cli_parse_time(word, 1000, &number) && *word == '-')
		check(number <= 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), *words[MOST_WORDS + 1] = {NULL};
	struct cli_options options;
	bool done = false;
	int n = 0;

	check(text != NULL);
	for (char *at = text, *next; at && n < MOST_WORDS; at = next) {
		next = strchr(at, '\n');
		if (next)
			*next++ = '\0';
		words[n++] = at;
		check_values(at);
	}

	const struct cli_verb *verb = n > 1 ? cli_verb_find(words[1]) : NULL;

	forget();
	if (!verb || strcmp(words[0], "fragtrace") == 0) {
		int status = fragtrace_main(n, words);

		check(status >= 0 && status < 256);
	} else {
		int status = cli_parse(verb, n - 1, words + 1, &options, &done);

		check(status == CLI_OK || status == CLI_USAGE);
		if (status == CLI_OK && !done) {
			check(options.path || strstr(verb->operands, "FILE") == NULL);
			check(options.top <= 1000000);
			check(!(options.json && options.csv));
			check(options.n_suppressions <= CLI_MAX_SUPPRESSIONS &&
			      options.n_unmovable <= CLI_MAX_UNMOVABLE);
		}
	}
	free(text);
	return 0;
}
