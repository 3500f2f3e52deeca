/* SPDX-License-Identifier: MIT */
/*
 * fraganalyze completion: scripts for shells, made from the tables of verbs and options
 *
 * Words are completed where they are known: verbs, options, and arguments that are one of a few.
 * All else is a file.
 */
#include <stdio.h>
#include <string.h>

#include "option_rows.h"

/* An option's argument that is no name of a file has nothing to complete. */
static bool takes_file(const struct option_row *row)
{
	return row->argument && (!strcmp(row->argument, "FILE") || !strcmp(row->argument, "OLD"));
}

static bool optional(const struct option_row *row)
{
	return row->argument && *row->argument == '[';
}

static void put_choices(const struct option_row *row, const char *between)
{
	for (size_t i = 0; row->choices[i]; i++)
		printf("%s%s", i ? between : "", row->choices[i]);
}

/* Text within quotes of the shell's: an apostrophe ends them, stands alone, begins them again. */
static void put_quoted(const char *text, const char *apostrophe)
{
	for (; *text; text++)
		if (*text == '\'')
			fputs(apostrophe, stdout);
		else
			putchar(*text);
}

/* ---- bash --------------------------------------------------------------------------------------
 */

static void bash_arguments(const struct cli_verb *verb)
{
	const struct option_row *row;

	for (size_t i = 0; (row = option_row_of(verb, i)); i++) {
		if (!row->argument || optional(row) || takes_file(row))
			continue;
		printf("\t%s:--%s", verb->name, row->name);
		if (option_letter(row))
			printf(" | %s:-%c", verb->name, option_letter(row));
		fputs(") words=\"", stdout);
		if (row->choices)
			put_choices(row, " ");
		puts("\" ;;");
	}
}

static void bash_options(const struct cli_verb *verb)
{
	const struct option_row *row;

	printf("\t%s) words=\"", verb->name);
	for (size_t i = 0; (row = option_row_of(verb, i)); i++) {
		if (option_letter(row))
			printf("-%c ", option_letter(row));
		printf("--%s ", row->name);
		for (size_t c = 0; optional(row) && row->choices[c]; c++)
			printf("--%s=%s ", row->name, row->choices[c]);
	}
	puts("\" ;;");
}

static int bash(void)
{
	puts("# Completion of fraganalyze for bash: source <(fraganalyze completion bash)\n"
	     "_fraganalyze()\n"
	     "{\n"
	     "\tlocal current=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} words=\n"
	     "\tlocal before=${COMP_WORDS[COMP_CWORD - 1]}\n"
	     "\tCOMPREPLY=()\n"
	     "\tif ((COMP_CWORD == 1)); then");
	fputs("\t\twords=\"", stdout);
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		printf("%s ", verb->name);
	puts("--help --version\"\n"
	     "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\"; compgen -f -- "
	     "\"$current\")\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\t# bash parts --option=word at the sign.\n"
	     "\tif [[ $current == = ]]; then current=; fi\n"
	     "\tif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi\n"
	     "\tcase $verb:$before in");
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		bash_arguments(verb);
	puts("\tcompletion:*) words=\"bash zsh fish --help --version\" ;;\n"
	     "\t*) words=- ;;\n"
	     "\tesac\n"
	     "\tif [[ $words != - ]]; then\n"
	     "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tif [[ $current != -* ]]; then\n"
	     "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tcase $verb in");
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		bash_options(verb);
	puts("\t*) words= ;;\n"
	     "\tesac\n"
	     "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	     "}\n"
	     "complete -o filenames -F _fraganalyze fraganalyze");
	return CLI_OK;
}

/* ---- zsh ---------------------------------------------------------------------------------------
 */

/* '(-o --output)'{-o,--output}'[help]:FILE:_files' */
static void zsh_option(const struct option_row *row)
{
	if (option_letter(row))
		printf(" \\\n\t\t\t'(-%c --%s)'{-%c%s,--%s%s}'[", option_letter(row), row->name,
		       option_letter(row), row->argument ? "+" : "", row->name,
		       row->argument ? "=" : "");
	else
		printf(" \\\n\t\t\t'--%s%s[", row->name,
		       optional(row)   ? "=-"
		       : row->argument ? "="
				       : "");
	for (const char *p = row->help; *p; p++) {
		if (*p == '\'')
			fputs("'\\''", stdout);
		else if (strchr("[]:\\", *p))
			printf("\\%c", *p);
		else
			putchar(*p);
	}
	putchar(']');
	if (row->argument) {
		const char *name = row->argument + optional(row);

		printf("%s:%.*s:", optional(row) ? ":" : "", (int)strcspn(name, "]"), name);
		if (row->choices) {
			putchar('(');
			put_choices(row, " ");
			putchar(')');
		} else if (takes_file(row)) {
			fputs("_files", stdout);
		}
	}
	putchar('\'');
}

static int zsh(void)
{
	const struct option_row *row;

	puts("#compdef fraganalyze\n"
	     "# Completion of fraganalyze for zsh: fraganalyze completion zsh > _fraganalyze, in a "
	     "directory of $fpath\n"
	     "_fraganalyze()\n"
	     "{\n"
	     "\tlocal -a verbs=(");
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++) {
		printf("\t\t'%s:", verb->name);
		put_quoted(verb->summary, "'\\''");
		puts("'");
	}
	puts("\t)\n"
	     "\tif ((CURRENT == 2)); then\n"
	     "\t\t_describe verb verbs\n"
	     "\t\t_files\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tlocal verb=$words[2]\n"
	     "\tshift words\n"
	     "\t((CURRENT--))\n"
	     "\tcase $verb in");
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++) {
		printf("\t%s)\n\t\t_arguments -s", verb->name);
		for (size_t i = 0; (row = option_row_of(verb, i)); i++)
			zsh_option(row);
		printf(" \\\n\t\t\t'*:%s:%s'\n\t\t;;\n", verb->operands,
		       strcmp(verb->name, "completion") != 0 ? "_files" : "(bash zsh fish)");
	}
	puts("\tesac\n"
	     "}\n"
	     "_fraganalyze \"$@\"");
	return CLI_OK;
}

/* ---- fish --------------------------------------------------------------------------------------
 */

static int fish(void)
{
	const struct option_row *row;

	puts("# Completion of fraganalyze for fish: fraganalyze completion fish | source");
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++) {
		printf("complete -c fraganalyze -n __fish_use_subcommand -a %s -d '", verb->name);
		put_quoted(verb->summary, "\\'");
		puts("'");
		for (size_t i = 0; (row = option_row_of(verb, i)); i++) {
			printf("complete -c fraganalyze -n '__fish_seen_subcommand_from %s' -l %s",
			       verb->name, row->name);
			if (option_letter(row))
				printf(" -s %c", option_letter(row));
			if (row->argument && !optional(row))
				fputs(takes_file(row) ? " -rF" : " -x", stdout);
			if (row->choices) {
				fputs(" -a '", stdout);
				put_choices(row, " ");
				putchar('\'');
			}
			fputs(" -d '", stdout);
			put_quoted(row->help, "\\'");
			puts("'");
		}
	}
	puts("complete -c fraganalyze -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh "
	     "fish'");
	return CLI_OK;
}

int verb_completion(const struct cli_verb *verb, const struct cli_options *options)
{
	if (!strcmp(options->path, "bash"))
		return bash();
	if (!strcmp(options->path, "zsh"))
		return zsh();
	if (!strcmp(options->path, "fish"))
		return fish();
	cli_warn("%s: '%s' is not one of bash, zsh, fish", verb->name, options->path);
	return CLI_USAGE;
}
