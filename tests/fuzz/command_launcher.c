/* SPDX-License-Identifier: MIT */
/* The launcher's main() under another name, for fuzz_command.c. */
int fragtrace_main(int argc, char **argv);
#define main fragtrace_main
#include "../../libtrace/launcher/main.c"
