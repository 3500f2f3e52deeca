/* SPDX-License-Identifier: MIT */
/*
 * The templates of the report, built from web/ or floor.html and put into the program by embed.py
 *
 * Each ends with a 0 that is not counted.
 */
#ifndef RP_TEMPLATE_H
#define RP_TEMPLATE_H

#include <stddef.h>

extern const char rp_program_template[], rp_machine_template[];
extern const size_t rp_program_template_size, rp_machine_template_size;

#endif
